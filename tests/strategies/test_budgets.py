"""Rollouts per question, and training on part of them."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from harness.strategies.knapsack import allocate, value
from harness.strategies.pods import max_variance_subset
from harness.types import FloatArray
from tests.strategies.made import run_of


def test_knapsack_value_by_hand() -> None:
    """N = 2, p = ½: (1 − ¼ − ¼)·½·¼ = 1/16; N = 3, p = ⅓: (1 − 1/27 − 8/27)·⅓·4/9 = 8/81."""
    assert value(2, 0.5) == pytest.approx(1 / 16)
    assert value(3, 1 / 3) == pytest.approx(8 / 81)


@given(st.lists(st.sampled_from([0.125, 0.25, 0.5, 0.75]), min_size=2, max_size=3))
def test_knapsack_allocation_is_optimal(rates: list[float]) -> None:
    """Greedy by gain equals the best of all allocations with the same budget, least 2 and most 9 each."""
    sizes = allocate(np.array(rates), 4, 2, 9)
    assert sizes.sum() == 4 * len(rates)
    every = (n for n in itertools.product(range(2, 10), repeat=len(rates)) if sum(n) == 4 * len(rates))
    best = max(sum(value(n, p) for n, p in zip(each, rates, strict=True)) for each in every)
    assert sum(value(int(n), p) for n, p in zip(sizes, rates, strict=True)) == pytest.approx(best)


@given(st.lists(st.sampled_from([0.0, 0.125, 0.5, 1.0, float("nan")]), min_size=1, max_size=12))
def test_knapsack_spends_its_budget_whatever_the_rates(rates: list[float]) -> None:
    """Unknown questions get G, known ones at least N_min, all together B·G, also where nothing is worth anything."""
    sizes = allocate(np.array(rates), 4, 2, 93)
    assert sizes.sum() == 4 * len(rates)
    assert sizes.min() >= 2


@given(st.lists(st.sampled_from([0.0, 0.1, 0.5, 1.0]), min_size=2, max_size=8), st.data())
def test_pods_subset_has_the_greatest_variance(rewards: list[float], data: st.DataObject) -> None:
    """Against all subsets of that size."""
    size = data.draw(st.integers(1, len(rewards)))
    values: FloatArray = np.array(rewards)
    kept = max_variance_subset(values, size)
    assert len(set(kept)) == size
    best = max(values[list(c)].var() for c in itertools.combinations(range(len(rewards)), size))
    assert values[kept].var() == pytest.approx(best)


def test_pods_trains_on_a_quarter() -> None:
    """16 rollouts a question, 4 trained on, the rest filtered; a group with both answers keeps two of each."""
    run = run_of("pods")
    for made in run.step().groups:
        assert (made.size, len(made.trained_rollouts)) == (16, 4)
        if 2 <= made.rewards.sum() <= 14:
            assert sum(r.reward for r in made.trained_rollouts) == 2
    assert (run.driver.costs.fresh_rollouts, run.driver.costs.filtered_rollouts) == (64, 192)
