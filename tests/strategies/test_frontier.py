"""``frontier``: its formulas by hand, and what must hold of its passes, its replay and its switched-off parts."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace
from typing import Any, get_args

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from harness.numerics.functions import expected_signal
from harness.strategies.frontier import informative_probability, thinned
from harness.strategies.frontier_prior import QuestionPrior, text_row
from harness.strategies.frontier_replay import FrontierConfig, Off, stored_places
from harness.strategy import Correction
from harness.types import PromptGroup
from tests.strategies.made import at_step, group, run_of, selector_and_context

SURE, HOPELESS = (100.0, 100.0), (0.0, 1000.0)


def believing(selector: Any, counts: tuple[float, float], size: int) -> None:
    """Let the selector have seen so many right and wrong answers of every question."""
    selector._counts, selector._visited = np.tile(np.array(counts), (size, 1)), np.zeros(size, dtype=np.int64)


def named(serial: int, question: int, *rewards: float, version: int = 0) -> PromptGroup:
    """A fresh group whose rollouts have names of their own, as those of a run have."""
    plain = group(question, *rewards, version=version)
    return replace(plain, rollouts=tuple(replace(r, uid=f"{serial}.{i}") for i, r in enumerate(plain.rollouts)))


# -- the selector --------------------------------------------------------------------------------------------------------


def test_signal_and_probability_by_hand() -> None:
    """Beta(1, 1): E[p(1−p)] = 1/6, E[p²] = 1/3, so 1/3 of groups of two differ and 7/9 of groups of eight. Beta(4, 2): 8/42."""
    a, b = np.array([1.0, 4.0]), np.array([1.0, 2.0])
    assert expected_signal(a, b).tolist() == pytest.approx([1 / 6, 4 / 21])
    assert informative_probability(a, b, 2).tolist() == pytest.approx([1 / 3, 1 - 20 / 42 - 6 / 42])
    assert informative_probability(a[:1], b[:1], 8).tolist() == pytest.approx([7 / 9])


def test_posterior_by_hand() -> None:
    """π = ½ counts one rollout. 4 of 4 now: Beta(4.5, .5). 80 steps later it counts half, and half of that after 0 of 4."""
    selector, ctx = selector_and_context("frontier")
    selector.observe([group(3, 1, 1, 1, 1)], ctx)
    selector._prior._recent = np.empty((0, 2))
    assert np.ravel(selector._posterior(np.array([3, 4]), ctx)).tolist() == [4.5, 0.5, 0.5, 0.5]
    later = at_step(ctx, 81)
    assert np.ravel(selector._posterior(np.array([3]), later)).tolist() == [2.5, 0.5]
    selector.observe([group(3, 0, 0, 0, 0)], later)
    assert selector._counts[3].tolist() == [1, 4]


def test_thinning_by_hand() -> None:
    """P = ½ and more is always kept, P = 0 never: 0 and 2 of four, three were considered. Too few: those passed over, greatest P first."""
    rng = np.random.default_rng(0)
    chosen, considered = thinned(np.array([0.5, 0.0, 0.9, 0.7]), 2, rng)
    assert (chosen.tolist(), considered) == ([0, 2], 3)
    chosen, considered = thinned(np.array([0.0, 1e-9, 0.6, 1e-8]), 3, rng)
    assert (chosen.tolist(), considered) == ([2, 3, 1], 4)


def test_thinning_keeps_in_proportion() -> None:
    """P = ¼ is kept half of the time: of 4,000 questions 2,000, within four standard deviations."""
    half = thinned(np.full(4000, 0.25), 4000, np.random.default_rng(1))[0]
    kept = int(np.argmax(np.diff(half) < 0)) + 1  # those passed over begin again at a lower position
    assert abs(kept - 2000) < 4 * np.sqrt(1000)


def test_a_pass_goes_on_after_what_was_considered() -> None:
    """Surely informative questions are taken as plain GRPO takes them; of hopeless ones 4·2 are considered at a step."""
    selector, ctx = selector_and_context("frontier", pool_size=32, group_size=8)
    plain, same = selector_and_context("grpo", pool_size=32, group_size=8)
    believing(selector, SURE, 32)
    for _ in range(3):
        assert selector.select(2, ctx).question_ids.tolist() == plain.select(2, same).question_ids.tolist()
    believing(selector, HOPELESS, 32)
    assert selector.select(2, ctx).info["candidates"] == 8
    assert selector._drawn == 6 + 8


@settings(max_examples=25, deadline=None)
@given(seed=st.integers(0, 1000), groups=st.integers(1, 4), pool=st.integers(16, 40), right=st.integers(0, 8))
def test_no_question_twice_in_a_pass(seed: int, groups: int, pool: int, right: int) -> None:
    """Whatever is believed, a pass rolls out every question once at most, so that no draw can concentrate on a few."""
    selector, ctx = selector_and_context("frontier", {"without": ["retirement"]}, pool_size=pool, seed=seed)
    believing(selector, (right * 5.0, (8 - right) * 5.0), pool)
    seen: list[int] = []
    while selector._drawn + 4 * groups <= pool:
        seen += selector.select(groups, ctx).question_ids.tolist()
    assert len(set(seen)) == len(seen)


def test_mastered_questions_sit_out_until_half_has_faded() -> None:
    """8 of 8 at step 1 counts 4 rollouts after 80 steps, and less after that; 7 of 8 is no mastery."""
    selector, ctx = selector_and_context("frontier", pool_size=8)
    selector.observe([group(1, *[1] * 8), group(2, *[1] * 7, 0)], ctx)
    assert np.flatnonzero(selector._mastered(at_step(ctx, 81))).tolist() == [1]
    assert not selector._mastered(at_step(ctx, 82)).any()
    assert 1 not in selector.select(4, ctx).question_ids
    believing(selector, (100, 0), 8)  # all mastered: then they are trained on all the same
    assert len(selector.select(4, ctx).question_ids) == 4


def test_switched_off_parts() -> None:
    """No history: what was seen does not count. No coverage: no pass. No representativeness: the best of the next 4F, not a thinned mix."""
    selector, ctx = selector_and_context("frontier", {"without": ["history"]})
    selector.observe([group(3, 1, 1, 1, 1)], ctx)
    selector._prior._recent = np.empty((0, 2))
    assert np.ravel(selector._posterior(np.array([3]), ctx)).tolist() == [0.5, 0.5]
    selector, ctx = selector_and_context("frontier", {"without": ["coverage"]}, pool_size=8)
    believing(selector, SURE, 8)
    drawn = [tuple(selector.select(2, at_step(ctx, step)).question_ids) for step in range(1, 5)]
    assert selector._drawn == 0
    assert all(len(set(pair)) == 2 for pair in drawn)
    selector, ctx = selector_and_context("frontier", {"without": ["representativeness", "retirement"]}, pool_size=8)
    believing(selector, HOPELESS, 8)
    selector._counts[5], selector._counts[2], selector._counts[7] = (4, 4), (2, 6), (300, 0)
    assert selector.select(2, ctx).question_ids.tolist() == [5, 2]


# -- the prior -----------------------------------------------------------------------------------------------------------


def test_prior_learns_from_the_text() -> None:
    """Long prompts failed, short ones succeeded: unseen ones are expected to do the same; without features all have the mean."""
    selector, ctx = selector_and_context("frontier", pool_size=3000)
    groups = [group(q, *[float(q < 10)] * 4) for q in (1, 2, 3, 4, 1001, 1002, 1003, 1004)]
    selector.observe(groups, ctx)
    short, long = selector.predict(np.array([5, 2005]), ctx)
    assert short > 0.6
    assert long < 0.4
    plain, ctx = selector_and_context("frontier", {"features": "none"}, pool_size=3000)
    assert plain.predict(np.array([5]), ctx) is None
    plain.observe(groups, ctx)
    assert plain.predict(np.array([5, 2005]), ctx).tolist() == [0.5, 0.5]


def test_text_row_counts_pairs() -> None:
    """``^aa$`` has the pairs ^a, aa, a$: three counts of one, whatever bucket they fall into (none coincide here)."""
    assert np.square(text_row("aa")[-64:]).sum() == pytest.approx(3)


def test_embeddings_are_asked_for_only_where_they_are_used() -> None:
    """The setting decides what a backend must be able to do; the questions' text costs nothing."""
    assert run_of("frontier").driver.strategy.requires == {"behaviour_log_probs"}
    run = run_of("frontier", {"features": "embeddings"}, pool_size=64)
    assert run.driver.strategy.requires == {"behaviour_log_probs", "embed"}
    for _ in range(3):
        run.step()


