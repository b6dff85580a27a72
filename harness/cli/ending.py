"""What ``halfway run`` says at its end, with the command that goes on: the options that were given are repeated."""

from __future__ import annotations

import shlex
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import typer

if TYPE_CHECKING:
    from harness.runner.suite_runner import SuiteResult

#: The folder of runs that no command needs to be given.
USUAL_RUNS = Path("runs")


def again(suite: str, runs_dir: Path, only: Sequence[str] = (), *more: str, command: str = "run") -> str:
    """``halfway run quick --runs-dir /data/runs --only seed=1``: the same command, as a person would type it."""
    words = ["halfway", command, suite]
    words += ["--runs-dir", str(runs_dir)] if runs_dir != USUAL_RUNS else []
    words += [word for item in only for word in ("--only", item)]
    return shlex.join([*words, *more])


def say_how_it_ended(result: SuiteResult, suite: str, runs_dir: Path, only: Sequence[str]) -> None:
    """How many runs are done, what failed, and how to go on."""
    done = sum(outcome.done for outcome in result.outcomes)
    typer.echo(f"{done} of {len(result.outcomes)} runs done", err=True)
    left = [outcome for outcome in result.outcomes if not outcome.done]
    for outcome in left:
        if outcome.status.state == "failed" and not outcome.shown:  # in an earlier command
            typer.echo(f"{outcome.spec.title} failed: {outcome.status.failure}", err=True)
    if result.stopped:
        typer.echo(f"stopped; '{again(suite, runs_dir, only)}' goes on from the last checkpoints", err=True)
    elif result.spent and left:
        typer.echo(f"{result.spent}; '{again(suite, runs_dir, only)}' goes on from the last checkpoints", err=True)
    elif any(outcome.status.state == "failed" and not outcome.status.mendable for outcome in left):
        typer.echo(f"once the cause is fixed: {again(suite, runs_dir, only, '--retry-failed')}", err=True)
