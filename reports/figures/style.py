"""One matplotlib style for every figure, and SVG that takes its colours from the page (light, dark, paper).

Figures are made without pyplot, so that no global state is touched and nothing stays open. Inline SVG keeps text as
text: it can be selected, found and read aloud. Fixed colours are replaced by CSS variables of the page.
"""

from __future__ import annotations

import io
import math
import re
import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Literal

import matplotlib
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter

INK, GRID = "#1c2126", "#d5dade"

#: Okabe and Ito's palette, told apart with every common colour blindness; the first is the baseline's.
PALETTE = ("#5f6b76", "#0072b2", "#d55e00", "#009e73", "#cc79a7", "#e69f00", "#56b4e9", "#8c5a2b")
DASHES = ("-", "--", "-.", ":")
MARKERS = ("o", "s", "^", "D", "v", "P", "X", "*")

#: Sequential classes of pass rates: degenerate ends in grey, in between from hard (dark) to easy (light).
PASS_RATE_COLOURS = ("#4d5660", "#08519c", "#3182bd", "#6baed6", "#bdd7e7", "#a9b2ba")

#: Ages of replayed groups, from new (light) to old (dark).
AGE_COLOURS = ("#cfe8b9", "#9fd5b5", "#63c3bd", "#35a3c1", "#2878b5", "#274ba0", "#1b2a6b")

#: Importance ratios: orange below 1, violet above, grey near it.
RATIO_COLOURS = ("#b35806", "#e08214", "#fdc581", "#b4bbc2", "#c3b5dd", "#8d79bd", "#542788")

#: Phases of a step, in order.
PHASE_COLOURS = ("#e69f00", "#cc79a7", "#0072b2", "#f0e442", "#56b4e9", "#009e73", "#8c959d")

#: Points of the smallest text in a figure, and how small it may become on a narrow screen, in CSS pixels.
SMALL, LEAST_TEXT = 9.0, 9.5

STYLE: Any = {
    "font.family": "sans-serif",
    "font.sans-serif": ["DejaVu Sans"],
    "font.size": 9.6,
    "text.parse_math": False,
    "axes.formatter.use_mathtext": False,
    "axes.edgecolor": INK,
    "axes.labelcolor": INK,
    "axes.linewidth": 0.7,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.grid": True,
    "axes.axisbelow": True,
    "grid.color": GRID,
    "grid.linewidth": 0.6,
    "text.color": INK,
    "xtick.color": INK,
    "ytick.color": INK,
    "xtick.major.size": 3.0,
    "ytick.major.size": 0.0,
    "lines.solid_capstyle": "round",
    "legend.frameon": False,
    "legend.fontsize": 8.0,
    "figure.facecolor": "none",
    "axes.facecolor": "none",
    "savefig.facecolor": "none",
    "svg.fonttype": "none",
    "pdf.fonttype": 42,
    "path.simplify": True,
}

_VARIABLES = {INK: "currentColor", GRID: "var(--grid)"} | {c: f"var(--c{i})" for i, c in enumerate(PALETTE)}


def colour_of(index: int) -> str:
    """The colour of the strategy at this place, the baseline being first."""
    return PALETTE[index % len(PALETTE)]


def css_colour(colour: str) -> str:
    """The CSS colour that stands for a figure's colour on the page."""
    return _VARIABLES.get(colour, colour)


