"""``halfway recommend``: which arm to try first on a suite, from the committed results of the course that starts most like it."""

from __future__ import annotations

import importlib
import math
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from harness.cli.hints import Given
from harness.cli.options import AsJson, RunsDir, SuiteName, print_json
from harness.errors import UserError

if TYPE_CHECKING:
    from harness.suite.suite import Suite

#: Stands for the price that a suite's own finished runs show.
MEASURED = "measured"


def recommend(
    suite: SuiteName,
    runs_dir: RunsDir = Path("runs"),
    price: Annotated[
        str, typer.Option(metavar="MU", help="Price of a generated token in trained ones, or 'measured' by the baseline's finished runs.")
    ] = "1",
    results: Annotated[
        Path | None, typer.Option(metavar="CSV", help="Another table of courses than the one that comes with Halfway.")
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Say which strategy to try first, from committed results of courses whose start is like this suite's; run 'halfway regime' first.

    Where no course is near, or no arm is surely cheaper there, it says so and recommends plain GRPO.
    """
    from harness.suite.reader import load_suite
    from harness.suite.suite import find_suite

    loaded = load_suite(find_suite(suite))
    module = importlib.import_module("reports.recommendation")
    rows = module.committed_rows(results)
    if not rows:
        typer.echo("no committed results yet", err=True)
        raise typer.Exit(1)
    starts = _starts(loaded, suite, runs_dir)
    found = {name: _found(module, loaded, name, start, rows, price, runs_dir) for name, start in starts.items()}
    if as_json:
        print_json(list(found.values()))
        return
    for entry in found.values():
        for sentence in entry["sentences"]:
            typer.echo(sentence)
        typer.echo()


def _starts(suite: Suite, argument: str, runs_dir: Path) -> dict[str, Any]:
    """The measured start of every combination that has one. Raises UserError where none has."""
    from harness.cli.report import measured_regimes

    found = measured_regimes(suite, runs_dir)
    if not found:
        told = Given(argument, runs_dir).command("regime")
        raise UserError(f"how hard the questions of suite {suite.name!r} are at the start is not known; run '{told}' first")
    return {name: found[name] for name in suite.combinations if name in found}


def _found(module: Any, suite: Suite, name: str, start: Any, rows: Any, price: str, runs_dir: Path) -> dict[str, Any]:
    shares = {key: float(getattr(start, key)) for key in module.SHARES}
    asked = _price(price, suite, name, runs_dir)
    found = module.recommend(shares, rows, asked)
    return {
        "combination": name,
        "start": {**shares, "group_size": start.group_size, "questions": start.questions},
        "price": found.price,
        "recommended": None if found.arm is None else found.arm.arm,
        "near": found.near,
        "distance": found.distance,
        "nearest": found.nearest.where,
        "compared": [{k: _finite(v) for k, v in asdict(row).items()} for row in found.compared],
        "sentences": module.sentences(found, name, shares, asked),
    }


def _finite(value: Any) -> Any:
    """JSON has neither infinities nor NaN."""
    return None if isinstance(value, float) and not math.isfinite(value) else value


def _price(text: str, suite: Suite, combination: str, runs_dir: Path) -> float:
    if text != MEASURED:
        try:
            return float(text)
        except ValueError:
            raise UserError(f"--price {text}: give a number, or '{MEASURED}'") from None
    from harness.records.run_folder import run_paths, run_status
    from harness.suite.suite import plan

    specs = [s for s in plan(suite) if (s.combination.name, s.strategy.label) == (combination, suite.baseline)]
    ledgers = [p.ledger for s in specs if run_status(p := run_paths(runs_dir, s), s, holding_lock=True).is_result]
    runs = list(importlib.import_module("reports.condensed").condense_ledgers(ledgers))
    found = importlib.import_module("reports.phase_costs").measured_prices_of_runs(runs) if runs else None
    if found is None:
        raise UserError(
            f"--price {MEASURED}: no finished run of {suite.baseline} on {combination} in {runs_dir} shows a price; give a number"
        )
    return float(found.generated)
