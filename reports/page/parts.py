"""The building blocks of the page: tables of cells, figures with captions and legends."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from matplotlib.figure import Figure

from reports.arms import Arm
from reports.figures.style import dash_of, export, inline_svg, styled


@dataclass(frozen=True, slots=True)
class Cell:
    """One table cell: text, what it sorts by, and an optional class or strategy swatch."""

    text: str
    sort: float | str | None = None
    kind: str = ""
    swatch: int | None = None


@dataclass(slots=True)
class Table:
    """A table of the page; ``heads`` are (text, numeric)."""

    caption: str
    heads: list[tuple[str, bool]]
    rows: list[list[Cell]]


@dataclass(slots=True)
class Picture:
    """A figure with its caption and legend entries (text, css class, swatch colour or index). rows: of the page's grid it spans."""

    name: str
    svg: str
    caption: str
    legend: list[tuple[str, str]] = field(default_factory=list)
    wide: bool = False
    rows: int = 1


@dataclass(slots=True)
class Section:
    """A part of the page of its own: ``name`` is its anchor; notes first, then pictures, then tables."""

    name: str
    title: str
    notes: list[str] = field(default_factory=list)
    pictures: list[Picture] = field(default_factory=list)
    tables: list[Table] = field(default_factory=list)


@dataclass(slots=True)
class Drawer:
    """Draws figures for the page and, into ``folder``, files of them. ``prefix`` keeps names and ids apart, ``mark`` is put on each."""

    prefix: str
    folder: Path | None = None
    mark: str = ""

    def draw(self, name: str, title: str, description: str, caption: str, make: Callable[[bool], Figure]) -> Picture:
        """``make(legend)`` returns the figure; on the page its legend is text, in a file it is drawn."""
        name = f"{self.prefix}-{name}"
        with styled():
            svg = inline_svg(self._marked(make(False)), name, title, description)
            if self.folder is not None:
                export(self._marked(make(True)), self.folder / name)
        return Picture(name, svg, caption)

    def _marked(self, figure: Figure) -> Figure:
        if self.mark:
            figure.text(0.99, 0.99, self.mark, ha="right", va="top", fontsize=9, style="italic")
        return figure


def strategy_legend(arms: Sequence[Arm], order: Sequence[str]) -> list[tuple[str, str]]:
    """Legend entries of strategies: label and CSS classes of colour and dash."""
    return [
        (
            a.strategy,
            f"s{order.index(a.strategy) % 8} d{('-', '--', '-.', ':').index(dash_of(order.index(a.strategy)))}",
        )
        for a in arms
    ]
