"""``halfway models``: what a suite can name as its model, and which models the suites that come with Halfway name."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from harness.cli.options import AsJson, print_json
from harness.cli.tables import print_table
from harness.cli.tasks import print_settings, settings_of
from harness.errors import UserError

#: (how it is written, what it is)
KINDS: tuple[tuple[str, str], ...] = (
    (
        "embedded:llama-WxL",
        "a Llama-style model of width W (32 to 1024, a multiple of 32) and L layers (1 to 24), built from the task's warm-up questions",
    ),
    ("embedded:qwen2-WxL", "the same with Qwen2's grouped queries and tied embeddings"),
    ("simulated", "no language model: latent skills that training moves; for the backend simulator and the task latent-skills"),
    ("FOLDER", "a Hugging Face model on disk, beside the suite or in the current folder; known by the content of its files"),
    ("OWNER/NAME", "a model of the Hugging Face hub; without a revision a run records the commit that it got"),
)


def models(
    name: Annotated[str | None, typer.Argument(help="Show what this name stands for, and the settings of a model.")] = None,
    as_json: AsJson = False,
) -> None:
    """Show what a suite can name as its model, and which suites name which."""
    kind = None if name is None else kind_of(name)
    rows = [row for row in model_rows() if kind in (None, row["name"])]
    if as_json:
        print_json(rows)
    elif name is not None:
        suites = ", ".join(rows[0]["suites"].get(name, ()))
        typer.secho(name, bold=True, nl=False)
        typer.echo(f" ({kind}): {rows[0]['summary']}{f'; in the suites {suites}' if suites else ''}\n")
        print_settings(rows[0]["settings"])
    else:
        print_table(["model", "what it is"], [[row["name"], row["summary"]] for row in rows])
        typer.echo()
        named = [[model, ", ".join(suites)] for row in rows for model, suites in row["suites"].items()]
        print_table(["in the shipped suites", "which"], named)


def model_rows() -> list[dict[str, Any]]:
    """Every kind of model: how it is written, what it is, the settings of a suite's ``model`` table, and the shipped suites by model."""
    from harness.spec import ModelSpec

    settings = settings_of(ModelSpec)
    own = {key: setting for key, setting in settings.items() if key != "revision"}
    named = _suites()
    return [
        {
            "name": name, "summary": words, "settings": settings if name == "OWNER/NAME" else own,
            "suites": {model: suites for model, suites in named.items() if kind_of(model) == name},
        }
        for name, words in KINDS
    ]  # fmt: skip


def kind_of(name: str) -> str:
    """The entry of :data:`KINDS` that a model's name belongs to. Raises UserError for an embedded family that does not exist."""
    for kind, _ in KINDS:
        if name == kind or (kind.endswith("WxL") and name.startswith(kind.removesuffix("WxL"))):
            return kind
    if name.startswith("embedded:"):
        known = ", ".join(kind for kind, _ in KINDS if kind.startswith("embedded:"))
        raise UserError(f"there is no embedded model {name!r}; their names are {known}, such as embedded:llama-64x2")
    from harness.data.provenance import names_a_folder

    return "FOLDER" if names_a_folder(name) or Path(name).is_dir() else "OWNER/NAME"


def _suites() -> dict[str, list[str]]:
    """Model → the shipped suites that name it, in the order of their names."""
    from harness.suite.reader import load_suite
    from harness.suite.suite import shipped_suites

    found: dict[str, list[str]] = {}
    for path in shipped_suites():
        for name in dict.fromkeys(arm.combination.model.name for arm in load_suite(path).arms):
            found.setdefault(name, []).append(path.stem)
    return dict(sorted(found.items()))
