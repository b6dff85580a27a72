"""``halfway report``: the page and the tables of finished runs, or of curves measured elsewhere."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from harness.cli.chosen_runs import chosen_runs
from harness.cli.hints import Given
from harness.cli.options import OnBackend, Only, Plugins, RunsDir, Untuned
from harness.errors import UserError


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
        Path | None, typer.Option(metavar="CSV", help="Report outside curves: combination, method, avg_accuracy, hours.")
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
    reference: Annotated[
        Path | None, typer.Option(metavar="CSV", help="Hold the baseline against this reference; default: the one beside the suite.")
    ] = None,
    reference_out: Annotated[
        Path | None, typer.Option("--reference-out", metavar="CSV", help="Write the baseline's curve as a reference for other machines.")
    ] = None,
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
    given = Given(suite, runs_dir, only or (), plugin or (), backend, untuned)
    complete = report_runs(
        loaded,
        runs,
        runs_dir,
        output,
        figures=figures,
        mix_machines=mix_machines,
        prices=price or (),
        forward_price=forward_price,
        start=given.command(),
        reference=reference,
        reference_out=reference_out,
    )
    if not complete:
        raise typer.Exit(1)
