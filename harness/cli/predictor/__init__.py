"""``halfway predictor``: collect pass rates, train, import, evaluate and use difficulty predictors.

Commands import what they need when they run, so that ``--help`` stays quick.
"""

from __future__ import annotations

import typer

from harness.cli.predictor.collect import collect
from harness.cli.predictor.evaluate import evaluate
from harness.cli.predictor.import_checkpoint import import_checkpoint
from harness.cli.predictor.predict import predict
from harness.cli.predictor.train import train

app = typer.Typer(
    name="predictor",
    help="Predict every question's pass rate under a new policy from a few rolled-out reference questions.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
)
for command in (collect, train, predict, evaluate):
    app.command()(command)
app.command("import")(import_checkpoint)
