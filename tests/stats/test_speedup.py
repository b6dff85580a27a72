"""Speed-ups: hand-worked ratios, what misses do to them, and when the word "faster" may be used."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from harness.stats import Reach, interquartile_mean, pair_bounds, paired_speed_up, pooled_speed_up
from tests.stats.curves import at, missed

INF = float("inf")
outcomes = st.tuples(st.integers(1, 50), st.integers(50, 60), st.booleans()).map(
    lambda t: at(float(t[0]), float(t[1])) if t[2] else missed(float(t[1]))
)
pairs = st.lists(st.tuples(outcomes, outcomes), min_size=1, max_size=6)


def test_median_of_paired_ratios() -> None:
    """30/20, 40/20, 36/40 → 1.5, 2, .9: median 1.5; the interval of three pairs runs from the least to the greatest."""
    found = paired_speed_up([(at(30), at(20)), (at(40), at(20)), (at(36), at(40))])
    assert found.n == 3
    assert found.estimate == pytest.approx(1.5)
    assert (found.low, found.high) == (pytest.approx(0.9), pytest.approx(2.0))
    assert found.verdict == "undecided (n = 3, 5 needed)"


def test_faster_and_slower_need_an_interval_on_one_side_of_one() -> None:
    """All six pairs above 1: faster; the same pairs turned around: slower, with the inverse ratio."""
    costs = [(30, 20), (40, 20), (44, 40)] * 2
    faster = paired_speed_up([(at(b), at(s)) for b, s in costs])
    slower = paired_speed_up([(at(s), at(b)) for b, s in costs])
    assert (faster.verdict, slower.verdict) == ("faster", "slower")
    assert slower.estimate == pytest.approx(1 / 1.5)


@pytest.mark.parametrize("n", [1, 2])
def test_one_or_two_pairs_show_nothing(n: int) -> None:
    """However large the ratio: there is no interval, so there is no claim."""
    found = paired_speed_up([(at(90), at(1))] * n)
    assert (found.low, found.high) == (None, None)
    assert found.verdict == f"undecided (n = {n}, 5 needed)"


def test_equal_costs_are_a_ratio_of_one() -> None:
    """Nothing differs: 1.00, and the words say so."""
    found = paired_speed_up([(at(20), at(20))] * 5)
    assert (found.estimate, found.low, found.high) == (1.0, 1.0, 1.0)
    assert found.verdict == "no difference shown (n = 5)"


@pytest.mark.parametrize(
    ("baseline", "strategy", "low", "high"),
    [
        (at(30), at(20), 1.5, 1.5),
        (at(30), missed(60), 0.0, 0.5),  # the strategy needs more than 60: at most 30/60
        (missed(60), at(20), 3.0, INF),  # the baseline needs more than 60: at least 60/20
        (missed(60), missed(60), 0.0, INF),
        (at(0), at(0), 1.0, 1.0),
        (missed(0), at(20), 0.0, INF),  # a run without evaluations says nothing
        (at(0), missed(0), 0.0, INF),
    ],
)
def test_a_pair_with_a_miss_is_known_between_bounds(baseline: Reach, strategy: Reach, low: float, high: float) -> None:
    """The table of the module, line by line."""
    assert np.exp(pair_bounds(baseline, strategy)).tolist() == pytest.approx([low, high])


def test_a_minority_of_misses_does_not_hide_a_result_and_never_makes_one() -> None:
    """Pairs 2, 2.5, [0, .5]: the median is 2, the interval reaches down to 0."""
    found = paired_speed_up([(at(40), at(20)), (at(50), at(20)), (at(30), missed(60))])
    assert found.estimate == pytest.approx(2.0)
    assert found.low == 0.0
    assert found.verdict.startswith("undecided")


def test_a_baseline_that_never_arrives_gives_at_least() -> None:
    """Baseline missed at 60 in all six, strategy at 20, 25, 30: at least 2, 2.4, 3 → 'at least 2.4', faster."""
    found = paired_speed_up([(missed(60), at(20)), (missed(60), at(25)), (missed(60), at(30))] * 2)
    assert (found.at_least, found.at_most) == (pytest.approx(2.4), INF)
    assert (found.estimate, found.verdict, found.high) == (None, "faster", INF)


def test_nobody_arrives() -> None:
    """Two misses in every pair: anything is possible and nothing is claimed."""
    found = paired_speed_up([(missed(60), missed(60))] * 4)
    assert (found.at_least, found.at_most, found.low, found.high) == (0.0, INF, 0.0, INF)
    assert found.verdict == "undecided (n = 4, 5 needed)"
    assert paired_speed_up([]).verdict == "undecided (n = 0, 5 needed)"


def test_across_combinations_the_middle_half_counts() -> None:
    """Log ratios of 8 pairs 1,1,2,2,4,4,8,64: the outer two on each side go; (2·2·4·4)^(1/4) = 2√2."""
    ratios = [1, 1, 2, 2, 4, 4, 8, 64]
    strata = [[(at(float(r)), at(1.0)) for r in ratios[i::2]] for i in range(2)]
    found = pooled_speed_up(strata)
    assert found.estimate == pytest.approx(2 * math.sqrt(2))
    assert found.n == 8


def test_one_seed_per_combination_gives_no_interval() -> None:
    """Redrawing one seed among one shows no spread; that is not certainty."""
    found = pooled_speed_up([[(at(30), at(20))], [(at(40), at(20))], [(at(44), at(40))]])
    assert found.estimate is not None
    assert found.low is None


def test_interquartile_mean_is_the_trimmed_mean() -> None:
    """As scipy.stats.trim_mean(x, 0.25) does it."""
    stats = pytest.importorskip("scipy.stats", reason="scipy is a development dependency")
    for n in range(1, 20):
        values = np.random.default_rng(n).normal(size=n)
        assert interquartile_mean(values) == pytest.approx(stats.trim_mean(values, 0.25))


def test_three_pairs_never_make_a_claim() -> None:
    """However clear: the range of three pairs holds the median in 75 % of cases, so it decides nothing."""
    found = paired_speed_up([(at(90), at(30))] * 3)
    assert (found.low, found.coverage, found.verdict) == (pytest.approx(3.0), 0.75, "undecided (n = 3, 5 needed)")


def test_five_pairs_by_hand() -> None:
    """Logs 0.1, 0.2, 0.3, 0.4, 0.5: mean .3, deviation .15811; t(4) = 2.7764, so .3 ± .1963, inside the range .1 to .5."""
    ratios = np.exp([0.1, 0.2, 0.3, 0.4, 0.5])
    found = paired_speed_up([(at(r, 1e6), at(1.0, 1e6)) for r in ratios])
    assert (found.low, found.high) == (pytest.approx(math.exp(0.1)), pytest.approx(math.exp(0.5)))
    assert (found.coverage, found.verdict) == (0.95, "faster")
    skewed = paired_speed_up([(at(r, 1e6), at(1.0, 1e6)) for r in np.exp([0.01, 0.01, 0.01, 0.01, 0.5])])
    # Mean .108, deviation .21913, margin 2.7764 · .21913/√5 = .27208: the four equal pairs alone would have said "faster".
    assert skewed.low == pytest.approx(math.exp(0.108 - 0.27208), rel=1e-4)
    assert skewed.verdict == "no difference shown (n = 5)"


def test_a_miss_among_five_leaves_its_side_open() -> None:
    """Four pairs of 2 and one that the strategy missed: no lower bound, no claim."""
    found = paired_speed_up([(at(40), at(20))] * 4 + [(at(30), missed(60))])
    assert (found.low, found.verdict) == (0.0, "no difference shown (n = 5)")


@pytest.mark.parametrize(("n", "left_out"), [(6, 0), (8, 0), (9, 1), (11, 1), (12, 2)])
def test_order_statistics_of_the_sign_test(n: int, left_out: int) -> None:
    """Conover's table for 95 %: from n = 9 on one value may be left out on each side, from n = 12 on two."""
    found = paired_speed_up([(at(float(k), 1e6), at(1.0, 1e6)) for k in range(1, n + 1)])
    assert (found.low, found.high) == (pytest.approx(1 + left_out), pytest.approx(n - left_out))


