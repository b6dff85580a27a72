"""How far each combination is, and when it will be done."""

from __future__ import annotations

from pathlib import Path

import pytest
from toy_place import SUITE

from harness.display.tally import Tally
from harness.records.ledger_records import Attempt
from harness.records.run_folder import RunStatus
from harness.spec import RunSpec
from harness.suite.reader import load_suite
from harness.suite.suite import plan
from tests.edits import edited
from tests.made_records import evaluation, step

TWO = (
    edited(SUITE, {"max_steps = 8": "max_steps = 10", "seeds = [1]": "seeds = [1, 2]"})
    + '\n[[combinations]]\nname = "later"\nbackend = "toy_engine:ToyBackend"\nmodel = "softmax"\n'
    + 'task = { name = "toy_engine:ToyTask", actions = 3 }\n'
)


class Clock:
    now = 100.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


def make(folder: Path, clock: Clock, parallel: int) -> tuple[Tally, dict[str, RunSpec]]:
    (folder / "s.toml").write_text(TWO)
    runs = plan(load_suite(folder / "s.toml"))
    tally = Tally(runs, {run.run_id: RunStatus("pending") for run in runs}, parallel, now=clock)
    return tally, {run.title: run for run in runs}


def test_times_left_by_hand(tmp_path: Path, clock: Clock) -> None:
    """Two at a time, 10 steps a run: paces are those of the arm where it is known, else of the combination, else unknown."""
    tally, runs = make(tmp_path, clock, 2)
    assert tally.combinations == ["bandit", "later"]
    assert tally.words("bandit") == "bandit: 0 of 4 runs done"
    first, second = runs["bandit/grpo/1"].run_id, runs["bandit/grpo/2"].run_id
    for run in (first, second):
        tally.started(run, 0)
        tally.recorded(run, Attempt(1, {}, 0))
        tally.recorded(run, evaluation(0))
    assert tally.seconds_left("bandit") is None
    clock.now += 20
    tally.recorded(first, step(4))
    tally.recorded(second, step(6))
    # grpo: 40 s for 10 steps. Left: 6 + 4 steps, and 20 of the other arm at the combination's pace; two at a time.
    assert tally.seconds_left("bandit") == pytest.approx((10 + 20) * 4 / 2)
    assert tally.steps("bandit") == (10, 40)
    assert tally.seconds_left("later") is None
    clock.now += 20
    tally.recorded(first, step(10))
    tally.ended(first, "complete")
    tally.recorded(second, step(10))
    tally.ended(second, "complete")
    assert tally.counts("bandit") == (2, 4)
    fast = runs["bandit/grpo-fast/1"].run_id
    tally.started(fast, 0)
    clock.now += 50
    tally.recorded(fast, step(5))  # 10 s a step: 5 here, 10 of the other seed
    assert tally.seconds_left("bandit") == pytest.approx(max(15 * 10 / 2, 10 * 10))
    assert tally.words("bandit") == "bandit: 2 of 4 runs done, about 2 min left"
    tally.ended(fast, "failed")
    tally.ended(runs["bandit/grpo-fast/2"].run_id, "complete")
    assert tally.seconds_left("bandit") == 0
    assert tally.words("bandit") == "bandit: 3 of 4 runs done"


def test_a_later_combination_waits_for_the_earlier(tmp_path: Path, clock: Clock) -> None:
    """What runs before counts too."""
    tally, runs = make(tmp_path, clock, 1)
    for title in ("bandit/grpo/1", "later/grpo/1"):
        tally.started(runs[title].run_id, 0)
        clock.now += 10
        tally.recorded(runs[title].run_id, step(5))
    assert tally.seconds_left("bandit") == pytest.approx(35 * 2)
    assert tally.seconds_left("later") == pytest.approx(35 * 2 + 35 * 2)


def test_going_on_is_not_counted_as_fast(tmp_path: Path, clock: Clock) -> None:
    """Steps that an earlier command did are no pace of this one; a restart from an earlier checkpoint does them again."""
    tally, runs = make(tmp_path, clock, 1)
    run = runs["bandit/grpo/1"].run_id
    tally.started(run, 8)
    tally.recorded(run, Attempt(1, {}, 6))
    clock.now += 4
    tally.recorded(run, step(8))  # 2 steps in 4 s
    assert tally.seconds_left("bandit") == pytest.approx((2 + 30) * 2)
