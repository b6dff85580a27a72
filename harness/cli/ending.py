"""What ``halfway run`` says at its end, with the command that goes on: the options that were given are repeated."""

from __future__ import annotations

from typing import TYPE_CHECKING

import typer

from harness.cli.hints import Given

if TYPE_CHECKING:
    from harness.runner.suite_runner import SuiteResult


def say_how_it_ended(result: SuiteResult, given: Given) -> None:
    """How many runs are done, what failed, and how to go on."""
    done = sum(outcome.done for outcome in result.outcomes)
    typer.echo(f"{done} of {len(result.outcomes)} runs done", err=True)
    left = [outcome for outcome in result.outcomes if not outcome.done]
    for outcome in left:
        if outcome.status.state == "failed" and not outcome.shown:  # in an earlier command
            typer.echo(f"{outcome.spec.title} failed: {outcome.status.failure}", err=True)
    if result.stopped:
        typer.echo(f"stopped; '{given.command()}' goes on from the last checkpoints", err=True)
    elif result.spent and left:
        typer.echo(f"{result.spent}; '{given.command()}' goes on from the last checkpoints", err=True)
    elif any(outcome.status.state == "failed" and not outcome.status.mendable for outcome in left):
        typer.echo(f"once the cause is fixed: {given.command('run', '--retry-failed')}", err=True)