@pytest.mark.parametrize("n", [5, 6, 9])
def test_the_interval_holds_its_level(n: int) -> None:
    """2,000 experiments with n normal log ratios around 0: at least 95 % of the intervals hold 1, to 1 % of sampling error."""
    rng = np.random.default_rng(n)
    holds = 0
    for logs in rng.normal(0.0, 0.2, size=(2000, n)):
        found = paired_speed_up([(at(float(r), 1e6), at(1.0, 1e6)) for r in np.exp(logs)])
        assert found.low is not None
        assert found.high is not None
        holds += found.low <= 1 <= found.high
    assert holds / 2000 >= 0.94


def test_the_pooled_interval_holds_its_level() -> None:
    """500 experiments, three combinations with three seeds each: an ordinary percentile bootstrap would hold 1 in about 85 %."""
    rng = np.random.default_rng(7)
    holds = 0
    for logs in rng.normal(0.0, 0.2, size=(500, 3, 3)):
        found = pooled_speed_up([[(at(float(r), 1e6), at(1.0, 1e6)) for r in np.exp(stratum)] for stratum in logs], draws=2000)
        assert found.low is not None
        assert found.high is not None
        holds += found.low <= 1 <= found.high
    assert holds / 500 >= 0.93


@settings(max_examples=30, deadline=None)
@given(pairs, st.randoms(use_true_random=False))
def test_seed_labels_do_not_matter(given_: list[tuple[Reach, Reach]], random: object) -> None:
    """Equal, to the last bit, under relabelling of seeds; and the same call gives the same numbers twice."""
    shuffled = list(given_)
    random.shuffle(shuffled)  # type: ignore[attr-defined]
    a, b = paired_speed_up(given_), paired_speed_up(shuffled)
    assert (a.at_least, a.at_most, a.low, a.high) == (b.at_least, b.at_most, b.low, b.high)


