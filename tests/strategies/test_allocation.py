"""Rollouts where they are worth it, pilots first, posteriors, and batches out of a buffer: formulas by hand."""

from __future__ import annotations

import itertools
import math
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from harness.registry import strategy_entry
from harness.strategies.reinforce_ada import balanced
from harness.strategies.vip import allocate, variance
from tests.strategies.made import group, run_of, selector_and_context

# -- VIP -----------------------------------------------------------------------------------------------------------------------


def test_vip_variances_by_hand() -> None:
    """Four rollouts: 3/16 for GRPO, 1/3 for RLOO."""
    assert variance(4, "grpo") == 3 / 16
    assert variance(4, "rloo") == 1 / 3
    assert math.isinf(variance(1, "rloo"))


def test_vip_allocation_of_the_authors_example() -> None:
    """64 rollouts, 4 to 12 each, pass rates .01 to .99: the symmetric rule without the tilt of the repository, which favours hard ones."""
    rates = np.array([0.01, 0.1, 0.2, 0.4, 0.5, 0.8, 0.95, 0.99])
    sizes = allocate(rates, 64, 4, 12)
    assert sizes.sum() == 64
    assert sizes[0] == sizes[7] == 4
    assert sizes[3] == sizes[4] == 12
    assert sizes[2] == sizes[5]


@settings(max_examples=40, deadline=None)
@given(
    rates=st.lists(st.sampled_from([0.0, 0.1, 0.3, 0.5, 0.9, 1.0]), min_size=1, max_size=4),
    spare=st.integers(0, 6),
    estimator=st.sampled_from(["grpo", "rloo"]),
)
def test_vip_allocation_is_optimal(rates: list[float], spare: int, estimator: Any) -> None:
    """No other allocation within the bounds has a smaller variance."""
    least, most = 3, 6
    budget = min(len(rates) * least + spare, len(rates) * most)
    sizes = allocate(np.array(rates), budget, least, most, estimator)

    def cost(candidate: Any) -> float:
        return sum(p * (1 - p) * variance(n, estimator) for p, n in zip(rates, candidate, strict=True))

    assert sizes.sum() == budget
    assert sizes.min() >= least
    assert sizes.max() <= most
    others = (c for c in itertools.product(range(least, most + 1), repeat=len(rates)) if sum(c) == budget)
    assert cost(sizes.tolist()) <= min(cost(c) for c in others) + 1e-12


def test_the_gaussian_process_learns_from_neighbours() -> None:
    """Two clusters: one question of each observed, the others follow their own; the observed ones have their own rate."""
    selector, ctx = selector_and_context("vip", {"length_scale": 0.3}, pool_size=6)
    angles = np.array([0.0, 0.05, 0.1, 1.5, 1.55, 1.6])
    selector._mean = np.zeros(6)
    selector._embeddings = np.column_stack([np.cos(angles), np.sin(angles)])
    selector.observe([group(1, 1, 1, 1, 1, 0, 0, 0, 0, 0, 0), group(4, 1, 1, 1, 1, 1, 1, 1, 1, 1, 0)], ctx)
    rates = selector.predict(np.arange(6), ctx)
    assert rates[1] == pytest.approx(0.4)
    assert rates[4] == pytest.approx(0.9) or rates[4] == pytest.approx(1 - 0.5 / ctx.group_size)
    near = math.exp(-(2 - 2 * math.cos(0.05)) / (2 * 0.3**2))  # kernel of neighbours; the clusters do not reach each other
    assert rates[0] == pytest.approx(1 / (1 + math.exp(-near * math.log(0.4 / 0.6))), abs=1e-3)


def test_vip_spends_the_budget_and_no_more() -> None:
    """B·G rollouts a step, between half and twice the group size; more where the pass rate is uncertain."""
    run = run_of("vip", pool_size=32, group_size=8)
    for _ in range(4):
        batch = run.step()
        sizes = [g.size for g in batch.groups]
        assert sum(sizes) == 16 * 8
        assert min(sizes) >= 4
        assert max(sizes) <= 16
    assert len(set(sizes)) > 1


# -- Reinforce-Ada -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("rewards", "kept"),
    [
        ([1, 1, 1, 0, 0, 0], [0, 1, 3, 4]),
        ([0, 0, 0, 0, 1, 0], [0, 1, 2, 4]),  # one right: three wrong
        ([1, 1, 1, 1, 1, 0], [0, 1, 2, 5]),
        ([0, 0, 0, 0, 0, 0], [0, 1, 2, 3]),
        ([0.7, 0.8, 0, 1], [0, 1, 2, 3]),
    ],
)
def test_balanced_by_hand(rewards: list[float], kept: list[int]) -> None:
    """The first two right and the first two wrong of six; each kind fills what the other lacks; 0.7 itself is wrong."""
    assert balanced(np.array(rewards, dtype=float), 4, 0.7) == kept


def test_reinforce_ada_goes_on_with_what_is_unfinished() -> None:
    """All wrong: four rounds of eight; a question with 2 of 4 right at once: one round. Trained on: G of them, the baseline over all."""
    run = run_of("reinforce-ada", {"round_rollouts": 4})
    run.engine.ability[:] = -100.0
    batch = run.step()
    assert [sizes[0] for _, _, sizes in run.engine.calls] == [4] * 4
    assert {g.size for g in batch.groups} == {16}
    assert {len(g.trained_rollouts) for g in batch.groups} == {4}
    assert {g.advantage_scope for g in batch.groups} == {"all"}
    assert run.driver.costs.probe_rollouts == 16 * 16
    mixed = run_of("reinforce-ada", {"round_rollouts": 4})
    batch = mixed.step()
    for made in batch.groups:
        right = int(made.rewards.sum())
        finished_early = made.size < 16
        assert not finished_early or (right >= 2 and made.size - right >= 2)
    assert len({g.size for g in batch.groups}) > 1


