"""``halfway regime``: how hard a suite's questions are for the model that it starts from, beside real models. Nothing is trained."""

from __future__ import annotations

import importlib
import re
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from harness.cli.bars import progress_bar
from harness.cli.options import AsJson, DataDir, RunsDir, SuiteName, print_json
from harness.cli.tables import print_table
from harness.errors import UserError, did_you_mean

if TYPE_CHECKING:
    from harness.spec import RunSpec
    from harness.suite.suite import Suite

#: Folder beside a suite's runs with one table of pass rates per combination.
FOLDER = "regime"


def regime(
    suite: SuiteName,
    runs_dir: RunsDir = Path("runs"),
    combination: Annotated[list[str] | None, typer.Option(metavar="NAME", help="Only this combination; repeatable.")] = None,
    questions: Annotated[int, typer.Option(min=16, help="Questions rolled out.")] = 256,
    rollouts: Annotated[int | None, typer.Option(min=1, help="Rollouts per question; default: twice the group size.")] = None,
    split: Annotated[str, typer.Option(help="The task's questions: validation, or train for the pool itself.")] = "validation",
    data_dir: DataDir = None,
    as_json: AsJson = False,
) -> None:
    """Roll out the starting policy on validation questions and say whether the suite can show anything about selection.

    What is found stands in runs/SUITE/regime and on the report's page; measured again only where the settings differ.
    """
    from harness.data.provenance import use_data_folder
    from harness.suite.reader import load_suite
    from harness.suite.suite import find_suite

    use_data_folder(data_dir)
    loaded = load_suite(find_suite(suite))
    found = {}
    for spec in _chosen(loaded, combination or []):
        least = spec.algorithm.group_size
        if rollouts is not None and rollouts < least:
            raise UserError(f"--rollouts {rollouts}: a group of {spec.combination.name} has {least} rollouts, so give at least as many")
        found[spec.combination.name] = _measure(spec, runs_dir, split, questions, rollouts or 2 * least)
    if as_json:
        print_json([_as_json(name, *entry) for name, entry in found.items()])
    else:
        _print(found)


def _chosen(suite: Suite, names: Sequence[str]) -> list[RunSpec]:
    """One run of the baseline, or of any strategy where it does not run, per combination."""
    from harness.suite.suite import plan

    unknown = next((name for name in names if name not in suite.combinations), None)
    if unknown is not None:
        hint = did_you_mean(unknown, suite.combinations)
        raise UserError(f"--combination {unknown}: suite {suite.name!r} has no such combination{hint}")
    return [next(r for r in plan(suite) if r.combination.name == name) for name in suite.combinations if not names or name in names]


def _measure(spec: RunSpec, runs_dir: Path, split: str, questions: int, rollouts: int) -> tuple[Any, float]:
    """(start regime of the combination, draws per question of a run that draws every group fresh)."""
    from harness.cli.predictor.collect import collect_model
    from harness.data.provenance import built_task, model_folder
    from harness.predictor.collection import CollectionRequest, drop_journals
    from harness.records.run_folder import suite_folder

    folder = suite_folder(runs_dir, spec.suite) / FOLDER
    folder.mkdir(parents=True, exist_ok=True)
    model = spec.combination.model
    here = model_folder(model.name, spec.combination.task.folder)
    name = str(here) if here is not None else f"{model.name}@{model.revision}" if model.revision else model.name
    out = folder / f"{spec.combination.name}-{split}-{questions}.parquet"
    request = CollectionRequest(
        spec=spec.model_copy(update={"seed": 0}), model=name, split=split, questions=questions, rollouts=rollouts, out=str(out.absolute())
    )
    with progress_bar() as progress:
        collect_model(request, out.absolute(), progress)
    drop_journals(out.absolute())
    draws = spec.algorithm.groups_per_step * spec.algorithm.max_steps
    return start_regimes(out, spec.algorithm.group_size)[-1], draws / len(built_task(spec.combination.task).split("train"))


def start_regimes(table: Path, group_size: int) -> list[Any]:
    """The regime of every column of a table of pass rates, in its order."""
    from harness.predictor.collection import read_metadata

    read, facts = read_metadata(table)
    make = importlib.import_module("reports.regime").start_regime
    return [make(read[name].to_numpy(), int(fact["rollouts"]), group_size) for name, fact in facts.items()]


def regime_tables(folder: Path, combination: str) -> list[Path]:
    """The tables of a combination in a suite's folder of runs, the last measured last."""
    named = re.compile(rf"{re.escape(combination)}-[a-z]+-\d+\.parquet")  # not those of a combination whose name goes on after a hyphen
    found = [path for path in (folder / FOLDER).glob("*.parquet") if named.fullmatch(path.name)]
    return sorted(found, key=lambda path: (path.stat().st_mtime, path.name))


def _as_json(name: str, found: Any, visits: float) -> dict[str, Any]:
    return {
        "combination": name, "questions": found.questions, "group_size": found.group_size, "mean": found.mean, "all_wrong": found.all_wrong,
        "all_right": found.all_right, "informative": found.informative, "histogram": found.histogram.tolist(), "visits": visits,
    }  # fmt: skip


def _print(found: dict[str, tuple[Any, float]]) -> None:
    references = importlib.import_module("reports.regime").references()
    rows = [[name, *(f"{v:.2f}" for v in (r.mean, r.all_wrong, r.all_right, r.informative))] for name, (r, _) in found.items()]
    rows += [
        [row["policy"], *(f"{row[k]:.2f}" for k in ("mean", "all_wrong", "all_right", "informative"))] for row in references["policies"]
    ]
    print_table(["start", "mean", "all wrong", "all right", "informative"], rows)
    typer.echo()
    with_histogram = [row for row in references["policies"] if "histogram" in row]
    rows = [[name, *(f"{v:.2f}" for v in r.histogram)] for name, (r, _) in found.items()]
    rows += [[row["policy"], *(f"{v:.2f}" for v in row["histogram"])] for row in with_histogram]
    print_table(["pass rate", *references["classes"]], rows)
    typer.echo()
    for name, (start, visits) in found.items():
        typer.echo(f"{name}: {visits:.1f} draws per question of the pool in a run (groups of {start.group_size})")
        for remark in remarks(start, visits):
            typer.echo(f"{name}: {remark}")


def remarks(start: Any, visits: float) -> list[str]:
    """Where the start is not like that of real training, one sentence each."""
    bands = importlib.import_module("reports.regime").references()["bands"]
    found = []
    for key, label in (("all_wrong", "all wrong"), ("all_right", "all right"), ("informative", "informative")):
        low, high = bands[key]
        value = getattr(start, key)
        if not low <= value <= high:
            real = f"{100 * low:.0f} to {100 * high:.0f} %"
            found.append(f"{100 * value:.0f} % of the groups are {label}; in the middle regime of real training {real}")
    if visits < 2:
        found.append("most questions are drawn once or never, so what is learned of one is hardly used")
    return found
