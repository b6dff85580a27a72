"""Replay of single rollouts, by question, and into fresh groups."""

from __future__ import annotations

import dataclasses
import math
from typing import Any

import numpy as np
import pytest

from harness.registry import strategy_entry
from harness.step.buffers import QuestionBuffer, RolloutBuffer
from harness.strategies.freshper import importance_weights, stratified
from harness.strategy import Correction
from harness.types import Costs
from tests.strategies.made import at_step, group, rollout, run_of


def test_rollout_buffer_keeps_capacity_age_and_advantage() -> None:
    """Rollouts of degenerate groups stay out; the oldest go first; a drawn one is its whole group, trained on itself alone."""
    buffer = RolloutBuffer(6)
    buffer.add([group(0, 1, 0, 0, 0, version=1), group(1, 1, 1, version=1), group(2, 1, 0, version=2), group(3, 0, 1, version=3)])
    assert buffer.policy_versions.tolist() == [1, 1, 2, 2, 3, 3]
    assert buffer.abs_advantages[:2].tolist() == pytest.approx([0.25 / 0.5001] * 2)  # the success of group 0 went first
    buffer.evict_older(3)
    assert len(buffer) == 2
    (drawn,) = buffer.draw(np.array([0.0, -np.inf]), 1, np.random.default_rng(0))
    assert (drawn.question_id, drawn.trained, drawn.size) == (3, (0,), 2)


def test_rollout_buffer_state_round_trip() -> None:
    """Groups with some rollouts left are saved once and come back with the same rollouts."""
    buffer = RolloutBuffer(3)
    buffer.add([group(0, 1, 0), group(1, 1, 0)])
    again = RolloutBuffer(3)
    again.load_state_dict(buffer.state_dict())
    first, second = (b.draw(np.zeros(3), 3, np.random.default_rng(1)) for b in (buffer, again))
    assert [(g.question_id, g.trained) for g in first] == [(g.question_id, g.trained) for g in second]


def test_freshper_priority_by_hand() -> None:
    """Ages 0 and 4 steps of 2 updates at τ = 8: e^(−.6) apart; a failure's priority is 1e-6 of a success's, to the power .6."""
    replay: Any = strategy_entry("freshper").build({"tau": 8.0}).replay_part
    ctx = at_step(run_of("grpo").driver.context("mix"), 6)
    ctx = dataclasses.replace(ctx, costs=Costs(training_steps=5, optimizer_steps=10))
    replay.observe([group(0, 1, 0, version=1), group(1, 1, 0, version=5)], ctx)
    old, _, young, failure = replay._priorities(ctx)
    assert young / old == pytest.approx(math.exp(0.6))
    assert failure / young == pytest.approx(1e-6**0.6, rel=1e-5)


def test_freshper_importance_weights_by_hand() -> None:
    """(P/P_least)^−β: priorities 4 and 1 at β = ½ weigh ½ and 1; β rises from .4 to 1 in ``beta_steps``."""
    assert importance_weights(np.array([4.0, 1.0]), 1.0, 0.5).tolist() == [0.5, 1.0]
    replay: Any = strategy_entry("freshper").build({"beta_steps": 10}).replay_part
    ctx = run_of("grpo").driver.context("mix")
    found = [replay._importance(np.array([4.0, 1.0]), np.array([0, 1]), at_step(ctx, step))[0] for step in (1, 6, 11, 50)]
    assert found == pytest.approx([4**-0.4, 4**-0.7, 0.25, 0.25])


def test_stratified_draws_one_from_each_slice() -> None:
    """Priorities 3 and 1, four slices: three of the first and one of the second, whatever the random numbers."""
    for seed in range(20):
        assert stratified(np.array([3.0, 1.0]), 4, np.random.default_rng(seed)).tolist() == [0, 0, 0, 1]


@pytest.mark.parametrize("name", ["freshper", "random-replay"])
def test_freshper_and_its_control_train_beside_the_fresh_batch(name: str) -> None:
    """16 fresh groups and 64 draws of stored rollouts, each with the advantage of its own group; one drawn twice weighs twice."""
    run = run_of(name, {"beta": 0.0} if name == "freshper" else {}, pool_size=64)
    for _ in range(4):
        batch = run.step()
    stored = [g for g in batch.groups if g.source == "replayed"]
    assert len(batch.groups) - len(stored) == 16
    assert {len(g.trained_rollouts) for g in stored} == {1}
    assert sum(g.loss_weight for g in stored) == pytest.approx(64)
    assert {g.advantage_scope for g in stored} == {"all"}


def test_aper_keeps_the_fresh_batch_whole() -> None:
    """16 fresh groups and a quarter as many stored rollouts, none older than τ_max; large |A| is drawn more often."""
    run = run_of("aper", {"max_age": 2})
    for _ in range(6):
        batch = run.step()
        fresh = [g for g in batch.groups if g.source == "fresh"]
        assert len(fresh) == 16
        stored = [g for g in batch.groups if g.source == "replayed"]
        assert all(batch.step - 1 - g.policy_version <= 2 for g in stored)
    assert sum(len(g.trained_rollouts) for g in stored) == 16


