"""Choosing the display that fits the output stream."""

from __future__ import annotations

import sys
from typing import TextIO

from harness.display.base import Display
from harness.display.lines import LineDisplay


def make_display(stream: TextIO | None = None) -> Display:
    """Bars if ``stream`` (default: stderr) is a terminal that can draw them, lines otherwise."""
    stream = stream or sys.stderr
    if stream.isatty():
        from rich.console import Console

        console = Console(file=stream)  # respects NO_COLOR
        if not console.is_dumb_terminal:
            from harness.display.bars import BarDisplay

            return BarDisplay(console)
    return LineDisplay(stream)
