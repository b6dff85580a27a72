"""The command line. Commands import what they need when they run: ``halfway --help`` loads typer and nothing else."""

from __future__ import annotations

import errno
import sys
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
import typer.core

from harness.cli import compare, predictor, regime, rehearse, strategies, tune, validate
from harness.cli.chosen_runs import ONLY_KEYS, chosen_runs, value_of
from harness.cli.options import AsJson, DataDir, OnBackend, Only, Plugins, RunsDir, SuiteName, Untuned, print_json
from harness.cli.price import price as price_of_tokens
from harness.cli.tables import print_table
from harness.errors import UserError

if TYPE_CHECKING:
    from harness.runner.suite_runner import SuiteResult
    from harness.spec import RunSpec

#: Order of the help: a suite's way from the idea to the page, then strategies, then the rest.
ORDER = (
    "list", "validate", "regime", "plan", "tune", "run", "status", "watch", "report", "compare", "price",
    "rehearse", "strategies", "check", "new-strategy", "predictor", "doctor", "version",
)  # fmt: skip


class _InOrder(typer.core.TyperGroup):
    """Commands as a person meets them, not as modules register them."""

    def list_commands(self, ctx: Any) -> list[str]:
        return sorted(super().list_commands(ctx), key=ORDER.index)


app = typer.Typer(
    name="halfway",
    cls=_InOrder,
    help="Measure whether a way of choosing and reusing rollouts reaches a target accuracy sooner than plain GRPO.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
)

app.add_typer(predictor.app, name="predictor")
app.command("tune")(tune.tune)
app.command("compare")(compare.compare)
app.command("price")(price_of_tokens)
app.command("rehearse")(rehearse.rehearse)
app.command("validate")(validate.validate)
app.command("regime")(regime.regime)
app.command("strategies")(strategies.strategies)
app.command("check")(strategies.check)
app.command("new-strategy")(strategies.new_strategy)


@app.command("list")
def list_suites(as_json: AsJson = False) -> None:
    """Show the suites that come with Halfway."""
    from harness.suite.reader import load_suite
    from harness.suite.suite import plan, shipped_suites

    found: list[dict[str, Any]] = []
    for path in shipped_suites():
        suite = load_suite(path)
        found.append({
            "name": path.stem, "description": suite.description, "combinations": suite.combinations,
            "strategies": suite.labels, "seeds": len(suite.seeds), "runs": len(plan(suite)),
        })  # fmt: skip
    if as_json:
        print_json(found)
        return
    for row in found:
        typer.echo(f"{row['name']}: {row['description']}")
        counts = f"{len(row['combinations'])} combinations x {len(row['strategies'])} strategies x {row['seeds']} seeds"
        typer.echo(f"  {row['runs']} runs ({counts})")
        typer.echo(f"  combinations  {', '.join(row['combinations'])}")
        typer.echo(f"  strategies    {', '.join(row['strategies'])}")


@app.command()
def run(
    suite: SuiteName,
    runs_dir: RunsDir = Path("runs"),
    max_parallel: Annotated[int | None, typer.Option(min=1, help="Runs at a time; default: as many as cores or GPUs allow.")] = None,
    only: Only = None,
    plugin: Plugins = None,
    wait: Annotated[bool, typer.Option("--wait", help="Wait if another command is running this suite here.")] = False,
    retry_failed: Annotated[bool, typer.Option("--retry-failed", help="Also go on with runs that failed.")] = False,
    report: Annotated[Path | None, typer.Option(metavar="DIR", help="Build the report there afterwards.")] = None,
    untuned: Untuned = False,
    backend: OnBackend = None,
    budget: Annotated[
        list[str] | None,
        typer.Option(metavar="AMOUNT", help="Stop at checkpoints when this much is spent in all: 90min, 8h, 20Mtokens; repeatable."),
    ] = None,
    data_dir: DataDir = None,
    executor: Annotated[str, typer.Option(metavar="local|ray", help="Where runs go: this machine, or a running Ray cluster.")] = "local",
) -> None:
    """Run a suite, or go on with it: what is done is not done again."""
    from harness.data.missing_predictors import refuse_missing_predictors
    from harness.data.provenance import use_data_folder
    from harness.display.choose import make_display
    from harness.records.run_folder import DONE, run_paths, run_status
    from harness.runner.command_budget import Allowance
    from harness.runner.suite_runner import run_suite

    use_data_folder(data_dir)
    allowance = Allowance.parse(budget or [])
    loaded, runs = chosen_runs(suite, plugin, only, runs_dir, untuned, backend)
    refuse_missing_predictors([spec for spec in runs if run_status(run_paths(runs_dir, spec), spec).state not in DONE], suite)
    display = make_display()
    try:
        result = run_suite(
            runs, runs_dir, display, max_parallel=max_parallel, wait=wait, retry_failed=retry_failed, allowance=allowance, executor=executor
        )
    finally:
        display.close()
    _say_how_it_ended(result, suite)
    if report is not None and any(outcome.done for outcome in result.outcomes):
        from harness.cli.report import report_runs

        report_runs(loaded, runs, runs_dir, report)
    raise typer.Exit(result.exit_code)


