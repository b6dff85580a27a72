"""Filters after the rollout, and GRESO's skipping before it: formulas against numbers worked out by hand."""

from __future__ import annotations

import numpy as np
import pytest

from tests.strategies.made import group, run_of, selector_and_context


def test_dapo_keeps_what_is_not_degenerate_and_ends() -> None:
    """0 < k < G is kept; three questions per missing group; where all are degenerate, ten rounds and a full batch."""
    selector, ctx = selector_and_context("dapo")
    assert [selector.admit(group(0, *r), ctx) for r in ((0, 0), (0, 1), (1, 1))] == [False, True, False]
    assert selector.round_size(5, ctx) == 15
    run = run_of("dapo")
    run.engine.ability[:] = -100
    assert len(run.step().groups) == 16
    assert [len(ids) for _, ids, _ in run.engine.calls] == [48] * 10


def test_bae_keeps_the_closed_interval() -> None:
    """T_low = .2 and T_high = .8 are kept themselves."""
    selector, ctx = selector_and_context("bae")
    kept = [k for k in range(11) if selector.admit(group(0, *[1.0] * k, *[0.0] * (10 - k)), ctx)]
    assert kept == [2, 3, 4, 5, 6, 7, 8]


def test_greso_counts_easy_and_hard_visits_apart() -> None:
    """Trailing visits of mean reward ≥ .98 and ≤ .11; a visit of the other kind, or between, starts the count anew."""
    selector, ctx = selector_and_context("greso")
    for rewards in ([1, 1], [1, 1], [0, 0], [0, 0], [0, 0]):
        selector.observe([group(0, *rewards), group(1, 1, 1), group(2, 0, 1)], ctx)
    assert selector._streaks[:3].tolist() == [[3, 0], [0, 5], [0, 0]]  # hard, easy
    selector._explore = np.array([0.5, 0.9])
    assert selector.keep_probabilities(np.arange(3)).tolist() == [[0.125, 1], [1, pytest.approx(0.9**5)], [1, 1]]


def test_greso_explores_less_from_the_second_epoch_on() -> None:
    """One of four easy (aim 1/12) and one of four hard (aim 1/6) are both too many; then none is hard. Nothing moves in the first epoch."""
    selector, ctx = selector_and_context("greso")
    seen = [group(0, 1, 1), group(1, 0, 0), group(2, 0, 1), group(3, 0, 1)]
    selector._drawn = 8
    selector.observe(seen, ctx)
    assert selector._explore.tolist() == [0.5, 0.5]
    selector._drawn = 9  # the first question of the second epoch of eight
    selector.observe(seen, ctx)
    assert selector._explore.tolist() == pytest.approx([0.49, 0.49])
    selector.observe([group(0, 1, 1), group(1, 0, 1), group(2, 0, 1), group(3, 0, 1)], ctx)
    assert selector._explore.tolist() == pytest.approx([0.50, 0.48])  # hard, easy


def test_greso_rounds_by_hand() -> None:
    """B = 8: 12 questions, then 1.25 · missing / (1 − degenerate share), from 2 to 12; an estimate of at most 12 makes the last round."""
    run = run_of("greso", pool_size=64, groups_per_step=8)
    selector, ctx = run.driver.strategy.selector, run.driver.context("select")

    def round_of(missing: int, informative: int, degenerate: int) -> int:
        size = selector.round_size(missing, ctx)
        selector.select(size, ctx)
        selector.admit_round([group(0, 0, 1)] * informative + [group(0, 0, 0)] * degenerate, ctx)
        return size

    assert round_of(8, 3, 9) == 12
    assert selector.max_refills == 3
    assert round_of(5, 1, 11) == 12  # 1.25 · 5 / .25 = 25 is cut: rounds go on
    assert selector.max_refills == 3
    assert round_of(1, 0, 12) == 12  # 1.25 · 1 / (1/12) = 15
    selector.observe([], ctx)
    assert round_of(8, 7, 5) == 12
    assert round_of(1, 0, 2) == 2  # 1.25 · 1 / (7/12) = 2.1: the last round
    assert selector.max_refills == 1


def test_greso_batches_stay_short_and_cost_is_bounded() -> None:
    """All wrong: four rounds of 1.5 B questions, then the refused ones are trained on; few informative: a short batch without any other."""
    run = run_of("greso", pool_size=512)
    run.engine.ability[:] = -100
    run.step()
    assert [len(ids) for _, ids, _ in run.engine.calls] == [24] * 4
    mixed = run_of("greso", pool_size=512)
    mixed.engine.ability[64:] = 100  # one question in eight is informative at times
    batch = mixed.step()
    assert 0 < len(batch.groups) < 16
    assert not any(g.is_degenerate for g in batch.groups)


@pytest.mark.slow
def test_greso_skips_with_the_stated_probability() -> None:
    """A question with two hard visits and p = 1/2 is passed over three times in four; one without history never."""
    kept = 0
    for seed in range(200):
        run = run_of("greso", pool_size=4, groups_per_step=2, seed=seed)
        selector, ctx = run.driver.strategy.selector, run.driver.context("select")
        selector._size_to(ctx)
        first = int(selector.take(1, ctx)[0])
        selector._drawn = 0
        selector._streaks[first] = 2, 0
        kept += first in selector.select(1, ctx).question_ids
    assert kept / 200 == pytest.approx(0.25, abs=0.09)  # three standard deviations


def test_greso_with_nothing_left_to_explore_still_selects() -> None:
    """All questions hard a hundred times: P(skip) = .99 each, and a batch comes back."""
    selector, ctx = selector_and_context("greso")
    selector._size_to(ctx)
    selector._streaks[:] = 100, 0
    assert len(set(selector.select(8, ctx).question_ids.tolist())) == 8
