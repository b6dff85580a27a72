"""The ``halfway`` command, put together from one module per command.

Commands import what they need when they run: ``halfway --help`` loads typer and nothing else.
"""

from __future__ import annotations

import errno
import os
import sys
from pathlib import Path
from typing import Any

import typer
import typer.core

from harness.cli import (
    compare,
    doctor,
    global_options,
    import_model,
    models,
    plan_command,
    predictor,
    recommend,
    regime,
    rehearse,
    report_command,
    run,
    status,
    strategies,
    tasks,
    tune,
    validate,
    watch_command,
)
from harness.cli import list as list_command
from harness.cli import price as price_command
from harness.cli import version as version_command
from harness.errors import UserError
from harness.files import import_from

#: Order of the help: a suite's way from the idea to the page, then strategies, then the rest.
ORDER = (
    "list", "validate", "regime", "recommend", "plan", "tune", "run", "status", "watch", "report", "compare", "price",
    "rehearse", "tasks", "models", "import-model", "strategies", "check", "new-strategy", "predictor", "doctor", "version",
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

app.callback()(global_options.global_options)
app.command("list")(list_command.list_suites)
app.command("validate")(validate.validate)
app.command("regime")(regime.regime)
app.command("recommend")(recommend.recommend)
app.command("plan")(plan_command.plan_suite)
app.command("tune")(tune.tune)
app.command("run")(run.run)
app.command("status")(status.status)
app.command("watch")(watch_command.watch)
app.command("report")(report_command.report_suite)
app.command("compare")(compare.compare)
app.command("price")(price_command.price)
app.command("rehearse")(rehearse.rehearse)
app.command("tasks")(tasks.tasks)
app.command("models")(models.models)
app.command("import-model")(import_model.import_model)
app.command("strategies")(strategies.strategies)
app.command("check")(strategies.check)
app.command("new-strategy")(strategies.new_strategy)
app.add_typer(predictor.app, name="predictor")
app.command("doctor")(doctor.doctor)
app.command("version")(version_command.version)


def _refuse_undecodable() -> None:
    """Raise UserError for an argument or a variable of Halfway's whose bytes are no text: libraries that save models refuse such paths."""
    said = [(f"argument {word!a}", word) for word in sys.argv[1:]]
    said += [(f"{name}={value!a}", value) for name, value in os.environ.items() if name.startswith("HALFWAY_")]
    for what, word in said:
        if any("\ud800" <= letter <= "\udfff" for letter in word):
            raise UserError(f"{what} is not valid UTF-8 text; rename the file or folder that it stands for")


def main() -> None:
    """The ``halfway`` command: messages instead of tracebacks for what a person can mend."""
    import_from(Path.cwd())  # plugins may lie in the folder the user is in
    try:
        _refuse_undecodable()
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
