"""What a person sees: bars on a terminal, lines elsewhere."""

from __future__ import annotations

import io
from pathlib import Path

from rich.console import Console
from toy_place import ToyPlace, new_run

from harness.display.bars import BarDisplay
from harness.display.choose import make_display
from harness.display.lines import LineDisplay
from harness.records.ledger_records import Attempt, Checkpoint, Warned
from harness.records.run_folder import RunPaths, RunStatus, check_spec
from harness.runner.suite_runner import run_suite
from harness.spec import RunSpec
from harness.suite.reader import load_suite
from harness.suite.suite import plan
from tests.made_records import evaluation, step


def tell(display: LineDisplay | BarDisplay, folder: Path) -> None:
    """A short story of one run."""
    run = check_spec(RunPaths(new_run(folder)))
    display.begin([run], {run.run_id: RunStatus("pending")}, 1)
    for done in (1, 2):
        display.preparing("bandit", "building [the] model", done, 2)
    display.prepared("bandit")
    display.started(run, 0)
    display.recorded(run, Attempt(2, {}, 3))
    display.recorded(run, step(4))
    display.recorded(run, evaluation(4, 0.25))
    display.recorded(run, Warned("the pool is [small]"))
    display.working(run, "evaluating", 3, 9)
    if isinstance(display, BarDisplay):
        display.refresh()
    display.recorded(run, Checkpoint(6))
    if isinstance(display, BarDisplay):
        display.refresh()
    display.ended(run, RunStatus("complete", 8, 0.5, 12.34))
    display.note("the [end]")
    display.close()


def test_lines(tmp_path: Path) -> None:
    """One line per event, nothing per step, brackets left alone, no escape codes."""
    stream = io.StringIO()
    display = make_display(stream)
    assert isinstance(display, LineDisplay)
    tell(display, tmp_path)
    words = [line.partition("] ")[2] for line in stream.getvalue().splitlines()]
    assert words == [
        "toy: 1 runs, 0 already done",
        "preparing bandit: building [the] model 1/2",
        "bandit/grpo/1: started",
        "bandit/grpo/1: going on from step 3",
        "bandit/grpo/1: step 4/8, accuracy 0.250",
        "bandit/grpo/1: warning: the pool is [small]",
        "bandit/grpo/1: complete: 8 steps, accuracy 0.500, 12.3 s of training",
        "bandit: 1 of 1 runs done",
        "the [end]",
    ]


def test_nothing_is_silent_for_longer_than_ten_seconds(tmp_path: Path) -> None:
    """A line 10 s after the last one, with what is under way and for how long; none while others are written; none after the end."""
    stream, now = io.StringIO(), [100.0]
    display = LineDisplay(stream, now=lambda: now[0])
    run = check_spec(RunPaths(new_run(tmp_path)))

    def at(second: float) -> list[str]:
        now[0] = 100.0 + second
        before = len(stream.getvalue())
        display.tick()
        return [line.partition("] ")[2] for line in stream.getvalue()[before:].splitlines()]

    display.begin([run], {run.run_id: RunStatus("pending")}, 1)
    assert at(60) == []  # nothing is under way
    display.preparing("bandit", "building", 1, 2)
    assert at(75) == ["preparing bandit: building 1/2 (15 s)"]
    display.prepared("bandit")
    display.started(run, 0)
    assert at(84) == []
    display.working(run, "loading model and questions", 0, 0)
    assert at(86) == ["bandit/grpo/1: loading model and questions (2 s)"]
    display.working(run, "evaluating", 120, 512)
    assert at(95) == []
    assert at(97) == ["bandit/grpo/1: evaluating 120/512 (11 s)"]
    display.working(run, "evaluating", 300, 512)
    assert at(107) == ["bandit/grpo/1: evaluating 300/512 (21 s)"]
    display.recorded(run, step(4))
    assert at(118) == ["bandit/grpo/1: after step 4/8 (11 s)"]
    display.ended(run, RunStatus("complete", 8, 0.5, 12.34))
    assert at(200) == []


def test_a_worker_says_that_it_loads(place: ToyPlace) -> None:
    """From a worker's process through its run's folder to the display, before its first record and after."""
    said: list[str] = []

    class Listening(LineDisplay):
        def working(self, run: RunSpec, what: str, done: int, total: int) -> None:
            said.append(what)

    runs = plan(load_suite(place.suite))[:1]
    with place._here({}):
        run_suite(runs, Path("runs"), Listening(io.StringIO()))
    assert said[-1] == "loading model and questions"


def test_many_runs_under_way_fit_one_line(tmp_path: Path) -> None:
    """Four are named, the others counted."""
    stream, now = io.StringIO(), [0.0]
    display = LineDisplay(stream, now=lambda: now[0])
    run = check_spec(RunPaths(new_run(tmp_path)))
    for seed in range(1, 8):
        display.started(run.model_copy(update={"seed": seed}), 0)
    now[0] = 10.0
    display.tick()
    assert stream.getvalue().splitlines()[-1].endswith("bandit/grpo/4: starting (10 s); and 3 more")


def test_bars(tmp_path: Path) -> None:
    """A bar per run with step and accuracy, an overall bar, and lines that stay."""
    stream = io.StringIO()
    tell(BarDisplay(Console(file=stream, force_terminal=True, width=120, color_system=None)), tmp_path)
    shown = stream.getvalue()
    for words in (
        "bandit/grpo/1",
        "6/8",
        "accuracy 0.250",
        "evaluating 3/9",
        "bandit: 0 of 1 done",
        "bandit/grpo/1: complete: 8 steps, accuracy 0.500, 12.3 s of training",
        "warning: the pool is [small]",
        "the [end]",
    ):
        assert words in shown, words
