"""How long work reports that it moves on."""

from __future__ import annotations

from collections.abc import Callable

#: ``counter(done, total)`` of one thing under way.
Counter = Callable[[int, int], None]
#: ``progress(what, done, total)`` where several things follow one another.
Progress = Callable[[str, int, int], None]
