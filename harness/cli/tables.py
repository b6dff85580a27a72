"""Plain tables and lists for the terminal."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import typer

if TYPE_CHECKING:
    from harness.data.missing_predictors import MissingPredictor


def print_table(headers: Sequence[str], rows: Sequence[Sequence[Any]]) -> None:
    """Aligned columns; nothing is cut off, so that the output can also be searched."""
    cells = [[str(cell) for cell in row] for row in rows]
    widths = [max(len(row[i]) for row in [list(headers), *cells]) for i in range(len(headers))]
    typer.secho(_line(headers, widths), bold=True)
    for row in cells:
        typer.echo(_line(row, widths))


def print_missing(missing: Sequence[MissingPredictor]) -> None:
    """Predictors that are not there, each with the commands that make it."""
    for one in missing:
        typer.secho(f"PROBLEM  {one.sentence}; these commands make it:", fg="red")
        for command in one.commands:
            typer.echo(f"           {command}")


def _line(row: Sequence[str], widths: Sequence[int]) -> str:
    return "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip()
