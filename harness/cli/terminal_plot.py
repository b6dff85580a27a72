"""Lines in a terminal: a canvas of braille dots (2 x 4 a character) or, where the encoding has none, of letters."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise

from rich.text import Text

#: Bit of each dot of a braille character, by row and column.
_DOTS = ((0x01, 0x08), (0x02, 0x10), (0x04, 0x20), (0x40, 0x80))

#: Colours of strategies in order, the baseline first; told apart with common colour blindness on dark and light grounds.
COLOURS = ("default", "bright_blue", "yellow", "green", "magenta", "cyan", "red", "bright_black")
LETTERS = "ox+*#@%&"


class Canvas:
    """``width`` x ``height`` characters that show the part of the plane between (0, low) and (right, high)."""

    def __init__(self, width: int, height: int, right: float, low: float, high: float, *, braille: bool = True) -> None:
        self.width, self.height, self._braille = max(width, 8), max(height, 3), braille
        self._right, self._low, self._high = right or 1.0, low, high if high > low else low + 1.0
        self._across, self._down = (2, 4) if braille else (1, 1)
        self._bits = [[0] * self.width for _ in range(self.height)]
        self._styles = [[""] * self.width for _ in range(self.height)]

    def line(self, points: Sequence[tuple[float, float]], colour: int) -> None:
        """Straight lines through ``points``, in the colour (and the letter) of a strategy."""
        cells = [self._cell(x, y) for x, y in points]
        for (x0, y0), (x1, y1) in pairwise(cells):
            steps = max(abs(x1 - x0), abs(y1 - y0), 1)
            for k in range(steps + 1):
                self._dot(x0 + round((x1 - x0) * k / steps), y0 + round((y1 - y0) * k / steps), colour)
        if len(cells) == 1:
            self._dot(*cells[0], colour)

    def dashes(self, y: float) -> None:
        """A dashed line across at a height, under everything that is drawn later."""
        row = self._cell(0.0, y)[1]
        for column in range(self.width * self._across):
            if column // self._across % 2 == 0:
                self._dot(column, row, None)

    def _cell(self, x: float, y: float) -> tuple[int, int]:
        across, down = self.width * self._across - 1, self.height * self._down - 1
        share = (y - self._low) / (self._high - self._low)
        return min(max(round(x / self._right * across), 0), across), min(max(round((1 - share) * down), 0), down)

    def _dot(self, x: int, y: int, colour: int | None) -> None:
        column, row = x // self._across, y // self._down
        style = "dim" if colour is None else COLOURS[colour % len(COLOURS)]
        if self._braille:
            fresh = colour is not None and self._styles[row][column] == "dim"
            self._bits[row][column] = (0 if fresh else self._bits[row][column]) | _DOTS[y % 4][x % 2]
        else:
            self._bits[row][column] = ord("-" if colour is None else LETTERS[colour % len(LETTERS)])
        self._styles[row][column] = style

    def rows(self) -> list[Text]:
        """The canvas, line by line."""
        found = []
        for bits, styles in zip(self._bits, self._styles, strict=True):
            text = Text()
            for value, style in zip(bits, styles, strict=True):
                text.append(" " if not value else chr(0x2800 + value) if self._braille else chr(value), style)
            found.append(text)
        return found


def axes(canvas: Canvas, low: str, high: str, right: str, label: str) -> list[Text]:
    """The canvas with its frame: heights at the left, what lies across below."""
    margin = max(len(low), len(high)) + 1
    rows = canvas.rows()
    lines = []
    for index, row in enumerate(rows):
        name = high if index == 0 else low if index == len(rows) - 1 else ""
        lines.append(Text(f"{name:>{margin - 1}} ", "dim").append("|" if not canvas._braille else "│", "dim").append_text(row))
    corner = "+" if not canvas._braille else "└"
    lines.append(Text(" " * margin + corner + ("-" if not canvas._braille else "─") * canvas.width, "dim"))
    middle = f"{label:^{max(canvas.width - len(right) - 1, 1)}}"
    lines.append(Text(" " * (margin + 1) + ("0" + middle[1:] if middle[:1] == " " else middle) + right, "dim"))
    return lines
