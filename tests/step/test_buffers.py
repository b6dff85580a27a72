"""RR: the buffer counts groups, keeps them whole, and follows the paper or the authors' code."""

from __future__ import annotations

from collections import Counter
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from harness.step.buffers import GroupBuffer, pack_groups, unpack_groups
from harness.strategies.fifo import FifoConfig, FifoReplay
from harness.strategies.uniform import Uniform
from harness.strategy import Strategy, StrategyConfig
from harness.testing.simulation import SimulatedRun
from harness.types import PromptGroup, Rollout


def group(question: int, rewards: list[float], version: int = 0, log_probs: bool = True) -> PromptGroup:
    rollouts = []
    for i, reward in enumerate(rewards):
        tokens = np.arange(i + 1, dtype=np.int64)
        mu = -np.arange(1, i + 2, dtype=np.float32) if log_probs else None
        rollouts.append(Rollout(question, np.array([question, 7]), tokens, mu, version, "text", reward))
    return PromptGroup(question, tuple(rollouts))


def run(config: dict[str, Any], **kwargs: Any) -> SimulatedRun:
    strategy = Strategy("rr", Uniform(StrategyConfig()), FifoReplay(FifoConfig(**config)))
    return SimulatedRun(strategy, **kwargs)


def test_capacity_counts_groups_and_the_oldest_goes_first() -> None:
    """Three groups of eight rollouts are three, not twenty-four."""
    buffer = GroupBuffer(3)
    buffer.add([group(q, [0.0, 1.0] * 4) for q in range(5)])
    assert [g.question_id for g in buffer] == [2, 3, 4]


def test_drawing_is_uniform_and_without_replacement() -> None:
    """Each of 4 groups is drawn in half of the draws of 2 (binomial, 2,000 draws: 1,000 ± 5 sd)."""
    buffer = GroupBuffer(4)
    buffer.add([group(q, [0.0, 1.0]) for q in range(4)])
    rng = np.random.default_rng(0)
    seen: Counter[int] = Counter()
    for _ in range(2000):
        drawn = [g.question_id for g in buffer.draw(2, rng)]
        assert len(set(drawn)) == 2
        seen.update(drawn)
    assert all(abs(count - 1000) < 5 * np.sqrt(2000 * 0.25) for count in seen.values())


def test_a_group_without_behaviour_log_probs_is_refused() -> None:
    """Replay without μ would silently be on-policy."""
    with pytest.raises(ValueError, match="behaviour log-probs"):
        GroupBuffer(2).add([group(0, [0.0, 1.0], log_probs=False)])


@given(
    st.lists(
        st.tuples(st.integers(0, 9), st.lists(st.sampled_from([0.0, 0.5, 1.0]), min_size=1, max_size=4), st.integers(0, 5), st.booleans()),
        max_size=5,
    )
)
def test_packing_is_lossless_but_for_text(specs: list[Any]) -> None:
    """What a checkpoint holds is what was stored: tokens, rewards, log-probs, versions, sources."""
    groups = [group(*s) for s in specs]
    restored = unpack_groups(pack_groups(groups))
    assert len(restored) == len(groups)
    for a, b in zip(groups, restored, strict=True):
        assert (a.question_id, a.size, a.source) == (b.question_id, b.size, b.source)
        for x, y in zip(a.rollouts, b.rollouts, strict=True):
            assert (x.reward, x.policy_version, x.truncated) == (y.reward, y.policy_version, y.truncated)
            assert np.array_equal(x.prompt_token_ids, y.prompt_token_ids)
            assert np.array_equal(x.completion_token_ids, y.completion_token_ids)
            assert (x.behaviour_log_probs is None) == (y.behaviour_log_probs is None)
            if x.behaviour_log_probs is not None:
                assert np.array_equal(x.behaviour_log_probs, y.behaviour_log_probs)


