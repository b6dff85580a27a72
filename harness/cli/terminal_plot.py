"""Accuracy curves in a terminal, drawn by plotext: braille dots, or letters where the encoding has no braille."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from rich.text import Text

#: Colours of strategies in order, the baseline first, as rich calls them; distinguishable under common colour blindness.
COLOURS = ("default", "bright_blue", "yellow", "green", "magenta", "cyan", "red", "bright_black")
#: The same colours as plotext calls them.
_PLOTEXT_COLOURS = ("default", "blue+", "orange", "green", "magenta", "cyan", "red", "gray")
LETTERS = "ox+*#@%&"
_ASCII_FRAME = str.maketrans("│┤├└┘┌┐┬┴┼─", "|++++++++|-")

Points = Sequence[tuple[float, float]]


@dataclass(frozen=True, slots=True)
class Axes:
    """The part of the plane that is shown, from (0, low) to (right, high), and what its ends are called."""

    right: float
    low: float
    high: float
    right_label: str
    low_label: str
    high_label: str
    across: str


def plot(lines: Sequence[tuple[int, Points]], axes: Axes, width: int, height: int, *, target: float | None, braille: bool) -> Text:
    """A picture of ``width`` x ``height`` characters, frame included.

    lines: (number of the strategy, its (cost, accuracy) points), those drawn last on top. target: height of a line across, or None.
    """
    import plotext

    plotext.clear_figure()
    plotext.theme("clear")
    plotext.plot_size(width, height)
    plotext.xlim(0, axes.right)
    plotext.ylim(axes.low, axes.high)
    plotext.xticks([0, axes.right], ["0", axes.right_label])
    plotext.yticks([axes.low, axes.high], [axes.low_label, axes.high_label])
    plotext.xlabel(axes.across)
    plotext.xaxes(True, False)
    plotext.yaxes(True, False)
    if target is not None:
        plotext.plot([0, axes.right], [target, target], marker="-", color="gray")
    for number, points in lines:
        marker = "braille" if braille else LETTERS[number % len(LETTERS)]
        colour = _PLOTEXT_COLOURS[number % len(_PLOTEXT_COLOURS)]
        plotext.plot([x for x, _ in points], [y for _, y in points], marker=marker, color=colour)
    picture: str = plotext.build()
    return Text.from_ansi(picture if braille else picture.translate(_ASCII_FRAME))
