"""``halfway compare A B``: two folders of runs, two versions, two backends, with the statistics of a report."""

from __future__ import annotations

import importlib
import json
import math
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from harness.cli.only import RUN_KEYS, choose
from harness.cli.tables import print_table
from harness.errors import UserError, did_you_mean

if TYPE_CHECKING:
    from harness.spec import RunSpec

_LEDGERS = {"time": "training_seconds", "tokens": "generated_tokens", "steps": "training_steps"}


def compare(
    first: Annotated[str, typer.Argument(metavar="A", help="A folder of runs (runs/quick), or NAME=FOLDER; gives the target.")],
    second: Annotated[str, typer.Argument(metavar="B", help="The folder to hold against it, or NAME=FOLDER.")],
    of_a: Annotated[list[str] | None, typer.Option("--a", metavar="KEY=VALUE", help="Only these runs of A; as --only.")] = None,
    of_b: Annotated[list[str] | None, typer.Option("--b", metavar="KEY=VALUE", help="Only these runs of B, e.g. backend=verl.")] = None,
    baseline: Annotated[str, typer.Option(help="Strategy label whose runs in A give the target.")] = "grpo",
    target: Annotated[str | None, typer.Option(help="final, share_of_gain=0.9 or accuracy=0.5; default: that of A's runs.")] = None,
    crossing: Annotated[str | None, typer.Option(help="sustained or first; default: that of A's runs.")] = None,
    mix_machines: Annotated[bool, typer.Option("--mix-machines", help="Compare seconds even if the machines differ.")] = False,
    output: Annotated[Path | None, typer.Option("-o", "--output", metavar="DIR", help="Also write the page and results.csv.")] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON for a script.")] = False,
) -> None:
    """Compare two folders of runs seed by seed: versions, machines, or TRL against verl."""
    if crossing is not None and crossing not in ("sustained", "first"):
        raise UserError(f"--crossing {crossing}: must be sustained or first{did_you_mean(crossing, ('sustained', 'first'))}")
    names = _names(first, second, of_a, of_b)
    read = importlib.import_module("reports.condensed").condense_ledgers
    sides = []
    for name, folder, only, option in zip(names, (first, second), (of_a, of_b), ("--a", "--b"), strict=True):
        found_runs = _runs(_split(folder)[1])
        if not found_runs:
            raise UserError(f"{folder} has no run with a result")
        keys = {key: lambda run, value=value: value(run[1]) for key, value in RUN_KEYS.items()}
        sides.append((name, choose(found_runs, only or [], keys, f"run with a result in {folder}", option)))
    found = importlib.import_module("reports.sides").compare_sides(
        *((name, list(read([path for path, _ in specs]))) for name, specs in sides),
        baseline=baseline,
        target=_target([spec for _, spec in sides[0][1]], target, crossing),
        mix_machines=mix_machines,
    )
    page = _write(found, output) if output is not None else None
    if as_json:
        typer.echo(json.dumps(_json(found), indent=2))
    else:
        _print(found)
        if page is not None:
            typer.echo(f"report: {page}")


def _split(argument: str) -> tuple[str | None, Path]:
    """(name, folder) of ``NAME=FOLDER`` or ``FOLDER``; a folder with = in its name needs a name before it."""
    name, equals, folder = argument.partition("=")
    if equals and name and "/" not in name:
        return name, Path(folder)
    return None, Path(argument)


def _names(first: str, second: str, of_a: list[str] | None, of_b: list[str] | None) -> tuple[str, str]:
    """What the sides are called: as given, by what --a and --b choose, or by the parts of the folders that differ."""
    given = [_split(argument) for argument in (first, second)]
    chosen = [", ".join(item.partition("=")[2] for item in only or []) for only in (of_a, of_b)]
    parts = [list(folder.resolve().parts) for _, folder in given]
    while len(parts[0]) > 1 and len(parts[1]) > 1 and parts[0][-1] == parts[1][-1]:
        parts = [p[:-1] for p in parts]
    if parts[0] == parts[1] and chosen[0] == chosen[1]:
        raise UserError(f"{first} and {second} are the same runs; choose different ones with --a and --b")
    names = [name or only or side[-1] for (name, _), only, side in zip(given, chosen, parts, strict=True)]
    return (names[0], names[1]) if names[0] != names[1] else (f"{names[0]} (A)", f"{names[1]} (B)")


