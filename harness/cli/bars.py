"""Progress of a command that is not a run: bars on a terminal, lines in a log."""

from __future__ import annotations

import sys
import time
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, TypeVar

import typer

if TYPE_CHECKING:
    from harness.data.checks import Progress


Item = TypeVar("Item")

#: Fewer things are done before anybody wonders.
SILENT_UP_TO = 100


@contextmanager
def progress_bar() -> Iterator[Progress]:
    """Bars with rate and time left on a terminal, a line every few seconds anywhere else; both on stderr."""
    if not sys.stderr.isatty():
        yield _Lines()
        return
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TaskProgressColumn, TextColumn, TimeRemainingColumn

    columns = (
        TextColumn("{task.description}"),
        BarColumn(bar_width=30),
        MofNCompleteColumn(),
        TaskProgressColumn(show_speed=True),
        TimeRemainingColumn(compact=True),
    )
    with Progress(*columns, console=Console(stderr=True), transient=True) as bars:
        shown: dict[str, Any] = {}

        def progress(what: str, done: int, total: int) -> None:
            if what not in shown:
                for task in shown.values():
                    bars.remove_task(task)
                shown.clear()
                shown[what] = bars.add_task(what, total=None)
            bars.update(shown[what], completed=done, total=total or None)

        yield progress


def counted(items: Iterable[Item], what: str, total: int) -> list[Item]:
    """The items as a list, with progress on standard error where there are more than ``SILENT_UP_TO``."""
    if total <= SILENT_UP_TO:
        return list(items)
    found = []
    with progress_bar() as progress:
        progress(what, 0, total)
        for item in items:
            found.append(item)
            progress(what, len(found), total)
    return found


class _Lines:
    """``progress`` for a log: what is at work when it changes, and every ten seconds with rate and time left."""

    def __init__(self) -> None:
        self._what, self._began, self._spoken, self._first = "", 0.0, 0.0, 0

    def __call__(self, what: str, done: int, total: int) -> None:
        now = time.monotonic()
        if what != self._what:
            self._what, self._began, self._spoken, self._first = what, now, now, done
            typer.echo(what, err=True)
        elif now - self._spoken >= 10.0 and done > self._first:
            rate = (done - self._first) / max(now - self._began, 1e-9)
            self._spoken = now
            typer.echo(f"{what}: {done}/{total}, {rate:.3g}/s, {(total - done) / rate:.0f} s left", err=True)


@contextmanager
def step_bars() -> Iterator[Progress]:
    """``progress(what, done, total)``: one bar per thing under way, on standard error."""
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, TextColumn, TimeRemainingColumn
    from rich.progress import Progress as Bars

    columns = (TextColumn("{task.description}"), BarColumn(bar_width=24), MofNCompleteColumn(), TimeRemainingColumn(compact=True))
    with Bars(*columns, console=Console(stderr=True), transient=True) as bars:
        tasks: dict[str, Any] = {}

        def progress(what: str, done: int, total: int) -> None:
            if what not in tasks:
                tasks[what] = bars.add_task(what, total=total)
            bars.update(tasks[what], completed=done, total=total)

        yield progress
