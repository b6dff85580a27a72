"""``halfway doctor``: what this machine can run."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import Annotated

import typer

from harness.cli.chosen_runs import chosen_runs
from harness.cli.options import AsJson, print_json


def doctor(
    suite: Annotated[str | None, typer.Argument(metavar="[SUITE]", help="Also say what this suite still needs here.")] = None,
    as_json: AsJson = False,
) -> None:
    """Show what is installed, which backends can run here, whether there is a GPU, and which predictors a suite lacks."""
    from harness.cli.tables import print_missing
    from harness.data.missing_predictors import missing_predictors
    from harness.machine.doctor import examine, report

    runs = chosen_runs(suite, None, None, Path("runs"), untuned=True, backend=None)[1] if suite else []
    missing = missing_predictors(runs, suite or "")
    found = examine()
    if as_json:
        print_json(found if suite is None else {**found, "missing_predictors": [asdict(one) for one in missing]})
        return
    typer.echo(report(found))
    print_missing(missing)
    if suite is not None and not missing:
        typer.echo(f"suite {suite}: no predictor is missing")
