"""Each method's formula against numbers worked out by hand."""

from __future__ import annotations

import itertools
import math
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from harness.registry import BUILTIN_STRATEGIES, strategy_entry
from harness.step.buffers import QuestionBuffer, RolloutBuffer
from harness.strategies.knapsack import allocate, value
from harness.strategies.pods import max_variance_subset
from harness.strategies.value_model import ValueModel
from harness.strategy import StepContext
from harness.testing.simulation import SimulatedRun
from harness.types import FloatArray, PromptGroup, Rollout


def run_of(name: str, config: dict[str, Any] | None = None, **kwargs: Any) -> SimulatedRun:
    return SimulatedRun(strategy_entry(name).build(config or {}), **kwargs)


def selector_and_context(name: str, config: dict[str, Any] | None = None, pool_size: int = 8) -> tuple[Any, StepContext]:
    run = run_of(name, config, pool_size=pool_size, groups_per_step=2)
    return run.driver.strategy.selector, run.driver.context("select")


def rollout(question: int, reward: float, version: int = 0) -> Rollout:
    return Rollout(question, np.array([1]), np.array([2]), np.array([-0.5], np.float32), version, "", reward)


def group(question: int, *rewards: float, version: int = 0) -> PromptGroup:
    return PromptGroup(question, tuple(rollout(question, r, version) for r in rewards))


def at_version(ctx: StepContext, version: int) -> StepContext:
    from dataclasses import replace

    return replace(ctx, policy_version=version, step=version + 1)


# -- filters -----------------------------------------------------------------------------------------------------------


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


def test_greso_by_hand() -> None:
    """z counts degenerate visits in a row; the exploration probabilities move by .01 towards 25 % degenerate groups."""
    selector, ctx = selector_and_context("greso")
    assert selector.round_size(256, ctx) == 384
    selector.observe([group(0, 1, 1), group(1, 0, 0), group(2, 0, 1), group(3, 0, 1)], ctx)
    assert selector._visits[:3].tolist() == [1, 1, 0]
    # one of four easy (aim 1/12) and one of four hard (aim 1/6): both shares are above, both are explored less
    assert selector._explore.tolist() == pytest.approx([0.49, 0.49])
    assert selector.round_size(10, ctx) == math.ceil(1.25 * 10 / 0.5)
    selector.observe([group(0, 1, 1), group(1, 0, 1), group(2, 0, 1), group(3, 0, 1)], ctx)
    assert selector._visits[:2].tolist() == [2, 0]
    assert selector._explore.tolist() == pytest.approx([0.50, 0.48])  # hard, easy


def test_greso_skips_with_the_stated_probability() -> None:
    """A question with z = 2 and p = 1/2 is passed over three times in four; one without history never."""
    kept = 0
    for seed in range(200):
        run = run_of("greso", pool_size=4, groups_per_step=2, seed=seed)
        selector, ctx = run.driver.strategy.selector, run.driver.context("select")
        selector._size_to(ctx)
        first = int(selector.take(1, ctx)[0])
        selector._drawn = 0
        selector._visits[first] = 2
        kept += first in selector.select(1, ctx).question_ids
    assert kept / 200 == pytest.approx(0.25, abs=0.09)  # three standard deviations


def test_greso_with_nothing_left_to_explore_still_selects() -> None:
    """All questions degenerate a hundred times: P(skip) = .99 each, and a batch comes back."""
    selector, ctx = selector_and_context("greso")
    selector._size_to(ctx)
    selector._visits[:] = 100
    assert len(set(selector.select(8, ctx).question_ids.tolist())) == 8


# -- history -----------------------------------------------------------------------------------------------------------


def test_mopps_counts_by_hand() -> None:
    """Beta(1, 1), λ = 1/2: 3 of 4, then 1 of 4 → α = ½(½+½+3)+½+1 = 3.5, β = ½(½+½+1)+½+3 = 4.5. No operator precedence at work."""
    selector, ctx = selector_and_context("mopps", {"decay": 0.5})
    selector.observe([group(5, 1, 1, 1, 0)], ctx)
    assert selector._counts[5].tolist() == [4, 2]
    selector.observe([group(5, 0, 0, 0, 1)], ctx)
    assert selector._counts[5].tolist() == [0.5 * 4 + 0.5 + 1, 0.5 * 2 + 0.5 + 3]
    selector.observe([group(6, 1.0)], ctx)  # a group of one counts as one
    assert selector._counts[6].tolist() == [2, 1]
    assert selector.predict(np.array([6]), ctx).tolist() == pytest.approx([2 / 3])