@app.command("plan")
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

    loaded, runs = chosen_runs(suite, plugin, only, runs_dir, untuned, backend)
    if show_config:
        print_configurations(runs)
        return
    rows = plan_rows(loaded, runs, runs_dir)
    if as_json:
        print_json(rows)
        return
    print_plan(rows, parallel_here(runs))
    typer.echo(detectable(loaded, runs, runs_dir))
    print_missing(missing_predictors(runs, suite))
    for words in unpinned(runs):
        typer.echo(f"not pinned: {words} (a run records the commit that it got)")


@app.command()
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
    print_table(["run", "id", "state", "step", "accuracy", "training"], table)
    counts = {state: sum(row["state"] == state for row in rows) for state in STATES}
    typer.echo(f"{len(rows)} runs: {', '.join(f'{count} {state}' for state, count in counts.items() if count) or 'none'}")
    for row in rows:
        if row["failure"]:
            typer.echo(f"{row['combination']}/{row['strategy']}/{row['seed']}: {row['failure']}")
    for words in [] if only else other_runs(runs_dir, runs).sentences():
        typer.echo(words)


@app.command("report")
def report_suite(
    suite: Annotated[str | None, typer.Argument(help="A suite's name or file; not needed with --curves.")] = None,
    output: Annotated[Path, typer.Option("-o", "--output", metavar="DIR", help="Folder for index.html and the CSV files.")] = Path(
        "report"
    ),
    runs_dir: RunsDir = Path("runs"),
    only: Only = None,
    plugin: Plugins = None,
    backend: OnBackend = None,
    figures: Annotated[
        bool | None, typer.Option("--figures/--no-figures", help="Also write every figure as SVG, PDF and PNG; default: up to 200 runs.")
    ] = None,
    curves: Annotated[
        Path | None,
        typer.Option(metavar="CSV", help="Report outside curves: combination, method, avg_accuracy, hours."),
    ] = None,
    crossing: Annotated[str | None, typer.Option(help="With --curves: sustained or first.")] = None,
    target: Annotated[str | None, typer.Option(help="With --curves: final, share_of_gain=0.9 or accuracy=0.5.")] = None,
    baseline: Annotated[str | None, typer.Option(metavar="NAME", help="With --curves: the method to compare with (default: GRPO).")] = None,
    cost: Annotated[str | None, typer.Option(metavar="COLUMN", help="With --curves: the column of costs, where there are several.")] = None,
    mix_machines: Annotated[
        bool, typer.Option("--mix-machines", help="Compare seconds even if runs come from different machines.")
    ] = False,
    untuned: Untuned = False,
    price: Annotated[
        list[float] | None, typer.Option(metavar="MU", help="Judge at these prices of a generated token instead; repeatable.")
    ] = None,
    forward_price: Annotated[float | None, typer.Option(metavar="PRICE", help="Price of a token that is only passed forward.")] = None,
) -> None:
    """Build the HTML page and the CSV files from the runs that are done, or from outside curves."""
    from harness.cli.report import report_curves, report_runs

    if curves is not None:
        if suite is not None or only:
            raise UserError("--curves needs no suite: give one or the other")
        rule = (crossing or "sustained", target or "share_of_gain=0.9")
        report_curves(curves, output, *rule, figures, baseline=baseline or "GRPO", cost=cost)
        return
    if suite is None:
        raise UserError("name a suite ('halfway list' shows them), or a file of outside curves with --curves")
    if crossing or target or baseline or cost:
        raise UserError("--crossing, --target, --baseline and --cost go with --curves; a suite's own rule is in its table [target]")
    loaded, runs = chosen_runs(suite, plugin, only, runs_dir, untuned, backend)
    if not report_runs(
        loaded, runs, runs_dir, output, figures=figures, mix_machines=mix_machines, prices=price or (), forward_price=forward_price
    ):
        raise typer.Exit(1)


