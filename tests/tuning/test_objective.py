"""The objective: time to target with a finite slope for misses, and pruning that cannot drop a winner."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from harness.stats import Crossing, Curve
from harness.tuning.objective import Score, Yardstick, cannot_win, level, mean_value, score

YARD = Yardstick(accuracy=0.5, start=0.1, budget=100.0, cost="token_cost", crossing="sustained")
FIRST = Yardstick(accuracy=0.5, start=0.1, budget=100.0, cost="token_cost", crossing="first")


def curve(accuracy: list[float], step: float = 20.0) -> Curve:
    return Curve("c", "s", 1, np.array(accuracy), {"token_cost": step * np.arange(len(accuracy))})


def test_a_reached_target_costs_its_interpolated_crossing() -> None:
    """0.3 at 20 and 0.7 at 40 cross 0.5 at 30 of a budget of 100."""
    assert score(curve([0.1, 0.3, 0.7, 0.7]), YARD) == Score(pytest.approx(0.3), True, 0.6, pytest.approx(0.3))


def test_a_miss_costs_the_budget_and_more_the_further_it_stayed_below() -> None:
    """The best confirmed level 0.4 is a quarter of the way (0.5 − 0.1) short: 1.25 budgets; no progress at all: 2."""
    assert score(curve([0.1, 0.2, 0.4, 0.4, 0.45, 0.3]), YARD) == Score(pytest.approx(1.25), False, 1.0, 1.0)
    assert score(curve([0.1, 0.1, 0.1, 0.1, 0.1, 0.1]), YARD).value == pytest.approx(2.0)
    assert score(curve([]), YARD) == Score(2.0, False, 0.0, 0.0)


def test_a_cheap_miss_is_no_bargain() -> None:
    """A run that spends a tenth of the budget and learns nothing is as bad as one that spends all of it."""
    assert score(curve([0.1] * 6, step=2.0), YARD).value == pytest.approx(2.0)
    assert score(curve([0.1] * 6, step=40.0), YARD).value == pytest.approx(4.0)


def test_the_last_evaluation_alone_confirms_nothing() -> None:
    """Under the sustained rule a run that ends at the target has missed it, at the price of the budget; under ``first`` it has not."""
    assert score(curve([0.1, 0.1, 0.1, 0.1, 0.5, 0.4]), YARD).reached is False
    assert score(curve([0.1, 0.1, 0.1, 0.1, 0.5, 0.4]), FIRST) == Score(pytest.approx(0.8), True, 1.0, pytest.approx(0.8))
    assert level(curve([0.1, 0.6, 0.2]), "sustained", 0.1) == pytest.approx(0.4)
    assert level(curve([0.1, 0.6, 0.2]), "first", 0.1) == pytest.approx(0.6)


accuracies = st.lists(st.floats(0.0, 1.0), min_size=2, max_size=12)
yards = st.sampled_from([YARD, FIRST])


@given(accuracies, yards)
def test_reached_is_never_worse_than_missed(values: list[float], yard: Yardstick) -> None:
    """A reached target costs at most what was spent, a missed one at least that and at least the budget."""
    found = score(curve(values), yard)
    if found.reached:
        assert 0 <= found.value <= found.spent
    else:
        assert max(found.spent, 1.0) <= found.value < np.inf


@given(accuracies, st.data(), yards)
def test_more_accuracy_is_never_worse(values: list[float], data: st.DataObject, yard: Yardstick) -> None:
    """Raising any evaluation never raises the objective."""
    higher = [data.draw(st.floats(v, 1.0)) for v in values]
    assert score(curve(higher), yard).value <= score(curve(values), yard).value + 1e-9


@given(st.floats(0.2, 0.9), st.sampled_from(["sustained", "first"]))
def test_the_level_is_where_the_slope_ends(target: float, rule: Crossing) -> None:
    """A flat run just below the target costs one budget: misses join on to the last that reach it without a jump upwards."""
    yard = Yardstick(target, 0.1, 100.0, "token_cost", rule)
    assert score(curve([target - 1e-6] * 6), yard).value == pytest.approx(1.0, abs=1e-4)


@given(st.lists(st.tuples(accuracies, st.integers(1, 11)), min_size=1, max_size=4), st.floats(0.01, 3.0), yards)
def test_a_pruned_trial_could_not_have_won(seeds: list[tuple[list[float], int]], best: float, yard: Yardstick) -> None:
    """Whatever the rest of its runs would have shown, a trial that is pruned half-way ends no lower than the best so far."""
    half = [score(curve(values[: cut + 1]), yard) for values, cut in seeds]
    whole = [score(curve(values), yard) for values, _ in seeds]
    if cannot_win(half, best):
        assert mean_value(whole) >= best - 1e-9


def test_a_slow_start_is_not_pruned() -> None:
    """Nothing learned by half-way, yet it has not spent what the best needed: it goes on. A fast starter that spent it is stopped."""
    slow, fast = score(curve([0.1, 0.1, 0.1]), YARD), score(curve([0.1, 0.45, 0.45, 0.45]), YARD)
    assert not cannot_win([slow], best=0.5)
    assert cannot_win([fast], best=0.5)
