"""Bars for a terminal: one per active run, one for everything."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from rich.console import Console
from rich.markup import escape
from rich.progress import BarColumn, Progress, ProgressColumn, Task, TaskID, TextColumn, TimeRemainingColumn
from rich.text import Text

from harness.progress import end_words
from harness.runs import DONE, RunStatus
from harness.spec import RunSpec

_STYLES = {"complete": "green", "exhausted": "green", "failed": "red"}


class _Rate(ProgressColumn):
    """Steps per second, or seconds per step where that reads better."""

    def render(self, task: Task) -> Text:
        speed = task.finished_speed or task.speed
        if not speed:
            return Text("")
        return Text(f"{speed:.1f} steps/s" if speed >= 1 else f"{1 / speed:.1f} s/step", style="dim")


class BarDisplay:
    """Label, bar, step k/n, last accuracy, rate and ETA per run; the overall bar counts steps of all runs."""

    def __init__(self, console: Console) -> None:
        self._progress = Progress(
            TextColumn("{task.description}"),
            BarColumn(bar_width=24),
            TextColumn("{task.completed:.0f}/{task.total:.0f}"),
            TextColumn("{task.fields[accuracy]}"),
            _Rate(),
            TimeRemainingColumn(compact=True),
            console=console,
            transient=True,
            refresh_per_second=2,  # drawing takes processor time away from the runs that are being timed
            speed_estimate_period=120,
        )
        self._console = console
        self._tasks: dict[str, TaskID] = {}
        self._steps: dict[str, int] = {}
        self._overall: TaskID | None = None
        self._done, self._count = 0, 0

    def begin(self, runs: Sequence[RunSpec], statuses: Mapping[str, RunStatus]) -> None:
        """Show the overall bar."""
        self._count = len(runs)
        for run in runs:
            status = statuses[run.run_id]
            finished = status.state in DONE
            self._done += finished
            self._steps[run.run_id] = run.algorithm.max_steps if finished else status.step
        total = sum(run.algorithm.max_steps for run in runs)
        self._overall = self._progress.add_task("", total=total, accuracy="")
        self._advance()
        self._progress.start()

    def preparing(self, combination: str, what: str, done: int, total: int) -> None:
        """Show or move the bar of a preparation."""
        task = self._task(f"prepare {combination}", f"preparing {combination}", max(total, 1))
        self._progress.update(task, completed=done, total=max(total, 1), accuracy=escape(what))

    def prepared(self, combination: str) -> None:
        """Remove it."""
        self._remove(f"prepare {combination}")

    def started(self, run: RunSpec, step: int) -> None:
        """Show the bar of a run."""
        self._progress.update(self._task(run.run_id, run.title, run.algorithm.max_steps), completed=step)

    def recorded(self, run: RunSpec, record: Mapping[str, Any]) -> None:
        """Move it."""
        task = self._task(run.run_id, run.title, run.algorithm.max_steps)
        kind = record.get("type")
        step = record.get("resumed_from" if kind == "attempt" else "step")
        if step is not None:
            self._steps[run.run_id] = int(step)
            self._progress.update(task, completed=int(step))
            self._advance()
        if kind == "evaluation":
            self._progress.update(task, accuracy=f"accuracy {record['accuracy']:.3f}")
        if kind == "warning":
            self.note(f"{run.title}: warning: {record['message']}")

    def ended(self, run: RunSpec, status: RunStatus) -> None:
        """Replace it by a line."""
        self._remove(run.run_id)
        if status.state in DONE:
            self._done += 1
            self._steps[run.run_id] = run.algorithm.max_steps
        self._advance()
        self._console.print(f"{run.title}: {end_words(status)}", style=_STYLES.get(status.state), markup=False, highlight=False)

    def note(self, words: str) -> None:
        """A line above the bars."""
        self._console.print(words, markup=False, highlight=False)

    def refresh(self) -> None:
        """Draw now."""
        self._progress.refresh()

    def close(self) -> None:
        """Remove what is left."""
        self._progress.stop()

    def _advance(self) -> None:
        if self._overall is not None:
            words = f"all runs: {self._done} of {self._count} done"
            self._progress.update(self._overall, completed=sum(self._steps.values()), description=words)

    def _task(self, key: str, title: str, total: int) -> TaskID:
        if key not in self._tasks:
            self._tasks[key] = self._progress.add_task(escape(title), total=total, accuracy="")
        return self._tasks[key]

    def _remove(self, key: str) -> None:
        if key in self._tasks:
            self._progress.remove_task(self._tasks.pop(key))
