"""``halfway validate``: check a suite's questions and rewards without training anything."""

from __future__ import annotations

import dataclasses
import json
from typing import TYPE_CHECKING, Annotated, Any

import typer

from harness.cli.bars import progress_bar
from harness.cli.options import DataDir
from harness.cli.tables import print_missing
from harness.errors import UserError, did_you_mean

if TYPE_CHECKING:
    from harness.data.checks import SetCheck, TaskCheck
    from harness.data.missing_predictors import MissingPredictor


def validate(
    suite: Annotated[str, typer.Argument(metavar="SUITE", help="A suite's name or a path to a .toml file.")],
    combination: Annotated[list[str] | None, typer.Option(metavar="NAME", help="Only this combination; repeatable.")] = None,
    data_dir: DataDir = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON for a script.")] = False,
) -> None:
    """Feed every gold answer to the reward, look for repeats and overlap; start nothing. Exit code 1 if there are problems."""
    from harness.cli.power import suite_notes
    from harness.data.checks import check_runs
    from harness.data.missing_predictors import missing_predictors
    from harness.data.provenance import unpinned, use_data_folder
    from harness.runner.readiness import missing_models
    from harness.suite.reader import load_suite
    from harness.suite.suite import find_suite, plan

    use_data_folder(data_dir)
    loaded = load_suite(find_suite(suite))
    for name in combination or []:
        if name not in loaded.combinations:
            known = loaded.combinations
            raise UserError(f"--combination {name}: suite {loaded.name!r} has no such combination{did_you_mean(name, known)}")
    runs = [run for run in plan(loaded) if not combination or run.combination.name in combination]
    with progress_bar() as progress:
        checks = check_runs(runs, progress)
    loose, missing, models = unpinned(runs), missing_predictors(runs, suite), missing_models(runs)
    if as_json:
        found = {
            "suite": loaded.name,
            "unpinned": loose,
            "problems": [*models, *(m.sentence for m in missing)],
            "tasks": [dataclasses.asdict(check) for check in checks],
        }
        typer.echo(json.dumps(found, indent=2))
    else:
        _print(checks, missing, models, loose, suite_notes(loaded, runs, checks))
    if missing or models or any(check.problems for check in checks):
        raise typer.Exit(1)


def _print(checks: list[TaskCheck], missing: list[MissingPredictor], models: list[str], loose: list[str], notes: list[str]) -> None:
    from harness.cli.tables import print_table

    for check in checks:
        typer.secho(f"{check.task} ({', '.join(check.combinations)})", bold=True)
        if check.sets:
            headers = ["set", "questions", "gold scores 1.0", "letter by letter", "repeated", "in training pool", "by 13-grams"]
            headers += ["longest", "hash", "from"]
            print_table(headers, [_row(found) for found in check.sets], droppable=["hash", "longest", "from"])
        for kind, remarks in (("PROBLEM", check.problems), ("note   ", check.notes)):
            for remark in remarks:
                typer.secho(f"{kind}  {remark.words}", fg="red" if remark in check.problems else None)
                for example in remark.examples:
                    typer.echo(f"           {example}")
        typer.echo()
    for note in notes:
        typer.echo(f"warning  {note}")
    print_missing(missing)
    for words in models:
        typer.secho(f"PROBLEM  {words}", fg="red")
    for words in loose:
        typer.echo(f"not pinned: {words} (a run records the commit that it got)")
    problems = len(missing) + len(models) + sum(len(check.problems) for check in checks)
    typer.echo(f"{problems or 'no'} problem{'' if problems == 1 else 's'}")


def _row(found: SetCheck) -> list[Any]:
    origin = found.source.get("file") or found.source.get("hub") or "made here"
    revision = found.source.get("revision")
    return [
        found.name, found.questions, found.questions - found.not_full_score.count, found.letter_by_letter.count, found.repeated.count,
        "" if found.name == "train" else found.in_training.count, "" if found.name == "train" else found.near_training.count,
        f"{found.greatest_length} chars", found.hash[:8],
        f"{origin}@{revision[:8]}" if revision else origin,
    ]  # fmt: skip
