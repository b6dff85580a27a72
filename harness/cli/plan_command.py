"""``halfway plan``: what a suite will cost, before anything starts."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from harness.cli.chosen_runs import chosen_runs
from harness.cli.options import AsJson, OnBackend, Only, Plugins, RunsDir, SuiteName, Untuned, print_json
from harness.errors import UserError


def plan_suite(
    suite: SuiteName,
    runs_dir: RunsDir = Path("runs"),
    only: Only = None,
    plugin: Plugins = None,
    untuned: Untuned = False,
    backend: OnBackend = None,
    show_config: Annotated[bool, typer.Option("--show-config", help="Print the configuration that each arm gives its engine.")] = False,
    as_json: AsJson = False,
) -> None:
    """List every run of a suite with what it will cost, without starting anything."""
    from harness.cli.plan import parallel_here, plan_rows, print_configurations, print_plan
    from harness.cli.power import detectable
    from harness.cli.tables import print_missing
    from harness.data.missing_predictors import missing_predictors
    from harness.data.provenance import unpinned
    from harness.runner.readiness import unfit_settings, unready_backends

    loaded, runs = chosen_runs(suite, plugin, only, runs_dir, untuned, backend)
    if show_config:
        print_configurations(runs)
        return
    for sentence in unfit_settings(runs):
        raise UserError(sentence)
    unready = unready_backends(runs)
    if unready and backend is not None:
        raise UserError(unready[0])
    rows = plan_rows(loaded, runs, runs_dir)
    if as_json:
        print_json(rows)
        return
    print_plan(rows, parallel_here(runs))
    typer.echo(detectable(loaded, runs, runs_dir))
    print_missing(missing_predictors(runs, suite))
    for words in unready:
        typer.echo(f"not ready: {words}")
    for words in unpinned(runs):
        typer.echo(f"not pinned: {words} (a run records the commit that it got)")