@settings(max_examples=20, deadline=None)
@given(st.lists(pairs, min_size=1, max_size=3), st.randoms(use_true_random=False))
def test_labels_of_seeds_and_combinations_do_not_matter(given_: list[list[tuple[Reach, Reach]]], random: object) -> None:
    """Pooled over combinations too: equal to the last bit under any relabelling of seeds within them, and of the combinations."""
    shuffled = [list(stratum) for stratum in given_]
    for stratum in shuffled:
        random.shuffle(stratum)  # type: ignore[attr-defined]
    random.shuffle(shuffled)  # type: ignore[attr-defined]
    a, b = pooled_speed_up(given_, draws=200), pooled_speed_up(shuffled, draws=200)
    assert (a.n, a.at_least, a.at_most, a.low, a.high) == (b.n, b.at_least, b.at_most, b.low, b.high)


@settings(max_examples=50, deadline=None)
@given(pairs)
def test_bounds_are_in_order_and_never_nan(given_: list[tuple[Reach, Reach]]) -> None:
    """low ≤ at_least ≤ at_most ≤ high, whatever is missing."""
    found = paired_speed_up(given_)
    values = [found.at_least, found.at_most] if found.low is None else [found.low, found.at_least, found.at_most, found.high]
    assert all(v is not None and not math.isnan(v) for v in values)
    assert values == sorted(values)  # type: ignore[type-var]


@settings(max_examples=50, deadline=None)
@given(pairs, st.data())
def test_a_miss_never_makes_a_claim_that_was_not_there(given_: list[tuple[Reach, Reach]], data: st.DataObject) -> None:
    """Hiding what a run did after some cost can only widen the bounds of its pair."""
    index = data.draw(st.integers(0, len(given_) - 1))
    baseline, strategy = given_[index]
    cut = Reach(INF, min(strategy.cost, strategy.budget) / 2, None)
    narrow, wide = pair_bounds(baseline, strategy), pair_bounds(baseline, cut)
    assert wide[0] <= narrow[0] + 1e-12
    assert wide[1] >= narrow[1] - 1e-12