def test_mopps_takes_the_nearest_draws() -> None:
    """With sharp posteriors at .05, .5 and .95 the ones at .5 are chosen."""
    selector, ctx = selector_and_context("mopps", pool_size=6)
    selector._counts = np.array([[50, 950], [500, 500], [950, 50], [50, 950], [500, 500], [950, 50]], dtype=float)
    assert sorted(selector.select(2, ctx).question_ids) == [1, 4]


def test_history_posterior_by_hand() -> None:
    """Half-life 10, n₀ = 4, π = ½ without a regression: 4 of 4 ten steps ago → a = 2 + 2, b = 2."""
    selector, ctx = selector_and_context("history")
    selector.observe([group(3, 1, 1, 1, 1)], ctx)
    selector._recent = np.empty((0, 2))
    later = at_version(ctx, 10)
    selector._age(later)
    a, b = selector._posterior(np.array([3, 4]), later)
    assert a.tolist() == [4, 2]
    assert b.tolist() == [2, 2]


def test_history_learns_from_the_text() -> None:
    """Long prompts failed, short ones succeeded: an unseen long prompt is expected to fail."""
    selector, ctx = selector_and_context("history", pool_size=3000)
    selector.observe([group(q, *[float(q < 10)] * 4) for q in (1, 2, 3, 4, 1001, 1002, 1003, 1004)], ctx)
    short, long = selector.predict(np.array([5, 2005]), ctx)
    assert short > 0.6
    assert long < 0.4


def test_cdas_by_hand() -> None:
    """D = C = 0: p = 1 expected ½, so D = −½ and C = ½/8; at the second visit D ← D/2 + (σ(C − D) − p)/2."""
    selector, ctx = selector_and_context("cdas")
    selector.observe([group(0, 1, 1)], ctx)
    assert selector._difficulty[0] == -0.5
    assert selector._competence == pytest.approx(0.5 / 8)
    selector.observe([group(0, 1, 0)], ctx)
    second = -0.25 + 0.5 * (1 / (1 + math.exp(-(0.5 / 8 + 0.5))) - 0.5)
    assert selector._difficulty[0] == pytest.approx(second)
    assert selector._competence == pytest.approx(0.5 / 8 - (second + 0.5) / 8)


def test_cdas_selects_around_its_competence() -> None:
    """Two below and two above C = 0, the nearest; a side that is too small is filled from the other."""
    selector, ctx = selector_and_context("cdas")
    selector._difficulty = np.array([-3, -2, -1, 1, 2, 3, 4, 5], dtype=float)
    selector._visits = np.ones(8, np.int64)
    assert sorted(selector.select(4, ctx).question_ids) == [1, 2, 3, 4]
    selector._difficulty = np.array([-3, 1, 2, 3, 4, 5, 6, 7], dtype=float)
    assert sorted(selector.select(4, ctx).question_ids) == [0, 1, 2, 3]


def test_adarft_by_hand() -> None:
    """T = 0, then R̄ = ¾: T = 50·tanh(2·¼) = 23.1; then R̄ = 0: T − 50·tanh(1) is clipped at 0. Labels 0 … 100."""
    selector, ctx = selector_and_context("adarft", pool_size=102)
    assert selector.select(1, ctx).question_ids.tolist() in ([0], [101])  # both are labelled 0, the easiest
    selector.observe([group(0, 1, 1, 1, 0)], ctx)
    assert selector._target == pytest.approx(50 * math.tanh(0.5))
    chosen = int(selector.select(1, ctx).question_ids[0])
    assert chosen * 37 % 101 == 23
    selector.observe([group(0, 0, 0)], ctx)
    assert selector._target == 0


@pytest.mark.parametrize("name", ["adarft", "curriculum", "sec"])
def test_a_label_that_is_not_there_is_named(name: str) -> None:
    """The error lists the keys there are."""
    from harness.errors import UserError

    with pytest.raises(UserError, match=r"no 'grade' in their metadata \(there is: category, difficulty\); set 'label'"):
        run_of(name, {"label": "grade"}).step()


