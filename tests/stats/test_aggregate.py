"""Aggregates and small-sample tests against hand-worked numbers and scipy."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from harness.stats import (
    Reach,
    evidence,
    holm,
    interaction_bounds,
    log_deviation,
    minimum_detectable_difference,
    minimum_detectable_speed_up,
    paired_difference,
    paired_interaction,
    paired_speed_up,
    performance_profile,
    probability_of_improvement,
    reached_share,
    sign_test,
    student_t_cdf,
    student_t_quantile,
)
from tests.stats.curves import at, missed

INF = float("inf")


@pytest.mark.parametrize(("n", "points"), [(3, 1.5), (5, 1.0), (12, 0.6)])
def test_the_known_noise_of_the_protocol(n: int, points: float) -> None:
    """Seed deviation .5 point: 3 seeds show 1.5 points, 5 show 1.0, 12 show 0.6."""
    assert minimum_detectable_difference(0.5, n) == pytest.approx(points, abs=0.03)


def test_one_seed_detects_nothing() -> None:
    """With one seed there is no spread to compare with."""
    assert minimum_detectable_difference(0.5, 1) == INF
    assert minimum_detectable_speed_up(0.1, 1) == INF
    assert minimum_detectable_speed_up(0.0, 5) == 1.0
    assert minimum_detectable_speed_up(0.0, 4) == INF


def test_student_t_against_tables() -> None:
    """t(.975; 4) = 2.776, t(.975; 9) = 2.262, t(.8; 1) = 1.376 (printed tables); P(T ≤ 1; 1) = 3/4 exactly."""
    assert student_t_quantile(0.975, 4) == pytest.approx(2.776, abs=1e-3)
    assert student_t_quantile(0.975, 9) == pytest.approx(2.262, abs=1e-3)
    assert student_t_quantile(0.8, 1) == pytest.approx(1.376, abs=1e-3)
    assert student_t_cdf(1.0, 1) == pytest.approx(0.75)
    with pytest.raises(ValueError, match="between 0 and 1"):
        student_t_quantile(1.0, 3)


def test_student_t_against_scipy() -> None:
    """Every degree of freedom up to 40, to 1e-9."""
    stats = pytest.importorskip("scipy.stats", reason="scipy is a development dependency")
    for df in range(1, 41):
        for p in (0.001, 0.2, 0.5, 0.8, 0.975):
            assert student_t_quantile(p, df) == pytest.approx(stats.t.ppf(p, df), rel=1e-9, abs=1e-9)


def test_sign_test_by_hand() -> None:
    """3 of 3 → 2/8; 5 of 6 → 2·7/64; exact ties and open pairs count against the majority."""
    win, loss, tie, open_ = (at(20), at(10)), (at(10), at(20)), (at(10), at(10)), (missed(9), missed(9))
    assert sign_test(paired_speed_up([win] * 3)) == 0.25
    assert sign_test(paired_speed_up([win] * 5 + [loss])) == pytest.approx(14 / 64)
    assert sign_test(paired_speed_up([win] * 5 + [tie])) == pytest.approx(14 / 64)
    assert sign_test(paired_speed_up([loss] * 5 + [open_])) == pytest.approx(14 / 64)
    assert sign_test(paired_speed_up([tie] * 4)) == 1.0
    assert sign_test(paired_speed_up([])) == 1.0


def test_holm_by_hand() -> None:
    """.01 .04 .03 → .03 .06 .06 (3·.01, 2·.03, then not below that)."""
    assert holm([0.01, 0.04, 0.03]) == pytest.approx([0.03, 0.06, 0.06])
    assert holm([]) == []
    assert holm([0.7, 0.8]) == pytest.approx([1.0, 1.0])


@given(st.lists(st.floats(0, 1), min_size=1, max_size=8))
def test_holm_only_raises(p: list[float]) -> None:
    """Adjusted values are never below the raw ones nor above 1, and keep their order."""
    adjusted = holm(p)
    assert all(a >= b - 1e-15 and a <= 1 for a, b in zip(adjusted, p, strict=True))
    assert [adjusted[i] for i in np.argsort(p, kind="stable")] == sorted(adjusted)


def test_probability_of_improvement_by_hand() -> None:
    """Costs 10 20 30 against 5 20 ∞: wins 3 + 1 + 0 of 9, ties ½: (3 + 1.5)/9 = .5."""
    baseline, strategy = np.array([10.0, 20.0, 30.0]), np.array([5.0, 20.0, INF])
    found = probability_of_improvement([(baseline, strategy)])
    assert found.value == pytest.approx(0.5)
    assert found.low is not None
    assert found.high is not None
    assert found.low <= 0.5 <= found.high
    both = np.array([INF, INF])
    assert probability_of_improvement([(both, both)]).value == 0.5
    assert probability_of_improvement([]).value == 0.5


def test_probability_of_improvement_is_mann_whitney() -> None:
    """U / (n·m) for one combination."""
    stats = pytest.importorskip("scipy.stats", reason="scipy is a development dependency")
    rng = np.random.default_rng(1)
    baseline, strategy = rng.integers(1, 9, 12).astype(float), rng.integers(1, 9, 9).astype(float)
    u = stats.mannwhitneyu(baseline, strategy).statistic
    assert probability_of_improvement([(baseline, strategy)]).value == pytest.approx(u / (12 * 9))


def test_performance_profile_by_hand() -> None:
    """Problem 1: 10 and 20 (ratios 1, 2); 2: 30 and 10 (3, 1); 3: nobody. At factor 1, 2, 3: 1/3 1/3 2/3 and 1/3 2/3 2/3."""
    costs = np.array([[10.0, 20.0], [30.0, 10.0], [INF, INF]])
    found = performance_profile(costs, [0, 0, 0], np.array([1.0, 2.0, 3.0]))
    assert found.shares == pytest.approx(np.array([[1, 1, 2], [1, 2, 2]]) / 3)
    assert (found.low <= found.shares).all()
    assert (found.shares <= found.high).all()


def test_profile_band_has_no_width_without_spread() -> None:
    """Redrawing equal problems changes nothing."""
    found = performance_profile(np.array([[1.0, 2.0]] * 4), [0, 0, 1, 1], np.array([1.0, 4.0]))
    assert found.low.tolist() == found.high.tolist() == [[1.0, 1.0], [0.0, 1.0]]


def test_share_of_runs_at_the_target_by_hand() -> None:
    """Reached at 1, 3 and 3 by three of five runs: .2, then .6, which is the reach rate; nobody reached: no steps."""
    events, share = reached_share(np.array([3.0, INF, 1.0, INF, 3.0]))
    assert events.tolist() == [1.0, 3.0]
    assert share == pytest.approx([0.2, 0.6])
    assert reached_share(np.array([INF]))[0].tolist() == []


def test_one_of_two_runs_is_half_whenever_the_other_ended() -> None:
    """The run that missed had spent less than the one that reached: still 50 %, not 100 %."""
    assert reached_share(np.array([10.0, INF]))[1].tolist() == [0.5]


def test_paired_difference_by_hand() -> None:
    """.01 .02 .06: mean .03, deviation .026458, t(2) = 4.3027, so ± .06573; equal differences have no width; two pairs give no interval."""
    found = paired_difference(np.array([0.06, 0.01, 0.02]))
    assert found.value == pytest.approx(0.03)
    assert (found.low, found.high) == (pytest.approx(-0.03573, abs=1e-5), pytest.approx(0.09573, abs=1e-5))
    assert paired_difference(np.array([0.02, 0.06, 0.01])) == found
    same = paired_difference(np.full(4, 0.5))
    assert (same.low, same.high) == (0.5, 0.5)
    assert paired_difference(np.array([0.1, 0.2])).low is None
    assert math.isnan(paired_difference(np.array([])).value)


def test_interaction_by_hand() -> None:
    """Costs 16, 8, 12, 4: speed-ups 2 and 4/3 alone, 4 together, so 8·12/(16·4) = 1.5 on a log scale."""
    found = paired_interaction([(at(16), at(8), at(12), at(4))] * 5)
    assert (found.estimate, found.low, found.verdict) == (pytest.approx(1.5), pytest.approx(1.5), "faster")


@pytest.mark.parametrize(
    ("four", "low", "high"),
    [
        ((at(16), missed(20), at(12), at(4)), 20 * 12 / (16 * 4), INF),  # the first alone needs more than 20: they help even more
        ((at(16), at(8), at(12), missed(20)), 0.0, 8 * 12 / (16 * 20)),  # both together need more than 20: at most .3
        ((missed(20), at(8), at(12), at(4)), 0.0, 8 * 12 / (20 * 4)),
        ((missed(20), missed(20), at(12), at(4)), 0.0, INF),
        ((missed(0), at(8), at(12), missed(0)), 0.0, INF),
    ],
)
def test_a_miss_opens_the_interaction(four: tuple[Reach, Reach, Reach, Reach], low: float, high: float) -> None:
    """A run that missed needs more than it spent; its seed is not left out."""
    bounds = np.exp(interaction_bounds(*four))
    assert bounds[0] == pytest.approx(low)
    assert bounds[1] == pytest.approx(high) or (high == INF and bounds[1] > 1e30)


def test_log_deviation_uses_what_is_known_exactly() -> None:
    """Ratios e and 1/e: deviation √2; an open pair is left out; fewer than two give none."""
    found = paired_speed_up([(at(math.e), at(1)), (at(1), at(math.e)), (missed(3), missed(3))])
    assert log_deviation(found) == pytest.approx(math.sqrt(2))
    assert log_deviation(paired_speed_up([(at(2), at(1))])) is None


def test_minimum_detectable_speed_up_by_hand() -> None:
    """n = 5, deviation .1: (2.776 + .941)·.1/√5 = .1662 → 1.181."""
    assert minimum_detectable_speed_up(0.1, 5) == pytest.approx(1.181, abs=1e-3)


def test_words_for_the_number_of_seeds() -> None:
    """Five to screen, ten to claim."""
    assert "first look" in evidence(3)
    assert "screen" in evidence(5)
    assert evidence(10) == "enough seeds to claim"