@app.command()
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
    watch_suite(loaded, runs, runs_dir, cost, every, html, once)


@app.command()
def doctor(
    suite: Annotated[str | None, typer.Argument(metavar="[SUITE]", help="Also say what this suite still needs here.")] = None,
    as_json: AsJson = False,
) -> None:
    """Show what is installed, which backends can run here, whether there is a GPU, and which predictors a suite lacks."""
    from harness.cli.tables import print_missing
    from harness.data.missing_predictors import missing_predictors
    from harness.machine.doctor import examine, in_words

    runs = chosen_runs(suite, None, None, Path("runs"), untuned=True, backend=None)[1] if suite else []
    missing = missing_predictors(runs, suite or "")
    found = examine()
    if as_json:
        print_json(found if suite is None else {**found, "missing_predictors": [asdict(one) for one in missing]})
        return
    typer.echo(in_words(found))
    print_missing(missing)
    if suite is not None and not missing:
        typer.echo(f"suite {suite}: no predictor is missing")


@app.command()
def version() -> None:
    """Print the version of Halfway."""
    from harness import __version__

    typer.echo(f"halfway {__version__}")


def main() -> None:
    """The ``halfway`` command: messages instead of tracebacks for what a person can mend."""
    sys.path.append(str(Path.cwd()))  # plugins may lie in the folder the user is in; last, so that it hides nothing
    try:
        app(prog_name="halfway")
    except UserError as error:
        typer.echo(f"halfway: {error}", err=True)
        sys.exit(error.exit_code)
    except OSError as error:
        if error.errno not in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG):
            raise
        typer.echo(f"halfway: cannot write {error.filename or 'a file'}: {error.strerror}; free some space and try again", err=True)
        sys.exit(UserError.exit_code)
    except KeyboardInterrupt:
        sys.exit(130)


# -- shared by the commands ----------------------------------------------------------------------------------------


def _status_rows(
    suite: str, runs_dir: Path, only: list[str] | None, plugins: list[str] | None, untuned: bool, backend: str | None
) -> tuple[list[RunSpec], list[dict[str, Any]]]:
    from harness.records.run_folder import run_paths, run_status

    runs, rows = chosen_runs(suite, plugins, only, runs_dir, untuned, backend)[1], []
    for spec in runs:
        found = run_status(run_paths(runs_dir, spec), spec)
        rows.append({
            **{key: value_of(spec, key) for key in ONLY_KEYS}, "seed": spec.seed, "state": found.state, "step": found.step,
            "max_steps": spec.algorithm.max_steps, "accuracy": found.accuracy, "training_seconds": found.seconds,
            "generated_tokens": found.tokens, "failure": found.failure,
        })  # fmt: skip
    return runs, rows


def _say_how_it_ended(result: SuiteResult, suite: str) -> None:
    done = sum(outcome.done for outcome in result.outcomes)
    typer.echo(f"{done} of {len(result.outcomes)} runs done", err=True)
    left = [outcome for outcome in result.outcomes if not outcome.done]
    for outcome in left:
        if outcome.status.state == "failed" and not outcome.shown:  # in an earlier command
            typer.echo(f"{outcome.spec.title} failed: {outcome.status.failure}", err=True)
    if result.stopped:
        typer.echo(f"stopped; 'halfway run {suite}' goes on from the last checkpoints", err=True)
    elif result.spent and left:
        typer.echo(f"{result.spent}; 'halfway run {suite}' goes on from the last checkpoints", err=True)
    elif any(outcome.status.state == "failed" and not outcome.status.mendable for outcome in left):
        typer.echo(f"once the cause is fixed: halfway run {suite} --retry-failed", err=True)
