"""Plain tables and lists for the terminal: as wide as they are in a file or a pipe, folded to the width of a terminal."""

from __future__ import annotations

import shutil
import sys
import textwrap
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import typer

if TYPE_CHECKING:
    from harness.data.missing_predictors import MissingPredictor

#: Set by ``halfway --wide``: tables keep their full width in a terminal, too.
wide = False

_GAP = 2


def print_table(headers: Sequence[str], rows: Sequence[Sequence[Any]], *, droppable: Sequence[str] = ()) -> None:
    """Aligned columns; nothing is cut off, so that the output can also be searched.

    In a terminal cells are folded between words until the table fits. Where that is not enough the ``droppable`` columns go, in their
    order, and a line names them; where even that is too wide, every row is a paragraph of its own. In a file or a pipe, and with
    ``halfway --wide``, a table is as wide as it is.
    """
    cells = [[str(cell) for cell in row] for row in rows]
    room = shutil.get_terminal_size().columns if sys.stdout.isatty() and not wide else None
    heads, cells, dropped = without_columns(list(headers), cells, room, droppable)
    for line, bold in table_lines(heads, cells, room):
        typer.secho(line, bold=bold)
    if dropped:
        typer.secho(f"left out for want of width: {', '.join(dropped)} (halfway --wide shows everything)", dim=True)


def without_columns(
    headers: list[str], cells: list[list[str]], room: int | None, droppable: Sequence[str]
) -> tuple[list[str], list[list[str]], list[str]]:
    """(headers, cells, what was left out): columns go one by one until the folded table fits; all stay where none of it helps."""
    dropped: list[str] = []
    kept = list(range(len(headers)))
    while room is not None and not _folds_to([headers[i] for i in kept], [[row[i] for i in kept] for row in cells], room):
        if len(dropped) == len(droppable):
            return headers, cells, []
        dropped.append(droppable[len(dropped)])
        kept = [i for i in kept if headers[i] != dropped[-1]]
    return [headers[i] for i in kept], [[row[i] for i in kept] for row in cells], dropped


def _folds_to(headers: list[str], cells: list[list[str]], room: int) -> bool:
    return sum(_least_widths(headers, cells)) + _GAP * (len(headers) - 1) <= room


def _least_widths(headers: list[str], cells: list[list[str]]) -> list[int]:
    """Per column its longest word, which is not cut."""
    return [max(len(word) for row in [headers, *cells] for word in (row[i] or " ").split(" ")) for i in range(len(headers))]


def table_lines(headers: list[str], cells: list[list[str]], room: int | None) -> list[tuple[str, bool]]:
    """(line, whether it is a head) of a table that fits into ``room`` characters; None: however wide it is."""
    widths = [max(len(row[i]) for row in [headers, *cells]) for i in range(len(headers))]
    if room is not None and sum(widths) + _GAP * (len(widths) - 1) > room:
        least = _least_widths(headers, cells)
        if not _folds_to(headers, cells, room):
            return _paragraphs(headers, cells, room)
        while sum(widths) + _GAP * (len(widths) - 1) > room:
            widest = max((i for i in range(len(widths)) if widths[i] > least[i]), key=lambda i: widths[i])
            widths[widest] -= 1
    lines = [(line, True) for line in _folded(headers, widths)]
    return lines + [(line, False) for row in cells for line in _folded(row, widths)]


def _folded(row: Sequence[str], widths: Sequence[int]) -> list[str]:
    parts = [_wrap(cell, width) for cell, width in zip(row, widths, strict=True)]
    height = max(len(part) for part in parts)
    return [_line([part[k] if k < len(part) else "" for part in parts], widths) for k in range(height)]


def _paragraphs(headers: Sequence[str], cells: Sequence[Sequence[str]], room: int) -> list[tuple[str, bool]]:
    """Every row as its first cell and then one line ``head: value`` per filled cell."""
    lines: list[tuple[str, bool]] = []
    for row in cells:
        lines.append((row[0], True))
        for head, cell in zip(headers[1:], row[1:], strict=True):
            if cell:
                lines += [(f"  {line}", False) for line in _wrap(f"{head}: {cell}", max(room - 2, 20))]
    return lines


def _wrap(text: str, width: int) -> list[str]:
    return textwrap.wrap(text, width, break_long_words=False, break_on_hyphens=False) or [""]


def print_missing(missing: Sequence[MissingPredictor]) -> None:
    """Predictors that are not there, each with the commands that make it."""
    for one in missing:
        typer.secho(f"PROBLEM  {one.sentence}; these commands make it:", fg="red")
        for command in one.commands:
            typer.echo(f"           {command}")


def _line(row: Sequence[str], widths: Sequence[int]) -> str:
    return (" " * _GAP).join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip()