def test_repo_retrieval_rules_by_hand() -> None:
    """Stored rewards 0 1 0 1 1 (oldest first), k = 3: of equal variances the one with more successes, the oldest of equal rewards."""
    ctx = run_of("grpo").driver.context("mix")
    stored = [rollout(0, r) for r in (0, 1, 0, 1, 1)]
    expected = {"all": [0, 1, 2, 3, 4], "recent_k": [2, 3, 4], "highest_k": [1, 3, 4], "max_variance_k": [0, 1, 3]}
    for rule, positions in expected.items():
        replay: Any = strategy_entry("repo").build({"retrieval": rule, "num_replays": 3}).replay_part
        assert replay._retrieve(stored, ctx) == positions
    replay = strategy_entry("repo").build({"retrieval": "random_k", "num_replays": 2}).replay_part
    assert len(set(replay._retrieve(stored, ctx))) == 2


@pytest.mark.parametrize("norm", ["split", "mixed"])
def test_repo_joins_a_question_met_again(norm: str) -> None:
    """From the second visit on stored rollouts join every group; one baseline over both, or one each; each kind weighs as one mean."""
    run = run_of("repo", {"adv_norm": norm, "num_replays": 2, "min_cache_to_replay": 4, "off_policy_loss_coef": 0.5}, pool_size=16)
    run.step()
    batch = run.step()
    fresh, replayed = batch.groups[:16], batch.groups[16:]
    assert len(replayed) == 16
    assert run.driver.costs.replayed_rollouts == 16 * 2
    assert run.driver.strategy.correction.coefficient == 0.5
    assert run.driver.strategy.correction.clip_center == "one"
    assert {len(g.baseline_rewards) for g in batch.groups} == ({6} if norm == "mixed" else {4, 2})
    tokens = [sum(r.num_tokens for g in kind for r in g.trained_rollouts) for kind in (fresh, replayed)]
    assert {round(g.loss_weight * tokens[0], 6) for g in fresh} == {round(g.loss_weight * tokens[1], 6) for g in replayed} == {sum(tokens)}


def test_repo_with_its_defaults_waits_for_sixteen() -> None:
    """Four visits of four rollouts fill the cache; from the fifth on the eight best of the last sixteen come back."""
    run = run_of("repo", pool_size=16)
    for _ in range(4):
        assert len(run.step().groups) == 16
    batch = run.step()
    assert [g.size for g in batch.groups[16:]] == [8] * 16


def test_rlep_adds_two_successes() -> None:
    """A group of a question with stored successes has two more rollouts, both right, both older."""
    run = run_of("rlep", pool_size=16)
    run.engine.ability[:] = 1.0
    run.step()
    for made in run.step().groups:
        extra = made.rollouts[4:]
        assert len(extra) <= 2
        assert all(r.reward == 1 and r.policy_version == 0 for r in extra)
    assert run.driver.costs.replayed_rollouts > 16


def test_arpo_swaps_one_failure_of_a_hopeless_group() -> None:
    """std < .05 and mean < .2: a stored success for the first failure; any other group stays as it is."""
    replay: Any = strategy_entry("arpo").build({}).replay_part
    ctx = at_step(run_of("grpo").driver.context("mix"), 4)
    replay.observe([group(0, 1, 0, version=1), group(1, 0, 0, version=1)], ctx)
    hopeless, mixed, unknown = group(0, 0, 0, 0, version=3), group(0, 1, 0, 0, version=3), group(1, 0, 0, 0, version=3)
    swapped, *others = replay.mix([hopeless, mixed, unknown], ctx)
    assert swapped.trained == (1, 2, 3)
    assert [r.reward for r in swapped.trained_rollouts] == [0, 0, 1]
    assert swapped.replayed_flags == (False, False, True)
    assert others == [mixed, unknown]


@pytest.mark.parametrize("name", ["rlep", "arpo"])
def test_stored_successes_count_as_sampled_now(name: str) -> None:
    """Both repositories compute old log-probs anew and know no weight for the policy that sampled; with it where asked for."""
    assert strategy_entry(name).build({}).correction == Correction(ratio="old")
    assert strategy_entry(name).build({"ratio": "behaviour"}).correction == Correction()


def test_question_buffer_keeps_the_last() -> None:
    """Two per question, oldest first; state comes back."""
    buffer = QuestionBuffer(2)
    buffer.add([rollout(4, r) for r in (0, 1, 0.5)])
    again = QuestionBuffer(2)
    again.load_state_dict(buffer.state_dict())
    assert [r.reward for r in again.of(4)] == [r.reward for r in buffer.of(4)] == [1, 0.5]
    assert again.of(5) == ()


def test_fewer_fresh_is_rr_without_its_replay() -> None:
    """Step by step the same fresh questions and as many fresh rollouts as rr on the same seed, and nothing replayed."""
    ours, rr = run_of("fewer-fresh", pool_size=64), run_of("rr", pool_size=64)
    for _ in range(6):
        a, b = ours.step(), rr.step()
        fresh = [g for g in b.groups if g.source == "fresh"]
        assert [g.question_id for g in a.groups] == [g.question_id for g in fresh]
    assert ours.driver.costs.fresh_rollouts == rr.driver.costs.fresh_rollouts < 6 * 64
    assert ours.driver.costs.replayed_rollouts == 0