def test_sec_by_hand() -> None:
    """Q ← (1−α)Q + α·mean|A|: 1 of 2 right has |A| = ½/(½√2 + ε); a category not drawn keeps its value."""
    selector, ctx = selector_and_context("sec", {"learning_rate": 0.5})
    size = 0.5 / (math.sqrt(0.5) + 1e-4)
    selector.observe([group(1, 1, 0), group(5, 1, 1)], ctx)  # questions 1 and 5 are of category 1
    assert selector._values.tolist() == pytest.approx([0, 0.5 * size / 2, 0, 0])
    selector.observe([group(2, 1, 1)], ctx)
    assert selector._values[1] == pytest.approx(0.5 * size / 2)


def test_sec_draws_more_from_the_better_category_and_fills_up() -> None:
    """At τ = .2 a category with Q = 1 against 0 is preferred e⁵ = 148 to 1; it has only two questions here, the others fill."""
    selector, ctx = selector_and_context("sec", {"temperature": 0.2})
    selector._sort_pool(ctx)
    selector._values[:] = [0, 1, 0, 0]
    chosen = selector.select(6, ctx).question_ids.tolist()
    assert {1, 5} <= set(chosen)
    assert len(set(chosen)) == 6


def test_sec_fills_up_at_a_temperature_near_zero() -> None:
    """At τ = .001 the best category takes all it has room for, then the next best, although exp(−1000) is 0."""
    selector, ctx = selector_and_context("sec", {"temperature": 0.001})
    selector._sort_pool(ctx)
    selector._values[:] = [0, 1, 0.5, -1]  # two questions each: 1 and 5, 2 and 6 …
    assert sorted(selector.select(4, ctx).question_ids.tolist()) == [1, 2, 5, 6]


def test_prompt_replay_by_hand() -> None:
    """Within .24 – .70, after more than 5 steps of rest, nearest ½ first, then fewer reuses, at most 5 times."""
    selector, ctx = selector_and_context("prompt-replay", pool_size=8)
    selector.observe([group(0, 1, 0), group(1, 1, 1), group(2, 1, 0, 0, 0), group(3, 1, 0), group(4, 1, 1, 1, 0)], ctx)
    assert selector._due(ctx).tolist() == []
    rested = at_version(ctx, 6)  # step 7, seen at step 1
    assert selector._due(rested).tolist() == [0, 3, 2]  # ½ ½ ¼; ¾ and 1 are outside
    selector._reuses[0] = 1
    assert selector._due(rested).tolist() == [3, 0, 2]
    selector._reuses[3] = 5
    assert selector._due(rested).tolist() == [0, 2]
    assert selector.select(4, rested).question_ids[:2].tolist() == [0, 2]


# -- probes ------------------------------------------------------------------------------------------------------------


def test_speed_continues_where_the_screening_disagrees() -> None:
    """Every trained group began with 2 screening rollouts that differ; all rollouts are on the ledger; surplus waits."""
    run = run_of("speed", {"screening": 2})
    for _ in range(3):
        waiting = list(run.driver.strategy.selector._waiting)
        batch = run.step()
        for made in batch.groups:
            assert made.size == 4
            assert made.question_id in waiting or made.rollouts[0].reward != made.rollouts[1].reward
        assert set(waiting) <= {g.question_id for g in batch.groups}
    costs = run.driver.costs
    assert costs.rollouts == run.engine.rollouts_generated


def test_speed_with_nothing_to_continue_ends() -> None:
    """All wrong: screening stops after ten rounds, refused questions fill the batch, their screening is not thrown away."""
    run = run_of("speed", {"screening": 2})
    run.engine.ability[:] = -100
    batch = run.step()
    assert len(batch.groups) == 16
    assert run.driver.costs.fresh_rollouts == 16 * 2
    assert sum(phase == "probe" for phase, _, _ in run.engine.calls) <= 10


