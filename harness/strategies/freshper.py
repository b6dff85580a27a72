"""FreshPER: replay priority that decays with age (arXiv 2604.16918; known by its abstract), and its control without a priority."""

from __future__ import annotations

from typing import TypeVar

import numpy as np
from pydantic import Field

from harness.strategies.buffered import StoredRollouts, StoredRolloutsConfig
from harness.strategies.uniform import Uniform
from harness.strategy import Composition, StepContext
from harness.types import FloatArray, PromptGroup


class RolloutReplayConfig(StoredRolloutsConfig):
    """The abstract gives no number; these are assumed, with RR's share of fresh rollouts."""

    fresh_share: float = Field(
        0.5, gt=0, le=1, description="share of the batch rolled out fresh", json_schema_extra={"tune": {"low": 0.25, "high": 0.9}}
    )


RolloutT = TypeVar("RolloutT", bound=RolloutReplayConfig, covariant=True)


class RolloutReplay(StoredRollouts[RolloutT]):
    """The rest of the batch is stored rollouts with an advantage, drawn by a priority, once there are enough of them."""

    def replay(self, num_groups: int, ctx: StepContext) -> list[PromptGroup]:
        wanted = (num_groups - round(self.config.fresh_share * num_groups)) * ctx.group_size
        if len(self._buffer) < wanted:
            return []
        return self._buffer.draw(self._log_priorities(ctx), wanted, ctx.rng)

    def _log_priorities(self, ctx: StepContext) -> FloatArray:
        """Logarithms of the priorities, shape (n,), up to a constant; all equal by default."""
        return np.zeros(len(self._buffer))


class RandomReplay(RolloutReplay[RolloutReplayConfig]):
    """Stored rollouts at random: the control at equal ratio."""

    Config = RolloutReplayConfig


class FreshPerConfig(RolloutReplayConfig):
    """The time constant is assumed."""

    tau: float = Field(
        4.0,
        gt=0,
        description="τ: age, in steps, at which the priority has fallen to 1/e",
        json_schema_extra={"tune": {"low": 1, "high": 32, "log": True}},
    )


class FreshPer(RolloutReplay[FreshPerConfig]):
    """P ∝ p_base·exp(−age/τ) with p_base = |A| (any priority may stand there; the half-life is τ·ln 2)."""

    Config = FreshPerConfig

    def _log_priorities(self, ctx: StepContext) -> FloatArray:
        age = ctx.policy_version - self._buffer.policy_versions
        return np.log(self._buffer.abs_advantages) - age / self.config.tau


FRESHPER = Composition(
    Uniform,
    FreshPer,
    summary="single rollouts replayed by |advantage|·exp(−age/τ)",
    source="arXiv 2604.16918 (abstract)",
    observes="stored rollouts",
    acts="in the batch",
    costs="saves the rollouts it replays",
)
RANDOM_REPLAY = Composition(
    Uniform,
    RandomReplay,
    summary="a control: single rollouts replayed at random, at freshper's ratio",
    observes="stored rollouts",
    acts="in the batch",
    costs="saves the rollouts it replays",
)