def test_reinforce_ada_positive_stops_at_the_first_success() -> None:
    """A round with one right is the last one."""
    run = run_of("reinforce-ada", {"exit": "positive", "round_rollouts": 4})
    for made in run.step().groups:
        before = made.rewards[: made.size - 4]
        assert not before.any()


# -- Pilot-Commit --------------------------------------------------------------------------------------------------------------


def test_pilots_that_pay_are_continued() -> None:
    """Of pilots of four: those with one to three right become groups of sixteen, the pilot first; all others cost their pilots."""
    run = run_of("pilot-commit", pool_size=512, group_size=16, groups_per_step=4)
    batch = run.step()
    pilots = {q for phase, ids, _ in run.engine.calls if phase == "probe" for q in ids}
    assert len(pilots) >= 12
    for made in batch.groups:
        assert made.size == 16
        assert 0.125 <= made.rewards[:4].mean() <= 0.75
    assert run.driver.costs.probe_rollouts == 4 * len(pilots)
    assert run.driver.costs.fresh_rollouts == 4 * 12


def test_solved_questions_are_evicted_and_hopeless_ones_are_not() -> None:
    """Every pilot right: nothing is left to draw but what fills the batch. Every pilot wrong: the next epoch tries again."""
    solved = run_of("pilot-commit", pool_size=16, group_size=16, groups_per_step=4)
    solved.engine.ability[:] = 100.0
    assert len(solved.step().groups) == 4
    assert solved.driver.strategy.selector._evicted.all()  # type: ignore[attr-defined]
    assert len(solved.step().groups) == 4
    hopeless = run_of("pilot-commit", pool_size=16, group_size=16, groups_per_step=4)
    hopeless.engine.ability[:] = -100.0
    for _ in range(2):
        assert len(hopeless.step().groups) == 4
    assert not hopeless.driver.strategy.selector._evicted.any()  # type: ignore[attr-defined]


# -- CurES -----------------------------------------------------------------------------------------------------------------------


@pytest.mark.slow
def test_cures_posterior_and_law_by_hand() -> None:
    """Beta(1 + 3, 1 + 1): p̂ = 2/3. Two questions, p̂ = 1/2 and 1/26: odds exp((1/2 − 5/26)/0.1) = 21.7 to one."""
    selector, ctx = selector_and_context("cures", {"temperature": 0.1}, pool_size=2)
    selector.observe([group(0, 1, 1, 1, 0)], ctx)
    assert selector.predict(np.array([0]), ctx).tolist() == pytest.approx([2 / 3])
    first = 0
    for seed in range(400):
        selector, ctx = selector_and_context("cures", {"temperature": 0.1}, pool_size=2, seed=seed)
        selector._counts = np.array([[0.0, 0.0], [0.0, 24.0]])
        first += int(selector.select(1, ctx).question_ids[0] == 0)
    odds = math.exp((0.5 - 5 / 26) / 0.1)
    assert first / 400 == pytest.approx(odds / (1 + odds), abs=0.035)  # three standard deviations


@pytest.mark.slow
def test_cures_code_rule_is_nearly_uniform() -> None:
    """Its temperature is 100·(successes + 1): the same two questions have odds of exp(0.0031) to one."""
    first = 0
    for seed in range(400):
        selector, ctx = selector_and_context("cures", {"rule": "code"}, pool_size=2, seed=seed)
        selector._counts = np.array([[0.0, 0.0], [0.0, 24.0]])
        first += int(selector.select(1, ctx).question_ids[0] == 0)
    assert first / 400 == pytest.approx(0.5, abs=0.075)


# -- FAIR replay -----------------------------------------------------------------------------------------------------------------


@pytest.mark.slow
def test_fair_replay_draws_uniformly_from_the_last_groups() -> None:
    """N = 8, B = 4, R = 2: after two steps 4 groups are stored and 2 come; each of the six is trained on in 4/6 of 600 draws (± 4 sd)."""
    counts = np.zeros(6)
    for seed in range(600):
        run = run_of("fair-replay", {"capacity": 8}, groups_per_step=4, seed=seed)
        replay: Any = run.driver.strategy.replay_part
        ctx = run.driver.context("mix")
        replay.observe([group(q, 1, 0, version=0) for q in range(4)], ctx)
        assert replay.num_fresh(4, [], ctx) == 2
        drawn = replay.mix([group(4, 1, 0, version=1), group(5, 1, 0, version=1)], ctx)
        assert len(drawn) == 4
        assert {g.question_id: g.source for g in drawn}.items() <= {**dict.fromkeys(range(4), "replayed"), 4: "fresh", 5: "fresh"}.items()
        counts[[g.question_id for g in drawn]] += 1
    assert np.abs(counts - 400).max() < 4 * math.sqrt(600 * 2 / 9)


def test_fair_replay_keeps_n_groups_and_whole_batches() -> None:
    """The first step rolls out the batch, later ones half of it; nothing older than the last N groups is trained on."""
    run = run_of("fair-replay", {"capacity": 24}, pool_size=512)
    fresh_counts = []
    for _ in range(6):
        batch = run.step()
        fresh_counts.append(len(batch.fresh))
        assert len(batch.groups) == 16
        assert all(batch.step - 1 - g.policy_version <= 3 for g in batch.groups)  # 24 groups are at most three steps of 8
    assert fresh_counts == [16, 8, 8, 8, 8, 8]
    assert strategy_entry("fair-replay").requires == {"behaviour_log_probs"}
