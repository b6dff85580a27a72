"""Options that come before the command: ``halfway --version``, ``halfway --wide status quick``."""

from __future__ import annotations

from typing import Annotated

import typer

from harness.cli import tables
from harness.cli.version import version as print_version


def _answer_version(asked: bool) -> None:
    if asked:
        print_version()
        raise typer.Exit


def global_options(
    version: Annotated[  # noqa: ARG001 - its callback has answered
        bool, typer.Option("--version", help="Print the version and end.", callback=_answer_version, is_eager=True)
    ] = False,
    wide: Annotated[bool, typer.Option("--wide", help="Tables at their full width, also in a terminal.")] = False,
) -> None:
    """Keep what was asked for until the command prints its tables."""
    tables.wide = wide