def test_a_trained_predictor_takes_the_place_of_the_features(tmp_path: Any) -> None:
    """Its references are the run's own groups: no rollout is spent on any."""
    from harness.testing.simulation import untrained_predictor

    run = run_of("frontier", {"predictor": str(untrained_predictor(tmp_path))}, pool_size=64)
    for _ in range(3):
        run.step()
    assert run.driver.costs.probe_rollouts == 0


def test_precision_of_the_weights_by_hand() -> None:
    """A count's weight has precision 1, a pair's 30; of 48 embedding dimensions each has 48/24."""
    ridge = QuestionPrior("text", None)._ridge(88)
    assert (ridge[:24] == 1).all()
    assert (ridge[24:] == 30).all()
    assert (QuestionPrior("embeddings", None)._ridge(48) == 2).all()


# -- the replay ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("groups", "price", "uses"),
    # ln 2/ln 5 = .43; ln 10/ln 5 = 1.43; ln 2/ln 2 = 1; ln(2/3) < 0; ln 10/ln 3 = 2.10; ln 2/ln 1.5 = 1.71; ln 2/ln 1.25 = 3.11;
    # ln 10/ln 1.125 = 19.5, bounded
    [(2, 1, 1), (2, 5, 2), (8, 1, 2), (8, 1 / 3, 1), (4, 5, 3), (16, 1, 2), (32, 1, 4), (32, 1 / 3, 1), (64, 5, 4)],
)
def test_uses_by_hand(groups: int, price: float, uses: int) -> None:
    """1 + ⌊ln(2μ)/ln(1+8/B)⌋, within 1 to 4: small batches and cheap rollouts use a group less often; a setting overrules it."""
    assert FrontierConfig(generated_price=price).most_uses(groups) == uses
    assert FrontierConfig(generated_price=price, uses=2).most_uses(groups) == 2
    assert FrontierConfig(generated_price=price, without=("replay",)).most_uses(groups) == 1