def dash_of(index: int) -> str:
    """Solid for the baseline and the first eight; beyond that the dash tells colours apart that repeat."""
    return DASHES[(index // len(PALETTE)) % len(DASHES)]


def new_figure(width: float, height: float, *, left: float = 0.7, top: float = 0.1) -> tuple[Figure, Axes]:
    """A figure of the given size in inches with one pair of axes; call inside ``styled()``.

    left, top: margins in inches. They are fixed, not fitted to the text: fitting draws everything twice.
    """
    figure = Figure(figsize=(width, height))
    right, bottom = 0.22, 0.5
    box = (left / width, bottom / height, 1 - (left + right) / width, 1 - (bottom + top) / height)
    return figure, figure.add_axes(box)


#: Strategies whose curves keep their seeds and bands, and whose legend stands inside the axes.
MOST_IN_FULL = 8
_LEGEND_ROW, _LEGEND_COLUMN = 0.16, 1.35  # inches


def add_legend(axes: Axes, loc: Literal["lower right", "upper left"] = "lower right", *, backwards: bool = False) -> None:
    """The legend of a figure that stands alone: inside the axes, or beside them where it has too many rows to hide nothing."""
    handles, labels = axes.get_legend_handles_labels()
    if backwards:
        handles, labels = handles[::-1], labels[::-1]
    if len(labels) <= MOST_IN_FULL:
        axes.legend(handles, labels, loc=loc)
        return
    figure = axes.get_figure(root=True)
    assert figure is not None
    width, height = figure.get_size_inches()
    columns = math.ceil(len(labels) * _LEGEND_ROW / (height - 0.3))
    wider = width + columns * _LEGEND_COLUMN
    for each in figure.axes:
        box = each.get_position()
        each.set_position((box.x0 * width / wider, box.y0, box.width * width / wider, box.height))
    figure.set_size_inches(wider, height)
    figure.legend(
        handles=handles, labels=labels, loc="center left", bbox_to_anchor=(width / wider, 0.5), ncols=columns, fontsize=7, borderaxespad=0
    )


def label_margin(labels: Sequence[str]) -> float:
    """Room in inches for row labels at the left: wide characters count twice."""
    widest = max((sum(2 if ord(c) > 0x2E80 else 1 for c in label) for label in labels), default=0)
    return 0.2 + 0.082 * widest


def percent_ticks() -> FuncFormatter:
    """Tick labels of shares as per cent, with as many decimals as the ticks have: ``12.5 %``, never rounded to another tick."""
    return FuncFormatter(lambda share, _: f"{round(100 * share, 6):g} %")


def styled() -> Any:
    """Context in which figures are made and saved."""
    return matplotlib.rc_context(STYLE)


def inline_svg(figure: Figure, name: str, title: str, description: str) -> str:
    """SVG for the page: no header, no dates, ids of its own, colours from CSS, title and description read aloud."""
    buffer = io.StringIO()
    with matplotlib.rc_context({**STYLE, "svg.hashsalt": name}), warnings.catch_warnings():
        warnings.simplefilter("ignore")  # glyphs that the font lacks: the browser has its own
        figure.savefig(buffer, format="svg", metadata={"Date": None, "Creator": None, "Format": None, "Type": None})
    text = buffer.getvalue()
    text = text[text.index("<svg") :]
    text = re.sub(r"<metadata>.*?</metadata>", "", text, flags=re.DOTALL)
    text = re.sub(r"<!--.*?-->\s*", "", text, flags=re.DOTALL)
    text = re.sub(r'(\sid="|url\(#|href="#)', rf"\g<1>{name}-", text)
    for colour, variable in _VARIABLES.items():
        text = text.replace(f": {colour}", f": {variable}")
    head = (
        f'<svg role="img" aria-labelledby="{name}-title {name}-desc" '
        f'viewBox="{_attribute(text, "viewBox")}" style="--least: {_least_width(text)}px" xmlns:xlink="http://www.w3.org/1999/xlink">'
        f'<title id="{name}-title">{_escape(title)}</title><desc id="{name}-desc">{_escape(description)}</desc>'
    )
    return head + text[text.index(">") + 1 :].strip()


def _least_width(svg: str) -> int:
    """Width in CSS pixels at which the smallest text of a figure (``SMALL`` points) is still LEAST_TEXT pixels high."""
    return round(float(_attribute(svg, "viewBox").split()[2]) * LEAST_TEXT / SMALL)


def _attribute(svg: str, name: str) -> str:
    found = re.search(rf'{name}="([^"]*)"', svg)
    return found.group(1) if found else "0 0 100 100"


def _escape(text: str) -> str:
    return text.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;").replace('"', "&quot;")


def export(figure: Figure, stem: Path) -> list[Path]:
    """``stem`` + .svg, .pdf and .png (300 dpi), on white, with no dates in them."""
    no_dates: dict[str, dict[str, Any]] = {
        "svg": {"Date": None, "Creator": None},
        "pdf": {"CreationDate": None, "Creator": None, "Producer": None},
        "png": {"Software": None},
    }
    written = []
    with matplotlib.rc_context({**STYLE, "svg.hashsalt": stem.name}), warnings.catch_warnings():
        warnings.simplefilter("ignore")
        for kind, metadata in no_dates.items():
            path = stem.with_name(f"{stem.name}.{kind}")
            figure.savefig(path, format=kind, metadata=metadata, dpi=300, facecolor="white")
            written.append(path)
    return written
