"""What holds for any strategy on any batch shape."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from harness.registry import BUILTIN_STRATEGIES
from tests.strategies.made import run_of

EVERY = [*sorted(set(BUILTIN_STRATEGIES) - {"dots", "dots-rr"}), "mopps+rr", "speed+aper", "pods+rlep", "greso+repo"]


@pytest.mark.slow
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