def test_lilo_takes_the_most_learnable() -> None:
    """Of 64 probed candidates the 16 with the greatest p̂(1−p̂); rolled out again, or trained on as they are."""
    run = run_of("lilo", {"probe_rollouts": 4})
    batch = run.step()
    probes = [g for g in run.driver._engine.probes if g.source == "probe"]
    least = sorted((g.pass_rate * (1 - g.pass_rate) for g in probes), reverse=True)[15]
    chosen = {g.question_id for g in batch.groups}
    assert all(g.pass_rate * (1 - g.pass_rate) >= least for g in probes if g.question_id in chosen)
    assert (run.driver.costs.probe_rollouts, run.driver.costs.fresh_rollouts) == (256, 64)
    reusing = run_of("lilo", {"probe_rollouts": 4, "train_on_probes": True})
    assert {g.source for g in reusing.step().groups} == {"probe"}
    assert (reusing.driver.costs.probe_rollouts, reusing.driver.costs.fresh_rollouts) == (256, 0)


def test_static_filter_labels_once_and_stays() -> None:
    """Probes at the first step only; every selected question was neither too hard nor too easy for the starting policy."""
    run = run_of("static-filter", {"rollouts": 4, "low": 0.25, "high": 0.75})
    run.step()
    kept = {g.question_id for g in run.driver._engine.probes if 0.25 <= g.pass_rate <= 0.75}
    for _ in range(4):
        assert {g.question_id for g in run.step().groups} <= kept
    assert run.driver.costs.probe_rollouts == 256 * 4


