"""From records to page and summary: what ``halfway report`` and ``halfway run --report`` share.

The report package is reached by name: the harness never imports it.
"""

from __future__ import annotations

import importlib
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import typer

from harness.cli.bars import counted
from harness.cli.reference import against_reference, write_reference
from harness.cli.regime import regime_tables, start_regimes
from harness.cli.tables import print_table
from harness.errors import UserError, did_you_mean
from harness.records.run_folder import RunStatus, run_paths, run_status, suite_folder
from harness.spec import RunSpec
from harness.stats import TokenPrices
from harness.suite.suite import Suite
from harness.tuning.lock_file import TuningLock

#: Drawing every figure into three files takes longer than a report of more runs than this should.
FIGURES_UP_TO = 200

MIXED = "Seconds of different machines are compared, as asked for: what they show may be the machines and not the strategies."

CROSSINGS = ("sustained", "first")


def report_runs(
    suite: Suite,
    runs: Sequence[RunSpec],
    runs_dir: Path,
    output: Path,
    *,
    figures: bool | None = None,
    mix_machines: bool = False,
    prices: Sequence[float] = (),
    forward_price: float | None = None,
    start: str = "halfway run",
    reference: Path | None = None,
    reference_out: Path | None = None,
) -> bool:
    """Write the report of what is finished and print its summary; says what is left out. False if a ledger could not be read.

    prices, forward_price: of a generated and of a forward-only token, instead of the suite's. mix_machines: compare seconds although
    runs of a combination come from different machines; the page says so at its top. start: the command that makes what is missing.
    reference: of the baseline, instead of the one beside the suite; reference_out: where to write these runs as one.
    """
    # What the ledgers say, whoever holds their locks: the same records give the same report.
    statuses = {spec.run_id: run_status(run_paths(runs_dir, spec), spec, holding_lock=True) for spec in runs}
    finished = [spec for spec in runs if statuses[spec.run_id].is_result]
    if not finished:
        raise UserError(f"no run of suite {suite.name!r} in {runs_dir} is finished, so there is nothing to report; start '{start}' first")
    if len(finished) < len(runs):
        left = len(runs) - len(finished)
        typer.echo(f"{left} of {len(runs)} runs are not finished and left out of the report; '{start}' goes on with them", err=True)
    unreadable: list[str] = []
    condensed = importlib.import_module("reports.condensed").condense_ledgers(
        [run_paths(runs_dir, spec).ledger for spec in finished],
        [spec.model_dump(mode="json") for spec in finished],  # the records hold what the execution fields were when the runs began
        unreadable,
    )
    condensed = counted(condensed, "reading ledgers", len(finished))
    mixed = False
    if mix_machines:
        mixed = len({(run.combination, run.machine) for run in condensed}) > len({run.combination for run in condensed})
        condensed = [replace(run, machine="") for run in condensed]
    analysis = importlib.import_module("reports.analysis").analyse(
        condensed,
        baseline=suite.baseline,
        target=suite.target.model_dump(mode="json"),
        expected=[_key(spec) for spec in runs],
        prices=_token_prices(suite, prices, forward_price),
        absent={_key(spec): found for spec in runs if (found := why_absent(spec, statuses[spec.run_id])) is not None},
    )
    reproduced = against_reference(analysis, suite, reference)
    write = importlib.import_module("reports.page.build").write_report
    page = write(
        analysis,
        output,
        title=suite.name,
        description=f"{suite.description} {MIXED}".strip() if mixed else suite.description,
        figures=len(finished) <= FIGURES_UP_TO if figures is None else figures,
        lock=None if suite.lock is None else TuningLock.read(suite.lock),
        regimes=measured_regimes(suite, runs_dir),
        reproduced=reproduced,
    )
    if mixed:
        typer.echo(MIXED, err=True)
    _print_summary(importlib.import_module("reports.exports.csv_rows").summary_rows(analysis))
    for combination in analysis.combinations:
        target = combination.target
        known = f"{100 * target.accuracy:.1f} % accuracy, {analysis.rule.words}" if target.accuracy is not None else f"none: {target.note}"
        typer.echo(f"target of {combination.name}: {known}")
    for found in reproduced:
        typer.echo(found.sentence)
    if reference_out is not None:
        write_reference(analysis, reference_out)
    for words in unreadable:
        typer.echo(f"halfway: left out of the report: {words}", err=True)
    typer.echo(f"report: {page}")
    return not unreadable


def measured_regimes(suite: Suite, runs_dir: Path) -> dict[str, Any]:
    """Per combination what ``halfway regime`` found last, where it was asked."""
    folder = suite_folder(runs_dir, suite.name)
    found = {}
    for name in suite.combinations:
        group_size = next(arm.algorithm.group_size for arm in suite.arms if arm.combination.name == name)
        for table in regime_tables(folder, name):
            found[name] = start_regimes(table, group_size)[-1]
    return found


def _token_prices(suite: Suite, prices: Sequence[float], forward_price: float | None) -> list[TokenPrices]:
    forward = suite.report.forward_price if forward_price is None else forward_price
    return [TokenPrices(price, forward) for price in prices or suite.report.prices]


def _key(spec: RunSpec) -> tuple[str, str, int]:
    return spec.combination.name, spec.strategy.label, spec.seed


def why_absent(spec: RunSpec, status: RunStatus) -> tuple[str, str] | None:
    """(state, reason) of a run that was started and has no result; None if it has one or was never started."""
    if status.is_result or status.state == "pending":
        return None
    until = f"step {status.step} of {spec.algorithm.max_steps}"
    if status.state == "failed":
        return "crashed", f"{status.failure} (recorded up to {until})"
    return "unfinished", f"recorded up to {until}: stopped, or still running; 'halfway run {spec.suite}' goes on with it"


def report_curves(
    curves: Path, output: Path, crossing: str, target: str, figures: bool | None = None, *, baseline: str = "GRPO", cost: str | None = None
) -> None:
    """The report of curves measured elsewhere."""
    if crossing not in CROSSINGS:
        raise UserError(f"--crossing {crossing}: must be sustained or first{did_you_mean(crossing, CROSSINGS)}")
    page = importlib.import_module("reports.page.outside_curves").build_curves_report(
        curves, output, crossing, target, baseline=baseline, cost=cost, figures=figures is not False
    )
    typer.echo(f"report: {page}")


def _print_summary(rows: Sequence[dict[str, Any]]) -> None:
    headers = [
        "combination",
        "strategy",
        "runs",
        "reached",
        "time to target",
        "speed-up [95 %]",
        "final",
        "non-degenerate",
        "predictor ρ",
        "verdict",
    ]
    table = []
    for row in rows:
        speed_up = row["speedup"] if row["speedup"] == row["interval"] else f"{row['speedup']} {row['interval']}"
        table.append(
            [
                *(row[key] for key in ("combination", "strategy", "runs", "reached", "time_to_target")),
                speed_up,
                *(_number(row[key]) for key in ("final_accuracy", "non_degenerate_share", "predictor_pearson")),
                row["verdict"],
            ]
        )
    print_table(headers, table, droppable=["predictor ρ", "non-degenerate", "final", "runs", "time to target"])


def _number(value: float | None) -> str:
    return "–" if value is None or value != value else f"{value:.2f}"
