"""``halfway run``: bring every run of a suite to its end, or go on with it."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from harness.cli.chosen_runs import chosen_runs
from harness.cli.ending import say_how_it_ended
from harness.cli.hints import Given
from harness.cli.options import DataDir, Executor, MaxParallel, OnBackend, Only, Plugins, RetryFailed, RunsDir, SuiteName, Untuned


def run(
    suite: SuiteName,
    runs_dir: RunsDir = Path("runs"),
    max_parallel: MaxParallel = None,
    only: Only = None,
    plugin: Plugins = None,
    wait: Annotated[bool, typer.Option("--wait", help="Wait if another command is running this suite here.")] = False,
    retry_failed: RetryFailed = False,
    report: Annotated[Path | None, typer.Option(metavar="DIR", help="Build the report there afterwards.")] = None,
    untuned: Untuned = False,
    backend: OnBackend = None,
    budget: Annotated[
        list[str] | None,
        typer.Option(metavar="AMOUNT", help="Stop at checkpoints when this much is spent in all: 90min, 8h, 20Mtokens; repeatable."),
    ] = None,
    data_dir: DataDir = None,
    executor: Executor = "local",
    smoke: Annotated[
        bool, typer.Option("--smoke", help="Two steps of every arm's first seed, apart from all results: does everything work?")
    ] = False,
) -> None:
    """Run a suite, or go on with it: what is done is not done again."""
    from harness.cli.smoke import refuse_with
    from harness.cli.smoke import smoke as try_every_arm
    from harness.data.missing_predictors import refuse_missing_predictors
    from harness.data.provenance import use_data_folder
    from harness.display.choose import make_display
    from harness.records.run_folder import DONE, run_paths, run_status
    from harness.runner.command_budget import Allowance
    from harness.runner.readiness import refuse_unready
    from harness.runner.suite_runner import run_suite

    use_data_folder(data_dir)
    allowance = Allowance.parse(budget or [])
    loaded, runs = chosen_runs(suite, plugin, only, runs_dir, untuned, backend)
    if smoke:
        refuse_with(budget=budget, report=report)
        raise typer.Exit(try_every_arm(runs, suite, runs_dir, max_parallel, executor))
    left = [spec for spec in runs if run_status(run_paths(runs_dir, spec), spec).state not in DONE]
    refuse_missing_predictors(left, suite)
    if executor == "local":
        refuse_unready(left)
    display = make_display()
    try:
        result = run_suite(
            runs, runs_dir, display, max_parallel=max_parallel, wait=wait, retry_failed=retry_failed, allowance=allowance, executor=executor
        )
    finally:
        display.close()
    given = Given(suite, runs_dir, only or (), plugin or (), backend, untuned, data_dir, executor, max_parallel)
    say_how_it_ended(result, given)
    if report is not None and any(outcome.done for outcome in result.outcomes):
        from harness.cli.report import report_runs

        report_runs(loaded, runs, runs_dir, report, start=given.command())
    raise typer.Exit(result.exit_code)
