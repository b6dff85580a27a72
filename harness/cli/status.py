"""``halfway status``: how far every run of a suite is."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import typer

from harness.cli.chosen_runs import chosen_runs
from harness.cli.only import RUN_KEYS
from harness.cli.options import AsJson, OnBackend, Only, Plugins, RunsDir, SuiteName, Untuned, print_json
from harness.cli.tables import print_table

if TYPE_CHECKING:
    from harness.spec import RunSpec


def status(
    suite: SuiteName,
    runs_dir: RunsDir = Path("runs"),
    only: Only = None,
    plugin: Plugins = None,
    untuned: Untuned = False,
    backend: OnBackend = None,
    as_json: AsJson = False,
) -> None:
    """Show how far every run of a suite is."""
    from harness.records.other_runs import other_runs
    from harness.records.run_folder import STATES

    runs, rows = _status_rows(suite, runs_dir, only, plugin, untuned, backend)
    if as_json:
        print_json(rows)
        return
    table = []
    for row in rows:
        accuracy = "" if row["accuracy"] is None else f"{row['accuracy']:.3f}"
        name = f"{row['combination']}/{row['strategy']}/{row['seed']}"
        table.append([name, row["run"], row["state"], f"{row['step']}/{row['max_steps']}", accuracy, f"{row['training_seconds']:.1f} s"])
    print_table(["run", "id", "state", "step", "accuracy", "training"], table, droppable=["id", "training", "accuracy"])
    counts = {state: sum(row["state"] == state for row in rows) for state in STATES}
    typer.echo(f"{len(rows)} runs: {', '.join(f'{count} {state}' for state, count in counts.items() if count) or 'none'}")
    for row in rows:
        if row["failure"]:
            typer.echo(f"{row['combination']}/{row['strategy']}/{row['seed']}: {row['failure']}")
    for words in [] if only else other_runs(runs_dir, runs).sentences():
        typer.echo(words)


def _status_rows(
    suite: str, runs_dir: Path, only: list[str] | None, plugins: list[str] | None, untuned: bool, backend: str | None
) -> tuple[list[RunSpec], list[dict[str, Any]]]:
    from harness.records.run_folder import run_paths, run_status

    runs, rows = chosen_runs(suite, plugins, only, runs_dir, untuned, backend)[1], []
    for spec in runs:
        found = run_status(run_paths(runs_dir, spec), spec)
        rows.append({
            **{key: value(spec) for key, value in RUN_KEYS.items()}, "seed": spec.seed, "state": found.state, "step": found.step,
            "max_steps": spec.algorithm.max_steps, "accuracy": found.accuracy, "training_seconds": found.seconds,
            "generated_tokens": found.tokens, "failure": found.failure,
        })  # fmt: skip
    return runs, rows
