"""Admission of a whole round and weights on groups: what is kept, what a smaller batch is, what a weight keeps unbiased."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from harness.strategies.snr_filter import top_p
from tests.strategies.made import group, run_of, selector_and_context

# -- No-Positive-Resampling ------------------------------------------------------------------------------------------------


def test_a_question_retires_at_the_mean_of_its_groups() -> None:
    """0.8 and 1.0 make 0.9: retired; 0.75 and 1.0 do not."""
    selector, ctx = selector_and_context("no-positive-resampling", pool_size=4)
    selector.observe([group(0, 1, 1, 1, 1, 0), group(1, 1, 1, 1, 0)], ctx)
    assert set(selector.select(4, ctx).question_ids) == {0, 1, 2, 3}
    selector.observe([group(0, 1, 1, 1, 1, 1), group(1, 1, 1, 1, 1)], ctx)
    selection = selector.select(3, ctx)
    assert set(selection.question_ids) == {1, 2, 3}
    assert selection.info == {"retired": 1.0}


def test_where_too_few_are_left_the_least_solved_come_back() -> None:
    """All four retired: the two with the lowest rates make the batch."""
    selector, ctx = selector_and_context("no-positive-resampling", pool_size=4)
    right = [10, 9, 10, 9]
    selector.observe([group(q, *[1] * k, *[0] * (10 - k)) for q, k in enumerate(right)], ctx)
    assert set(selector.select(2, ctx).question_ids) == {1, 3}


def test_degenerate_groups_are_dropped_without_refill() -> None:
    """One round a step; what is left of it is the batch, and where nothing is left, the round."""
    run = run_of("no-positive-resampling", pool_size=512)
    run.engine.ability += 2.0
    batch = run.step()
    assert len(run.engine.calls) == 1
    assert 0 < len(batch.groups) < 16
    assert not any(g.is_degenerate for g in batch.groups)
    hopeless = run_of("no-positive-resampling", pool_size=512)
    hopeless.engine.ability[:] = -100.0
    assert len(hopeless.step().groups) == 16


# -- SNR filter ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("scores", "share", "margin", "kept"),
    [
        ([4, 3, 2, 1], 0.7, 0.0, [True, True, False, False]),  # 7 of 10 reach 7
        ([4, 3, 2, 1], 0.71, 0.0, [True, True, True, False]),
        ([4, 3, 2, 1], 0.71, 0.2, [True, True, False, False]),  # 7.1 − 0.2
        ([1, 0, 1, 0], 1.0, 0.0, [True, False, True, False]),
        ([0, 0, 0, 0], 0.9, 0.01, [False] * 4),
        ([0.002, 0.003], 0.9, 0.01, [False, False]),  # 0.0045 − 0.01 < 0: a round without signal
        ([1, 1, 1, 1], 0.5, 0.0, [True, True, False, False]),  # ties: the earlier
    ],
)
def test_top_p_by_hand(scores: list[float], share: float, margin: float, kept: list[bool]) -> None:
    """The smallest set that holds the share, less the margin."""
    assert top_p(np.array(scores, dtype=float), share, margin) == kept


@given(st.lists(st.sampled_from([0.0, 0.1, 0.25, 0.3, 1.0]), min_size=1, max_size=20), st.floats(0.05, 1.0))
def test_top_p_is_the_smallest_set(scores: list[float], share: float) -> None:
    """It holds the share, without its least member it does not, and nothing left out is greater than anything kept."""
    values = np.array(scores)
    kept = np.array(top_p(values, share, 0.0))
    if not values.sum():
        assert not kept.any()
        return
    assert values[kept].sum() >= share * values.sum() - 1e-9
    assert values[kept].sum() - values[kept].min() < share * values.sum()
    assert not kept.all() or values.min() > 0
    assert kept.all() or values[~kept].max() <= values[kept].min()


def test_the_filter_scores_groups_by_variance_or_deviation() -> None:
    """Four rollouts: one right has the sample variance 1/4, two right 1/3, a degenerate group 0. 0.6·(1/3 + 1/4): one group is enough."""
    groups = [group(0, 1, 0, 0, 0), group(1, 1, 1, 0, 0), group(2, 0, 0, 0, 0)]
    for score, kept in (("variance", [False, True, False]), ("std", [True, True, False])):
        selector, ctx = selector_and_context("snr-filter", {"top_p": 0.56, "margin": 0.0, "score": score})
        assert list(selector.admit_round(groups, ctx)) == kept


# -- LZE ---------------------------------------------------------------------------------------------------------------------


def test_learning_zone_energy_by_hand() -> None:
    """p₀ = 1/4, ema = 1/4: E(1/4) = 3/4·3/4; then ema stays 1/4 and E(3/4) = 3/4·3/4·(1 + 0.3·min(2·1/2, 1)) = 0.73125."""
    selector, ctx = selector_and_context("lze")
    selector._size_to(ctx)
    quarter, three_quarters = group(0, 1, 0, 0, 0), group(0, 1, 1, 1, 0)
    assert selector._energy(quarter) == pytest.approx(0.5625)
    selector.observe([quarter], ctx)
    assert selector._energy(three_quarters) == pytest.approx(0.73125)
    selector.observe([three_quarters], ctx)
    assert selector._average[0] == pytest.approx(0.9 * 0.25 + 0.1 * 0.75)
    assert selector._energy(group(1, 1, 1, 1, 1)) == 0
    assert selector._energy(group(2, *[1] * 39, 0)) == pytest.approx(0.05 * 4 * 0.975 * 0.025)  # 1 − p₀ is at least 0.05


def test_the_greatest_energies_are_kept() -> None:
    """⌊0.4·5⌋ = 2 of five groups, no dead one among them; without noise the two greatest; where only one lives, that one."""
    selector, ctx = selector_and_context("lze", {"noise": 0.0})
    groups = [group(0, 0, 0, 0, 0), group(1, 1, 0, 0, 0), group(2, 1, 1, 0, 0), group(3, 1, 1, 1, 0), group(4, 1, 1, 1, 1)]
    assert list(selector.admit_round(groups, ctx)) == [False, True, True, False, False]
    alone = [group(5, 0, 0), group(6, 1, 0), group(7, 1, 1)]
    assert list(selector.admit_round(alone, ctx)) == [False, True, False]
    assert list(selector.admit_round(alone[::2], ctx)) == [False, False]


def test_a_step_trains_on_forty_percent() -> None:
    """⌊0.4·16⌋ = 6 groups, of one round."""
    run = run_of("lze", pool_size=512)
    run.engine.ability[:] = 0.0
    assert [len(run.step().groups) for _ in range(3)] == [6, 6, 6]
    assert len(run.engine.calls) == 3


# -- DPPO --------------------------------------------------------------------------------------------------------------------


def test_dppo_weights_by_hand() -> None:
    """Mean abs(r − mean): 0, 3/8, 1/2; their mean is 7/24. Only question 0 is below: weight 1/(1 − 0.75) = 4; one never seen has 1."""
    selector, ctx = selector_and_context("dppo", {"pruned": 0.75})
    selector.observe([group(0, 1, 1, 1, 1), group(1, 1, 0, 0, 0), group(2, 1, 1, 0, 0)], ctx)
    assert list(selector.weigh([group(q, 1, 0) for q in range(4)], ctx)) == [4, 1, 1, 1]


@pytest.mark.slow
def test_dppo_keeps_the_expected_weight_of_every_question() -> None:
    """Chance of being kept times weight is one: over 400 selections of the next four questions a pruned one weighs 400 in all (± 3 sd)."""
    total = np.zeros(4)
    for seed in range(400):
        selector, ctx = selector_and_context("dppo", {"pruned": 0.5}, pool_size=8, seed=seed)
        first = selector.take(4, ctx)
        selector._drawn = 0
        selector._signal = np.full(8, 0.5)
        selector._signal[first[:2]] = 0.0
        chosen = set(selector.select(4, ctx).question_ids.tolist())
        for place, question in enumerate(first.tolist()):
            total[place] += (question in chosen) * selector.weigh([group(question, 1, 0)], ctx)[0]
    assert total[2:].tolist() == [400, 400]
    assert np.abs(total[:2] - 400).max() < 3 * 20  # binomial: √(400·¼)·2


def test_dppo_weights_reach_the_batch() -> None:
    """Through the driver: the groups of the batch carry the weights, 1 before anything was seen."""
    run = run_of("dppo", pool_size=32)
    first = run.step()
    assert {g.loss_weight for g in first.groups} == {1.0}
    weights = {g.loss_weight for _ in range(6) for g in run.step().groups}
    assert weights == {1.0, 2.0}


@pytest.mark.parametrize("name", ["no-positive-resampling", "snr-filter", "lze"])
def test_a_smaller_batch_is_declared(name: str) -> None:
    """What shrinks a batch requires group_sizes and refills nothing."""
    strategy: Any = run_of(name).driver.strategy
    assert "group_sizes" in strategy.requires
    assert (strategy.selector.max_refills, strategy.selector.fill_short_batches) == (0, False)
