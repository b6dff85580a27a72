"""From records to page and summary: what ``halfway report`` and ``halfway run --report`` share.

The report package is reached by name: the harness never imports it.
"""

from __future__ import annotations

import importlib
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import typer

from harness.cli_tables import print_table
from harness.errors import UserError, did_you_mean
from harness.finished import finished_runs, logs_of
from harness.spec import RunSpec
from harness.suite import Suite

CROSSINGS = ("sustained", "first")


def report_runs(suite: Suite, runs: Sequence[RunSpec], runs_dir: Path, output: Path, *, figures: bool = False) -> bool:
    """Write the report of what is finished and print its summary; says what is left out. False if a ledger could not be read."""
    finished = finished_runs(runs, runs_dir)
    if not finished:
        raise UserError(
            f"no run of suite {suite.name!r} in {runs_dir} is finished, so there is nothing to report; start 'halfway run' first"
        )
    if len(finished) < len(runs):
        typer.echo(f"{len(runs) - len(finished)} of {len(runs)} runs are not finished and left out of the report", err=True)
    unreadable: list[str] = []
    condense = importlib.import_module("reports.records").condense
    analysis = importlib.import_module("reports.analysis").analyse(
        (condense(log) for log in logs_of(finished, runs_dir, unreadable)),
        baseline=suite.baseline,
        target=suite.target.model_dump(mode="json"),
        expected=[(spec.combination.name, spec.strategy.label, spec.seed) for spec in runs],
    )
    write = importlib.import_module("reports.build").write_report
    page = write(analysis, output, title=suite.name, description=suite.description, figures=figures)
    _print_summary(importlib.import_module("reports.rows").summary_rows(analysis))
    for words in unreadable:
        typer.echo(f"halfway: left out of the report: {words}", err=True)
    typer.echo(f"report: {page}")
    return not unreadable


def report_curves(curves: Path, output: Path, crossing: str, target: str, figures: bool) -> None:
    """The report of curves measured elsewhere."""
    if crossing not in CROSSINGS:
        raise UserError(f"--crossing {crossing}: must be sustained or first{did_you_mean(crossing, CROSSINGS)}")
    page = importlib.import_module("reports.curves").build_curves_report(curves, output, crossing, target, figures=figures)
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
    print_table(headers, table)


def _number(value: float | None) -> str:
    return "–" if value is None or value != value else f"{value:.2f}"
