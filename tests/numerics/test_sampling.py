"""Gumbel top-k draws exactly what drawing one after the other without replacement draws."""

from __future__ import annotations

import itertools
from collections import Counter

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from harness.errors import UserError
from harness.numerics.sampling import gumbel_top_k, sample_near_target


def successive_probability(order: tuple[int, ...], weights: list[float]) -> float:
    """P of drawing ``order`` one after the other without replacement."""
    left, probability = sum(weights), 1.0
    for i in order:
        probability *= weights[i] / left
        left -= weights[i]
    return probability


@pytest.mark.parametrize("weights", [[1.0, 2.0, 4.0, 0.5], [1.0, 1.0, 1.0, 1.0], [0.01, 5.0, 5.0, 1.0]])
def test_orders_have_the_probabilities_of_successive_sampling(weights: list[float]) -> None:
    """Chi-square over all 12 ordered pairs of 4 questions stays below the 99.9 % quantile (31.3 for 11 degrees)."""
    rng = np.random.default_rng(1)
    draws = 20_000
    seen = Counter(tuple(gumbel_top_k(np.log(weights), 2, rng).tolist()) for _ in range(draws))
    chi_square = 0.0
    for order in itertools.permutations(range(4), 2):
        expected = draws * successive_probability(order, weights)
        chi_square += (seen[order] - expected) ** 2 / expected
    assert chi_square < 31.3


@given(st.lists(st.floats(-1e4, 1e4), min_size=1, max_size=40), st.data())
def test_always_exactly_size_different_positions(log_weights: list[float], data: st.DataObject) -> None:
    """Any weights, any size up to n: that many different positions, the same for the same generator state."""
    size = data.draw(st.integers(0, len(log_weights)))
    got = gumbel_top_k(np.array(log_weights), size, np.random.default_rng(3))
    assert len(got) == size == len(set(got.tolist()))
    assert ((got >= 0) & (got < len(log_weights))).all()
    np.testing.assert_array_equal(got, gumbel_top_k(np.array(log_weights), size, np.random.default_rng(3)))


@given(st.floats(-1e6, 1e6))
@settings(max_examples=30)
def test_only_differences_of_log_weights_matter(shift: float) -> None:
    """Adding a constant to all log weights changes nothing."""
    weights = np.array([0.0, -3.0, 2.0, 1.0])
    first = gumbel_top_k(weights, 4, np.random.default_rng(5))
    second = gumbel_top_k(np.round(weights + shift, 6), 4, np.random.default_rng(5))
    np.testing.assert_array_equal(first, second)


def test_all_questions_drawn_is_a_permutation() -> None:
    """m = n returns every question once."""
    got = sample_near_target(np.linspace(0, 1, 100), 100, np.random.default_rng(0))
    assert sorted(got.tolist()) == list(range(100))


def test_no_underflow_far_from_the_target() -> None:
    """Where every weight underflows in float32 (gaps of 0.2 and more), the nearest questions still come first."""
    rates = np.concatenate([np.full(50, 0.98), np.full(10, 0.8)])
    got = sample_near_target(rates, 20, np.random.default_rng(0))
    assert set(got[:10].tolist()) == set(range(50, 60))
    assert len(set(got.tolist())) == 20


def test_ties_are_drawn_uniformly() -> None:
    """Equal predictions (the fallback): every question is drawn equally often, to within 4 standard errors."""
    rng = np.random.default_rng(2)
    counts = np.bincount(np.concatenate([sample_near_target(np.full(10, 0.3), 4, rng) for _ in range(5000)]), minlength=10)
    assert np.abs(counts - 2000).max() < 4 * np.sqrt(5000 * 0.4 * 0.6)


def test_alpha_is_a_difficulty() -> None:
    """α = 0.9 asks for hard questions: the one with pass rate 0.1 comes first."""
    assert sample_near_target(np.array([0.9, 0.5, 0.1]), 1, np.random.default_rng(0), alpha=0.9)[0] == 2


def test_bad_input_is_refused_in_words() -> None:
    """Too many questions, NaN predictions and τ ≤ 0 are UserErrors; NaN log weights are a programming error."""
    rng = np.random.default_rng(0)
    with pytest.raises(UserError, match="cannot select 3 questions out of 2"):
        sample_near_target(np.array([0.1, 0.2]), 3, rng)
    with pytest.raises(UserError, match="NaN for 1 of 2"):
        sample_near_target(np.array([0.1, np.nan]), 1, rng)
    with pytest.raises(UserError, match="tau must be positive"):
        sample_near_target(np.array([0.1]), 1, rng, tau=0)
    with pytest.raises(ValueError, match="NaN"):
        gumbel_top_k(np.array([np.nan]), 1, rng)
