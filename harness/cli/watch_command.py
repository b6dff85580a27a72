"""``halfway watch``: accuracy against cost while runs go on."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from harness.cli.chosen_runs import chosen_runs
from harness.cli.hints import Given
from harness.cli.options import OnBackend, Only, Plugins, RunsDir, SuiteName, Untuned


def watch(
    suite: SuiteName,
    runs_dir: RunsDir = Path("runs"),
    only: Only = None,
    plugin: Plugins = None,
    untuned: Untuned = False,
    backend: OnBackend = None,
    cost: Annotated[str, typer.Option(help="Across: time, tokens, steps or rollouts.")] = "time",
    every: Annotated[float, typer.Option(min=0.2, help="Seconds between two looks.")] = 2.0,
    html: Annotated[Path | None, typer.Option(metavar="FILE", help="Write a page that refreshes itself instead.")] = None,
    once: Annotated[bool, typer.Option("--once", help="Show how it stands and end.")] = False,
) -> None:
    """Show accuracy against cost while runs go on. It only reads: start it before, during or after 'halfway run'."""
    from harness.cli.watch import watch_suite

    loaded, runs = chosen_runs(suite, plugin, only, runs_dir, untuned, backend)
    start = Given(suite, runs_dir, only or (), plugin or (), backend, untuned).command()
    watch_suite(loaded, runs, runs_dir, cost, every, html, once, start)