def test_the_batch_is_half_fresh_once_the_buffer_holds_enough() -> None:
    """δ = .5, B = 16: full batches until 8 informative groups are stored, then 8 + 8."""
    simulated = run({"capacity": 64})
    sizes = [Counter(g.source for g in simulated.step().groups) for _ in range(6)]
    assert sizes[0] == {"fresh": 16}
    assert sizes[-1] == {"fresh": 8, "replayed": 8}


def test_informative_groups_alone_enter_under_the_paper_and_all_under_the_code() -> None:
    """Under the paper what is stored may be drawn; under the code cleaning comes first: nothing degenerate, a question's last group."""
    observed = [group(0, [0.0, 0.0]), group(1, [0.0, 1.0]), group(2, [1.0, 1.0]), group(3, [1.0, 0.0]).with_source("probe")]
    for admission, stored in (("informative", [1]), ("all", [0, 1, 2])):
        replay = FifoReplay(FifoConfig(admission=admission))  # type: ignore[arg-type]
        replay.observe(observed, None)  # type: ignore[arg-type]
        restored = unpack_groups(replay.state_dict())
        assert [g.question_id for g in restored] == stored


def test_cleaning_keeps_the_last_group_of_a_question_if_it_is_informative() -> None:
    """0 came twice, the second time all right: neither stays. 1 came twice: the later one, in its place."""
    buffer = GroupBuffer(None)
    buffer.add([group(0, [0, 1]), group(1, [0, 1]), group(2, [1, 0]), group(0, [1, 1]), group(1, [1, 0], version=3)])
    buffer.clean()
    assert [(g.question_id, g.policy_version) for g in buffer] == [(2, 0), (1, 3)]


@pytest.mark.parametrize(("size", "left"), [(2, [3, 4]), (0, []), (-1, []), (9, [0, 1, 2, 3, 4])])
def test_trimming_keeps_the_newest(size: int, left: list[int]) -> None:
    """The last so many; none where C is smaller than a fresh batch."""
    buffer = GroupBuffer(None)
    buffer.add([group(q, [0.0, 1.0]) for q in range(5)])
    buffer.trim(size)
    assert [g.question_id for g in buffer] == left


def test_drawing_in_order_is_oldest_first() -> None:
    """The same draw, sorted by age."""
    buffer = GroupBuffer(8)
    buffer.add([group(q, [0.0, 1.0]) for q in range(8)])
    drawn, ordered = ([g.question_id for g in buffer.draw(5, np.random.default_rng(3), in_order)] for in_order in (False, True))
    assert sorted(drawn) == ordered


def test_replayed_groups_are_from_earlier_steps() -> None:
    """A step draws before it stores: nothing of a step is replayed in it."""
    simulated = run({"capacity": 16})
    for _ in range(6):
        batch = simulated.step()
        assert all(g.policy_version < batch.step - 1 for g in batch.groups if g.source == "replayed")


def test_code_waits_some_steps_before_replaying() -> None:
    """``replay_after`` = 3: steps 1 to 3 are fresh however full the buffer."""
    simulated = run({"capacity": 64, "replay_after": 3})
    assert [sum(g.source == "replayed" for g in simulated.step().groups) for _ in range(4)] == [0, 0, 0, 8]


def test_stored_and_recomputed_advantages_are_the_same_numbers() -> None:
    """paper stores advantages, code recomputes them from stored rewards: for whole groups there is no difference."""
    stored = group(1, [1.0, 0.0, 0.0, 0.0])
    restored = unpack_groups(pack_groups([stored]))[0]
    for normalise in (False, True):
        advantages = []
        for g in (stored, restored):
            a = g.rewards - g.rewards.mean()
            advantages.append(a / (g.rewards.std(ddof=1) + 1e-4) if normalise else a)
        assert np.array_equal(*advantages)
    assert (stored.rewards - stored.rewards.mean()).tolist() == [0.75, -0.25, -0.25, -0.25]