def _runs(folder: Path) -> list[tuple[Path, RunSpec]]:
    """(ledger, spec) of every run with a result in a folder, or in the suite folders below it."""
    from harness.records.ledger import LEDGER_NAME
    from harness.records.run_folder import RunPaths, run_status
    from harness.spec import RunSpec

    ledgers = sorted([*folder.glob(f"*/{LEDGER_NAME}"), *folder.glob(f"*/*/{LEDGER_NAME}")])
    if not ledgers:
        raise UserError(f"{folder} holds no runs: give a suite's folder such as runs/quick, which holds one folder per run")
    runs = [(path, RunSpec.load(path.parent / "spec.json")) for path in ledgers]
    return [(path, spec) for path, spec in runs if run_status(RunPaths(path.parent), spec, holding_lock=True).is_result]


def _target(specs: list[RunSpec], target: str | None, crossing: str | None) -> dict[str, Any]:
    from harness.stats import target_from_text

    rules = {spec.target.model_dump_json(): spec.target for spec in specs}
    if len(rules) > 1 and (target is None or crossing is None):
        raise UserError("the runs of A have different targets; choose one with --target and --crossing")
    recorded = next(iter(rules.values())).model_dump(mode="json")
    rule = target_from_text(target) if target is not None else {k: v for k, v in recorded.items() if k != "crossing"}
    return {**rule, "crossing": crossing or recorded["crossing"]}


def _write(found: Any, output: Path) -> Path:
    a, b = found.names
    sides = importlib.import_module("reports.page.sides")
    description = "Two sides of one experiment, paired by seed on every combination and strategy that both have."
    page: Path = importlib.import_module("reports.page.build").write_report(
        found.analysis,
        output,
        title=f"{b} against {a}",
        description=f"{description} {sides.MIXED}" if found.mixed else description,
        figures=True,
        more=[sides.sides_section(found)],
        question=f"Does {b} reach the target accuracy at lower cost than {a}?",
    )
    return page


def _print(found: Any) -> None:
    words = importlib.import_module("reports.words")
    points = importlib.import_module("reports.page.sides").points
    rows = []
    for combination in found.analysis.combinations:
        one, two = combination.arms
        main = two.speed_ups.get(combination.main_cost)
        row = [combination.name, main.n if main is not None else 0, f"{one.reached}/{one.n}", f"{two.reached}/{two.n}"]
        for ledger in _LEDGERS.values():
            speed_up = two.speed_ups.get(ledger)
            refused = ledger == "training_seconds" and not combination.seconds_comparable
            text = f"{words.speed_up(speed_up)} {words.interval(speed_up)}" if speed_up is not None and speed_up.n else words.NO_VALUE
            row.append("refused" if refused else text)
        row += [points(found.differences[combination.name][1]), main.verdict if main is not None and main.n else "not compared"]
        rows.append(row)
    a, b = found.names
    typer.echo(f"{b} against {a}: speed-up is the cost of {a} over that of {b}, seed by seed [95 %]")
    heads = ["arm", "pairs", f"reached, {a}", f"reached, {b}", *_LEDGERS, "final accuracy, points", "verdict"]
    print_table(heads, rows)
    if any(not c.seconds_comparable for c in found.analysis.combinations):
        typer.echo("seconds are refused: the machines or their settings differ; --mix-machines compares them all the same")
    if found.mixed:
        typer.echo(importlib.import_module("reports.page.sides").MIXED)
    for line in found.alone:
        typer.echo(line)
    for line in importlib.import_module("reports.page.sides").replicate_notes(found):
        typer.echo(line)
    for name, one, two in found.differs:
        typer.echo(f"differs: {name}: {one} | {two}")


def _json(found: Any) -> dict[str, Any]:
    rows = importlib.import_module("reports.exports.csv_rows").result_rows(found.analysis)
    differences = [
        {"arm": arm, "pairs": n, "difference": band.value, "low": band.low, "high": band.high}
        for arm, (n, band) in found.differences.items()
    ]
    return {
        "sides": list(found.names),
        "machines_mixed": found.mixed,
        "comparisons": [_plain(row) for row in rows if row["strategy"] == found.names[1]],
        "final_accuracy": [_plain(row) for row in differences],
        "alone": found.alone,
        "differs": [{"setting": name, "a": one, "b": two} for name, one, two in found.differs],
    }


def _plain(row: dict[str, Any]) -> dict[str, Any]:
    """JSON has no infinity and no NaN: ``"inf"`` as in results.csv, and null."""
    return {k: (None if math.isnan(v) else "inf" if math.isinf(v) else v) if isinstance(v, float) else v for k, v in row.items()}
