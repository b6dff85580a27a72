"""``frontier``: its formulas by hand, and what must hold of its passes, its replay and its switched-off parts."""

from __future__ import annotations

from typing import Any, get_args

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from harness.strategies.frontier import expected_signal, informative_probability
from harness.strategies.frontier_prior import text_row
from harness.strategies.frontier_replay import FrontierConfig, Off
from tests.strategies.made import at_step, group, run_of, selector_and_context

SURE, HOPELESS = (100.0, 100.0), (0.0, 1000.0)


def believing(selector: Any, counts: tuple[float, float], size: int) -> None:
    """Let the selector have seen so many right and wrong answers of every question."""
    selector._counts, selector._visited = np.tile(np.array(counts), (size, 1)), np.zeros(size, dtype=np.int64)


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


def test_candidates_are_as_many_as_hold_the_batch() -> None:
    """Surely informative questions: (1 + ⅜)·2 = 2.75, so three; all fresh: 2·2, so four. Hopeless ones: at most 4·2, after those."""
    selector, ctx = selector_and_context("frontier", pool_size=32, group_size=8)
    believing(selector, SURE, 32)
    first = selector._candidates(2, ctx)
    assert len(first) == 3
    cheap, other = selector_and_context("frontier", {"generated_price": 1 / 3}, pool_size=32, group_size=8)
    believing(cheap, SURE, 32)
    assert len(cheap._candidates(2, other)) == 4
    believing(selector, HOPELESS, 32)
    second = selector._candidates(2, ctx)
    assert len(second) == 8
    assert not set(first.tolist()) & set(second.tolist())


def test_the_best_of_the_candidates_are_chosen() -> None:
    """Of eight candidates those at ½ and ¼; the hopeless and the solved are left out."""
    selector, ctx = selector_and_context("frontier", {"without": ["retirement"]}, pool_size=8)
    believing(selector, HOPELESS, 8)
    selector._counts[5], selector._counts[2], selector._counts[7] = (4, 4), (2, 6), (300, 0)
    assert selector.select(2, ctx).question_ids.tolist() == [5, 2]


@settings(max_examples=25, deadline=None)
@given(seed=st.integers(0, 1000), groups=st.integers(1, 4), pool=st.integers(16, 40), right=st.integers(0, 8))
def test_no_question_twice_in_a_pass(seed: int, groups: int, pool: int, right: int) -> None:
    """Whatever is believed, a pass considers every question once, so that no draw can concentrate on a few."""
    selector, ctx = selector_and_context("frontier", {"without": ["retirement"]}, pool_size=pool, seed=seed)
    believing(selector, (right * 5.0, (8 - right) * 5.0), pool)
    seen: list[int] = []
    while len(seen) + 4 * groups <= pool:
        seen += selector._candidates(groups, ctx).tolist()
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
    """No history: what was seen of a question does not count. No coverage: the whole pool is a candidate every time."""
    selector, ctx = selector_and_context("frontier", {"without": ["history"]})
    selector.observe([group(3, 1, 1, 1, 1)], ctx)
    selector._prior._recent = np.empty((0, 2))
    assert np.ravel(selector._posterior(np.array([3]), ctx)).tolist() == [0.5, 0.5]
    selector, ctx = selector_and_context("frontier", {"without": ["coverage"]}, pool_size=64)
    selector._size_to(ctx)
    assert sorted(selector._candidates(2, ctx)) == list(range(64))
    selector, ctx = selector_and_context("frontier", {"without": ["representativeness"]}, pool_size=64)
    selector.observe([group(3, 1, 0)], ctx)  # rests for 64/(4·2) = 8 steps
    assert 3 not in selector._candidates(2, at_step(ctx, 9))
    assert 3 in selector._candidates(2, at_step(ctx, 10))


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


# -- the replay ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("price", "share"), [(1, 0.375), (1 / 3, 1), (0.75, 0.5), (5, 0.25)])
def test_fresh_share_by_hand(price: float, share: float) -> None:
    """(¼ + ⅛)/μ within [¼, 1]."""
    assert FrontierConfig(generated_price=price).fresh_share == pytest.approx(share)


def test_replay_by_hand() -> None:
    """Of 8 places 3 are fresh and 5 replayed, but at most half of what is stored; groups older than 8 steps are gone."""
    run = run_of("frontier", groups_per_step=8, pool_size=64)
    replay, ctx = run.driver.strategy.replay_part, run.driver.context("replay")
    replay.observe([group(q, 1, 0, version=q // 8) for q in range(16)], ctx)
    assert len(replay.replay(8, at_step(ctx, 9))) == 5
    found = replay.replay(8, at_step(ctx, 10))  # versions 0 are 9 steps old: 8 groups are left
    assert len(found) == 4
    assert {g.policy_version for g in found} == {1}
    assert replay.correction.weight_cap == 2


def test_degenerate_groups_give_way_by_hand() -> None:
    """Of a batch of 8, two (a quarter) of three degenerate fresh groups are replaced by stored ones that are not in it."""
    run = run_of("frontier", groups_per_step=8, pool_size=64)
    replay = run.driver.strategy.replay_part
    for _ in range(4):
        run.step()
    stored = list(replay._buffer)
    assert len(stored) >= 8
    batch = [*(group(q, 1, 1) for q in range(3)), *(group(q, 1, 0) for q in range(3, 8))]
    mixed = replay.mix(batch, run.driver.context("mix"))
    assert [g.source for g in mixed] == ["replayed"] * 2 + ["fresh"] * 6
    assert mixed[2:] == batch[2:]
    off = run_of("frontier", {"without": ["refill"]}, groups_per_step=8, pool_size=64).driver
    assert off.strategy.replay_part.mix(batch, off.context("mix")) == batch


def test_groups_of_a_mastered_question_are_forgotten() -> None:
    """All right at its next visit: its stored group goes; another question's stays."""
    run = run_of("frontier", pool_size=16, groups_per_step=4)
    replay, ctx = run.driver.strategy.replay_part, run.driver.context("observe")
    replay.observe([group(1, 1, 0), group(2, 1, 0)], ctx)
    replay.observe([group(1, 1, 1)], ctx)
    assert [g.question_id for g in replay._buffer] == [2]


@pytest.mark.parametrize("config", [{"generated_price": 1 / 3}, {"without": ["replay"]}])
def test_nothing_is_replayed_where_rollouts_are_cheap(config: dict[str, Any]) -> None:
    """At μ = ⅓, or with replay switched off: whole fresh batches, none filtered, nothing stored."""
    run = run_of("frontier", config, groups_per_step=4, group_size=4, pool_size=64)
    for _ in range(6):
        assert all(g.source == "fresh" for g in run.step().groups)
    costs = run.driver.costs
    assert (costs.fresh_rollouts, costs.replayed_rollouts, costs.filtered_rollouts) == (6 * 16, 0, 0)
    assert len(run.driver.strategy.replay_part._buffer) == 0


@pytest.mark.parametrize("off", get_args(Off))
def test_every_part_can_be_switched_off(off: str) -> None:
    """The driver accepts every batch, and the books are right."""
    run = run_of("frontier", {"without": [off]}, groups_per_step=6, pool_size=40)
    for _ in range(12):
        run.step()
    assert run.driver.costs.rollouts == run.engine.rollouts_generated
