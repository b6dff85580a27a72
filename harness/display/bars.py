"""Bars for a terminal: one per active run, one per combination with the time it still takes."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from rich.console import Console
from rich.markup import escape
from rich.progress import BarColumn, Progress, ProgressColumn, Task, TaskID, TextColumn, TimeRemainingColumn
from rich.text import Text

from harness.display.base import activity_words, end_words
from harness.display.durations import duration
from harness.display.tally import Tally
from harness.records.ledger_records import Record, Warned, step_of
from harness.records.run_folder import RunStatus
from harness.spec import RunSpec
from harness.types import EvalPoint

_STYLES = {"complete": "green", "exhausted": "green", "failed": "red"}


class _Rate(ProgressColumn):
    """Steps per second, or seconds per step where that reads better."""

    def render(self, task: Task) -> Text:
        speed = task.finished_speed or task.speed
        if not speed:
            return Text("")
        return Text(f"{speed:.1f} steps/s" if speed >= 1 else f"{1 / speed:.1f} s/step", style="dim")


class _Left(ProgressColumn):
    """Time left: of a combination as its tally gives it, of a run by its own speed."""

    def __init__(self) -> None:
        super().__init__()
        self._own = TimeRemainingColumn(compact=True)

    def render(self, task: Task) -> Text:
        if "left" not in task.fields:
            return self._own.render(task)
        seconds = task.fields["left"]
        return Text("" if seconds is None else f"{duration(seconds)} left", style="progress.remaining")


class BarDisplay:
    """Label, bar, step k/n, last accuracy, rate and time left per active run; below, a bar per combination that counts steps."""

    def __init__(self, console: Console) -> None:
        self._progress = Progress(
            TextColumn("{task.description}"),
            BarColumn(bar_width=24),
            TextColumn("{task.completed:.0f}/{task.total:.0f}"),
            TextColumn("{task.fields[accuracy]}"),
            _Rate(),
            _Left(),
            console=console,
            transient=True,
            refresh_per_second=2,  # drawing takes processor time away from the runs that are being timed
            speed_estimate_period=120,
        )
        self._console = console
        self._tasks: dict[str, TaskID] = {}
        self._combinations: dict[str, TaskID] = {}
        self._accuracy: dict[str, str] = {}  # run id -> last accuracy, shown again when a record ends an activity
        self._tally: Tally | None = None

    def begin(self, runs: Sequence[RunSpec], statuses: Mapping[str, RunStatus], parallel: int) -> None:
        """Show the bars of the combinations."""
        self._tally = Tally(runs, statuses, parallel)
        for name in self._tally.combinations:
            self._combinations[name] = self._progress.add_task(escape(name), total=None, accuracy="", left=None)
            self._count(name)
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
        if self._tally:
            self._tally.started(run.run_id, step)
        self._progress.update(self._task(run.run_id, run.title, run.algorithm.max_steps), completed=step)

    def working(self, run: RunSpec, what: str, done: int, total: int) -> None:
        """Show it beside the bar of the run until the next record."""
        task = self._task(run.run_id, run.title, run.algorithm.max_steps)
        self._progress.update(task, accuracy=escape(activity_words(what, done, total)))

    def tick(self) -> None:
        """Nothing: the bars move by themselves."""

    def recorded(self, run: RunSpec, record: Record) -> None:
        """Move it."""
        task = self._task(run.run_id, run.title, run.algorithm.max_steps)
        step = step_of(record)
        if step is not None:
            self._progress.update(task, completed=step)
        if self._tally:
            self._tally.recorded(run.run_id, record)
            self._count(run.combination.name)
        if isinstance(record, EvalPoint):
            self._accuracy[run.run_id] = f"accuracy {record.accuracy:.3f}"
        self._progress.update(task, accuracy=self._accuracy.get(run.run_id, ""))
        if isinstance(record, Warned):
            self.note(f"{run.title}: warning: {record.message}")

    def ended(self, run: RunSpec, status: RunStatus) -> None:
        """Replace it by a line."""
        self._remove(run.run_id)
        if self._tally:
            self._tally.ended(run.run_id, status.state)
            for name in self._combinations:
                self._count(name)
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

    def _count(self, combination: str) -> None:
        assert self._tally is not None
        done, count = self._tally.counts(combination)
        steps, total = self._tally.steps(combination)
        self._progress.update(
            self._combinations[combination],
            description=f"{escape(combination)}: {done} of {count} done",
            completed=steps,
            total=total,
            left=self._tally.seconds_left(combination),
        )

    def _task(self, key: str, title: str, total: int) -> TaskID:
        if key not in self._tasks:
            self._tasks[key] = self._progress.add_task(escape(title), total=total, accuracy="")
        return self._tasks[key]

    def _remove(self, key: str) -> None:
        if key in self._tasks:
            self._progress.remove_task(self._tasks.pop(key))
