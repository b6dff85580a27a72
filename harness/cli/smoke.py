"""``halfway run SUITE --smoke``: two steps of every arm, and a table that says which of them work."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, cast

import typer

from harness.display.base import Display
from harness.errors import UserError

if TYPE_CHECKING:
    from harness.records.run_folder import RunStatus
    from harness.spec import RunSpec


def smoke(runs: Sequence[RunSpec], suite: str, runs_dir: Path, max_parallel: int | None, executor: str) -> int:
    """Try every arm among ``runs``, print how it went, and return the exit code: 0 if all of them work, 130 if stopped, else 1.

    Raises UserError if another such command uses the folder.
    """
    from harness.cli.tables import print_table
    from harness.display.choose import make_display
    from harness.records.run_folder import DONE, suite_folder
    from harness.runner.smoke import SweepingDisplay, emptied_folder, smoke_runs, unready
    from harness.runner.suite_runner import run_suite

    tried = smoke_runs(runs)
    folder = tried[0].suite
    with emptied_folder(runs_dir, folder):
        why_not = unready(tried, suite, executor == "local")
        display = make_display()
        try:
            sweeping = cast(Display, SweepingDisplay(display, runs_dir))
            able = [run for run in tried if run.run_id not in why_not]
            result = run_suite(able, runs_dir, sweeping, max_parallel=max_parallel, executor=executor)
        finally:
            display.close()
    for outcome in result.outcomes:
        if outcome.status.state not in DONE:
            why_not[outcome.spec.run_id] = _why_not(outcome.status)
    print_table(
        ["combination", "strategy", "smoke"],
        [[run.combination.name, run.strategy.label, why_not.get(run.run_id, "ok")] for run in tried],
    )
    where = suite_folder(runs_dir, folder)
    typer.echo(f"{len(tried) - len(why_not)} of {len(tried)} arms work (logs: {where}/RUN/attempts/1/log.txt)")
    return 130 if result.stopped else int(bool(why_not))


def refuse_with(**given: object) -> None:
    """Raise UserError for an option that means nothing for two steps."""
    for name, value in given.items():
        if value:
            raise UserError(f"--{name} cannot be combined with --smoke, which runs two steps of every arm and keeps no result")


def _why_not(status: RunStatus) -> str:
    return status.failure or f"{status.state} at step {status.step}"
