"""FreshPER: replay priority that decays with age (arXiv 2604.16918; repository Vision-CAIR/Freshness-Aware-PER), and its control."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Literal, TypeVar

import numpy as np
from pydantic import Field

from harness.strategies.buffered import StoredRollouts, StoredRolloutsConfig
from harness.strategies.uniform import Uniform
from harness.strategy import Composition, StepContext
from harness.types import FloatArray, IntArray, PromptGroup

_EPSILON = 1e-6  # the repository's, added to every base priority
_LEAST = 1e-8  # of a base priority that has decayed


class RolloutReplayConfig(StoredRolloutsConfig):
    """One replay batch as large as the fresh one, as in the repository's configurations."""

    clip_center: Literal["old", "one"] = Field(
        "one", description="one: clip π/μ around 1 (repository); old: clip π/π_old around 1, times the detached weight π_old/μ"
    )
    rollout_capacity: int = Field(
        2048,
        ge=1,
        description="rollouts kept; the repository keeps 50,000 or more, here every checkpoint holds them",
        json_schema_extra={"tune": {"choices": [512, 1024, 2048, 4096]}},
    )
    ratio: float = Field(1.0, gt=0, description="replayed rollouts per fresh one", json_schema_extra={"tune": {"low": 0.25, "high": 1.0}})


RolloutT = TypeVar("RolloutT", bound=RolloutReplayConfig, covariant=True)


class RolloutReplay(StoredRollouts[RolloutT]):
    """The whole fresh batch, and ``ratio`` times as many stored rollouts drawn by priority once there are enough of them.

    Drawn as in prioritised experience replay: one from each of n equal slices of the summed priorities, so that a rollout may be drawn
    more than once; it then enters the loss once, with that many times the weight. Rollouts of the running step are not drawn (the
    repository stores them first), nor are rollouts without an advantage stored: nothing would be learnt from them.
    """

    version = 2
    requires = frozenset({"behaviour_log_probs", "group_sizes", "partial_groups", "loss_weights"})

    def mix(self, groups: Sequence[PromptGroup], ctx: StepContext) -> list[PromptGroup]:
        wanted = round(self.config.ratio * sum(len(g.trained_rollouts) for g in groups))
        if len(self._buffer) < wanted:
            return list(groups)
        priorities = self._priorities(ctx)
        drawn, counts = np.unique(stratified(priorities, wanted, ctx.rng), return_counts=True)
        weights = counts * self._importance(priorities, drawn, ctx)
        stored = [self._buffer.take(int(i)).with_source("replayed") for i in drawn]
        return [*groups, *(replace(g, loss_weight=float(w)) for g, w in zip(stored, weights, strict=True))]

    def _priorities(self, ctx: StepContext) -> FloatArray:
        """Shape (n,), up to a factor; all equal by default."""
        return np.ones(len(self._buffer))

    def _importance(self, priorities: FloatArray, drawn: IntArray, ctx: StepContext) -> FloatArray:
        """Loss weights of the drawn rollouts that make up for unequal priorities, shape (drawn,); 1 by default."""
        return np.ones(len(drawn))


def stratified(priorities: FloatArray, size: int, rng: np.random.Generator) -> IntArray:
    """``size`` positions, one from each of ``size`` equal slices of the summed priorities; repeats are possible."""
    summed = np.cumsum(priorities)
    mass = (np.arange(size) + rng.random(size)) * (summed[-1] / size)
    found: IntArray = np.minimum(np.searchsorted(summed, mass), len(priorities) - 1)
    return found


class RandomReplay(RolloutReplay[RolloutReplayConfig]):
    """Stored rollouts at random: the control at equal ratio."""

    Config = RolloutReplayConfig


class FreshPerConfig(RolloutReplayConfig):
    """The paper's values."""

    exponent: float = Field(0.6, ge=0, description="of the decayed priority", json_schema_extra={"tune": {"low": 0.0, "high": 1.0}})
    tau: float = Field(
        500.0,
        gt=0,
        description="τ: age at which the priority has fallen to 1/e",
        json_schema_extra={"tune": {"low": 8, "high": 1000, "log": True}},
    )
    age_unit: Literal["gradient_steps", "steps"] = Field(
        "gradient_steps", description="of τ: optimizer steps (paper) or training steps (the repository counts its iterations)"
    )
    beta: float = Field(0.4, ge=0, le=1, description="exponent of the importance weights at the first step; 0 switches them off")
    beta_steps: int = Field(100, ge=1, description="training steps in which that exponent rises to 1 (assumed: the length of the run)")
    weight_scale: Literal["batch", "buffer"] = Field(
        "batch",
        description="importance weights are divided by the greatest of the drawn rollouts, or of the whole buffer (repository, whose loss "
        "does not use them): with rewards 0 and 1 a stored failure then scales the weights of successes down to nothing",
    )


class FreshPer(RolloutReplay[FreshPerConfig]):
    """P ∝ ((|reward| + 1e-6)·exp(−age/τ))^0.6, weights (n·P)^−β with β from 0.4 to 1."""

    Config = FreshPerConfig

    def _priorities(self, ctx: StepContext) -> FloatArray:
        age = (ctx.policy_version - self._buffer.policy_versions).astype(np.float64)
        if self.config.age_unit == "gradient_steps":
            age *= ctx.costs.optimizer_steps / max(ctx.costs.training_steps, 1)
        return decayed_priorities(self._buffer.rewards, age, self.config.tau, self.config.exponent)

    def _importance(self, priorities: FloatArray, drawn: IntArray, ctx: StepContext) -> FloatArray:
        beta = min(1.0, self.config.beta + (1 - self.config.beta) * (ctx.step - 1) / self.config.beta_steps) if self.config.beta else 0.0
        least = priorities[drawn].min() if self.config.weight_scale == "batch" else priorities.min()
        return importance_weights(priorities[drawn], float(least), beta)


def decayed_priorities(rewards: FloatArray, age: FloatArray, tau: float, exponent: float) -> FloatArray:
    """((|reward| + ε)·exp(−age/τ))^exponent, shape (n,)."""
    decayed: FloatArray = np.maximum((np.abs(rewards) + _EPSILON) * np.exp(-age / tau), _LEAST) ** exponent
    return decayed


def importance_weights(priorities: FloatArray, least: float, beta: float) -> FloatArray:
    """(n·P)^−β over that of the least priority, shape (n,): n and the sum of the priorities cancel out."""
    weights: FloatArray = (priorities / least) ** -beta
    return weights


FRESHPER = Composition(
    Uniform,
    FreshPer,
    summary="single rollouts replayed by |reward|·exp(−age/τ) beside the fresh batch",
    source="arXiv 2604.16918",
    observes="stored rollouts",
    acts="in the batch: extra rollouts",
    costs="training on twice as many rollouts",
)
RANDOM_REPLAY = Composition(
    Uniform,
    RandomReplay,
    summary="a control: single rollouts replayed at random, at freshper's ratio",
    observes="stored rollouts",
    acts="in the batch: extra rollouts",
    costs="training on twice as many rollouts",
)