@pytest.mark.parametrize(
    ("groups", "uses", "places"),
    [(2, 2, [0, 1, 1]), (8, 3, [4, 4, 4]), (5, 4, [3, 3, 3]), (2, 1, [0, 0, 0]), (2, 4, [1, 1, 1]), (1, 4, [0, 0, 0])],
)
def test_stored_places_by_hand(groups: int, uses: int, places: list[int]) -> None:
    """B(u−1)/(u+1) of the places: 2·1/3 are two in three steps, 8·2/4 = 4, 5·3/5 = 3; 2·3/5 = 1.2, but one place stays fresh."""
    assert [stored_places(groups, uses, step) for step in (1, 2, 3)] == places


def test_replay_by_hand() -> None:
    """Eight places, two uses: 8/3 are stored, so 2, 3, 3. A group comes back once, and not when it is more than 32 steps old."""
    run = run_of("frontier", {"uses": 2}, groups_per_step=8, pool_size=64)
    replay, ctx = run.driver.strategy.replay_part, run.driver.context("replay")
    replay.observe([named(q, q, 1, 0, version=q // 4) for q in range(8)], ctx)
    drawn = [g.question_id for step in (1, 2, 3, 4) for g in replay.replay(8, at_step(ctx, step))]
    assert len(drawn) == 8
    assert sorted(drawn) == list(range(8))
    replay.observe([named(8 + q, q, 1, 0, version=q // 4) for q in range(8)], ctx)
    assert {g.policy_version for g in replay.replay(8, at_step(ctx, 34))} == {1}
    assert len(replay._buffer) == len(replay._uses) == 4


def test_uses_survive_a_checkpoint() -> None:
    """A group that was used up before is not drawn after."""
    run = run_of("frontier", {"uses": 2}, groups_per_step=8, pool_size=64)
    replay, ctx = run.driver.strategy.replay_part, run.driver.context("replay")
    replay.observe([named(q, q, 1, 0) for q in range(4)], ctx)
    first = {g.question_id for g in replay.replay(8, at_step(ctx, 2))}
    other = run_of("frontier", {"uses": 2}, groups_per_step=8, pool_size=64).driver.strategy.replay_part
    other.load_state_dict(replay.state_dict())
    assert {g.question_id for g in other.replay(8, at_step(ctx, 3))} == set(range(4)) - first


def test_no_group_is_used_more_often_than_the_bound() -> None:
    """Through a whole run: every rollout is in at most u batches; at batches of eight and μ = 1, u = 2."""
    run = run_of("frontier", groups_per_step=8, group_size=4, pool_size=64)
    seen: Counter[str] = Counter()
    for _ in range(60):
        seen.update(g.rollouts[0].uid for g in run.step().groups)
    assert max(seen.values()) == 2


def test_the_clip_is_around_the_behaviour_policy() -> None:
    """π/μ is kept within 1 ± ε; without that, version 1's weights: π_old/μ, capped at 2, with the clip around π/π_old."""
    assert run_of("frontier").driver.strategy.correction == Correction("one")
    assert run_of("frontier", {"without": ["clip"]}).driver.strategy.correction == Correction("old", 2.0)


def test_groups_of_a_mastered_question_are_forgotten() -> None:
    """All right at its next visit: its stored group goes; another question's stays."""
    run = run_of("frontier", pool_size=16, groups_per_step=4)
    replay, ctx = run.driver.strategy.replay_part, run.driver.context("observe")
    replay.observe([named(1, 1, 1, 0), named(2, 2, 1, 0)], ctx)
    replay.observe([named(3, 1, 1, 1)], ctx)
    assert [g.question_id for g in replay._buffer] == [2]


@pytest.mark.parametrize("config", [{"generated_price": 1 / 3}, {"without": ["replay"]}, {"uses": 1}])
def test_nothing_is_replayed_where_it_does_not_pay(config: dict[str, Any]) -> None:
    """Batches of two at μ = ⅓, one use, or replay switched off: whole fresh batches."""
    run = run_of("frontier", config, groups_per_step=2, group_size=4, pool_size=64)
    for _ in range(6):
        assert all(g.source == "fresh" for g in run.step().groups)
    costs = run.driver.costs
    assert (costs.fresh_rollouts, costs.replayed_rollouts, costs.filtered_rollouts) == (6 * 8, 0, 0)


@pytest.mark.parametrize("off", get_args(Off))
def test_every_part_can_be_switched_off(off: str) -> None:
    """The driver accepts every batch, and the books are right."""
    run = run_of("frontier", {"without": [off]}, groups_per_step=6, pool_size=40)
    for _ in range(12):
        run.step()
    assert run.driver.costs.rollouts == run.engine.rollouts_generated