def test_curriculum_goes_from_easy_to_hard() -> None:
    """Three stages of two steps over difficulties 0 … 100: thirds of the pool in order, then the last one for good."""
    run = run_of("curriculum", {"stages": 3, "steps_per_stage": 2}, pool_size=96)
    ranks = np.argsort(np.argsort([i * 37 % 101 for i in range(96)], kind="stable"))
    for step in range(8):
        third = ranks[[g.question_id for g in run.step().groups]] // 32
        assert set(third.tolist()) == {min(step // 2, 2)}


# -- value model -------------------------------------------------------------------------------------------------------


def test_value_model_gradient_is_the_difference_quotient() -> None:
    """Against central differences of ½ mean (V − p)², for every weight."""
    rng = np.random.default_rng(0)
    model = ValueModel(3, 2, rng)
    model._weights = [rng.normal(size=w.shape) for w in model._weights]
    x, rates = rng.normal(size=(5, 3)), rng.random(5)

    def loss() -> float:
        return float(0.5 * np.square(model(x) - rates).mean())

    for weights, gradient in zip(model._weights, model.gradients(x, rates), strict=True):
        for at in np.ndindex(weights.shape):
            before, around = weights[at], []
            for shift in (1e-5, -1e-5):
                weights[at] = before + shift
                around.append(loss())
            weights[at] = before
            assert (around[0] - around[1]) / 2e-5 == pytest.approx(gradient[at], abs=1e-8)


def test_pcl_learns_which_questions_are_hard() -> None:
    """The simulated ability is the first embedding coordinate: after some steps V follows the pass rate."""
    run = run_of("pcl")
    for _ in range(12):
        run.step()
    predicted = run.driver.strategy.predict(np.arange(256), run.driver.context("predict"))
    assert predicted is not None
    assert np.corrcoef(predicted, 1 / (1 + np.exp(-run.engine.ability)))[0, 1] > 0.8


# -- allocation --------------------------------------------------------------------------------------------------------


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


# -- replay ------------------------------------------------------------------------------------------------------------


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
    """|A| equal, ages 0 and 4 at τ = 4: odds e to 1, so the younger one is drawn with probability e/(1+e) = .731."""
    replay: Any = strategy_entry("freshper").build({}).replay_part
    run = run_of("grpo")
    ctx = at_version(run.driver.context("replay"), 5)
    replay.observe([group(0, 1, 0, version=1), group(1, 1, 0, version=5)], ctx)
    log_odds = replay._log_priorities(ctx)
    assert log_odds[2] - log_odds[0] == pytest.approx(1.0)
    young = sum(replay._buffer.draw(log_odds[[0, 1, 2, 3]], 1, np.random.default_rng(i))[0].question_id for i in range(400))
    assert young / 400 == pytest.approx(math.e / (1 + math.e), abs=0.07)


def test_freshper_and_its_control_keep_the_batch_size() -> None:
    """Half the rollouts fresh, half stored, 64 in all; each stored one carries the advantage of its own group."""
    for name in ("freshper", "random-replay"):
        run = run_of(name, pool_size=64)
        for _ in range(4):
            batch = run.step()
        assert sum(len(g.trained_rollouts) for g in batch.groups) == 64
        stored = [g for g in batch.groups if g.source == "replayed"]
        assert sum(len(g.trained_rollouts) for g in stored) == 32
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
    """Stored rewards 0 1 0 1 1 (oldest first), k = 2."""
    ctx = run_of("grpo").driver.context("mix")
    stored = [rollout(0, r) for r in (0, 1, 0, 1, 1)]
    expected = {"all": [0, 1, 2, 3, 4], "recent_k": [3, 4], "highest_k": [1, 3], "max_variance_k": [0, 4]}
    for rule, positions in expected.items():
        replay: Any = strategy_entry("repo").build({"retrieval": rule, "num_replays": 2}).replay_part
        assert replay._retrieve(stored, ctx) == positions
    replay = strategy_entry("repo").build({"retrieval": "random_k", "num_replays": 2}).replay_part
    assert len(set(replay._retrieve(stored, ctx))) == 2


@pytest.mark.parametrize("norm", ["split", "mixed"])
def test_repo_joins_a_question_met_again(norm: str) -> None:
    """From the second visit on every group comes with stored rollouts: as a group of its own, or inside the fresh one."""
    run = run_of("repo", {"adv_norm": norm, "num_replays": 2, "min_cache_to_replay": 4, "off_policy_loss_coef": 0.5}, pool_size=16)
    run.step()
    batch = run.step()
    assert len(batch.groups) == (32 if norm == "split" else 16)
    assert run.driver.costs.replayed_rollouts == 16 * 2
    assert run.driver.strategy.correction.coefficient == 0.5


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
    """std < .05 and mean < .2: one stored success for one failure; any other group stays as it is."""
    replay: Any = strategy_entry("arpo").build({}).replay_part
    ctx = at_version(run_of("grpo").driver.context("mix"), 3)
    replay.observe([group(0, 1, 0, version=1), group(1, 0, 0, version=1)], ctx)
    hopeless, mixed, unknown = group(0, 0, 0, 0, version=3), group(0, 1, 0, 0, version=3), group(1, 0, 0, 0, version=3)
    swapped, *others = replay.mix([hopeless, mixed, unknown], ctx)
    assert [r.reward for r in swapped.trained_rollouts] == [0, 0, 1]
    assert swapped.replayed_flags == (False, False, True)
    assert others == [mixed, unknown]


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


# -- every strategy ----------------------------------------------------------------------------------------------------

EVERY = [*sorted(set(BUILTIN_STRATEGIES) - {"dots", "dots-rr"}), "mopps+rr", "speed+aper", "pods+rlep", "greso+repo"]


@settings(max_examples=60, deadline=None)
@given(
    name=st.sampled_from(EVERY),
    seed=st.integers(0, 1000),
    groups=st.integers(1, 6),
    size=st.integers(2, 5),
    spare=st.integers(0, 20),
    shift=st.sampled_from([-100.0, -2.0, 0.0, 2.0, 100.0]),
    stop=st.integers(1, 4),
)
def test_any_strategy_anywhere(name: str, seed: int, groups: int, size: int, spare: int, shift: float, stop: int) -> None:
    """Legal batches (the driver refuses others), honest books, and the same next batches after a round trip of the state, for any
    batch shape, pool size and difficulty, all-degenerate ones included."""
    made = [run_of(name, None, pool_size=groups + spare, seed=seed, groups_per_step=groups, group_size=size) for _ in range(2)]
    for run in made:
        run.engine.ability += shift
    whole = [_shape(made[0].step()) for _ in range(6)]
    stopped = made[1]
    for _ in range(stop):
        stopped.step()
    resumed = run_of(name, None, pool_size=groups + spare, seed=seed, groups_per_step=groups, group_size=size)
    resumed.engine.ability += shift
    resumed.driver.load_state_dict(stopped.driver.state_dict())
    assert [_shape(resumed.step()) for _ in range(6 - stop)] == whole[stop:]
    costs = made[0].driver.costs
    assert costs.rollouts + costs.oracle_rollouts == made[0].engine.rollouts_generated


def _shape(batch: Any) -> list[Any]:
    return [(g.question_id, g.source, g.trained, [(r.policy_version, r.reward) for r in g.rollouts]) for g in batch.groups]
