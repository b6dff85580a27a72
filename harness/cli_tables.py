"""Plain tables for the terminal, and the rows of ``halfway strategies``."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import typer


def print_table(headers: Sequence[str], rows: Sequence[Sequence[Any]]) -> None:
    """Aligned columns; nothing is cut off, so that the output can also be searched."""
    cells = [[str(cell) for cell in row] for row in rows]
    widths = [max(len(row[i]) for row in [list(headers), *cells]) for i in range(len(headers))]
    typer.secho(_line(headers, widths), bold=True)
    for row in cells:
        typer.echo(_line(row, widths))


def _line(row: Sequence[str], widths: Sequence[int]) -> str:
    return "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip()


def strategy_rows(plugins: Sequence[str]) -> list[dict[str, Any]]:
    """Every known strategy: name, origin, summary, requirements, settings with defaults."""
    from harness.registry import strategy_entry, strategy_references

    rows = []
    for name in strategy_references(plugins):
        entry = strategy_entry(name, plugins)
        defaults = entry.resolve_config({})
        rows.append({
            "name": name, "origin": entry.origin, "summary": entry.composition.summary, "source": entry.composition.source,
            "requires": sorted(entry.requires), "uncharged_oracle": entry.uncharged_oracle,
            "settings": {key: {"default": defaults[key], "description": text} for key, (_, text) in entry.fields.items()},
        })  # fmt: skip
    return rows


def print_strategies(rows: Sequence[dict[str, Any]]) -> None:
    """The rows of ``strategy_rows`` for a person."""
    for row in rows:
        typer.secho(row["name"], bold=True, nl=False)
        typer.echo(f" ({row['origin']}): {row['summary']}")
        if row["source"]:
            typer.echo(f"  source    {row['source']}")
        if row["requires"]:
            free = " (not charged: an upper bound)" if row["uncharged_oracle"] else ""
            typer.echo(f"  requires  {', '.join(row['requires'])}{free}")
        for key, setting in row["settings"].items():
            typer.echo(f"  {key} = {setting['default']}{'  ' + setting['description'] if setting['description'] else ''}")
