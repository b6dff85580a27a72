"""PODS: roll out many, train on the subset with the greatest reward variance (arXiv 2504.13818)."""

from __future__ import annotations

import math
from collections import Counter
from typing import Literal

import numpy as np
from pydantic import Field

from harness.strategies.uniform import UniformOrder
from harness.strategy import Composition, StepContext, StrategyConfig
from harness.types import FloatArray, PromptGroup, Selection


class PodsConfig(StrategyConfig):
    """The paper's n = 128 rollouts for m = 32 trained on; m is the run's group size."""

    oversample: float = Field(
        4.0, ge=1, description="rollouts per trained rollout, n/m", json_schema_extra={"tune": {"choices": [1.5, 2.0, 4.0]}}
    )


class Pods(UniformOrder[PodsConfig]):
    """Uniform selection, n rollouts per question; the m of greatest reward variance are kept, advantages recomputed on them.

    The best subset is the i greatest and the m − i smallest rewards for some i (the paper's theorem), found by a scan.
    """

    Config = PodsConfig
    requires = frozenset({"group_sizes", "partial_groups"})
    version = 2
    # advantage_scope is "kept", the default: mean and deviation of the m rollouts trained on

    def select(self, num_groups: int, ctx: StepContext) -> Selection:
        size = math.ceil(self.config.oversample * ctx.group_size)
        return Selection(self.take(num_groups, ctx), rollouts_per_question=np.full(num_groups, size))

    def subset(self, group: PromptGroup, ctx: StepContext) -> PromptGroup:
        kept = max_variance_subset(group.rewards, min(ctx.group_size, group.size))
        return group.train_on(kept)


def max_variance_subset(rewards: FloatArray, size: int, prefer: Literal["smallest", "largest"] = "smallest") -> list[int]:
    """Positions, ascending, of ``size`` rewards with the greatest variance. O(n log n).

    prefer: among subsets of equal variance, the one with fewer or with more of the largest rewards (PODS and RePO differ); among equal
    rewards the earlier rollout.
    """
    ordered = np.sort(rewards)
    best, most = 0, -1.0
    sums, squares = np.concatenate([[0.0], np.cumsum(ordered)]), np.concatenate([[0.0], np.cumsum(ordered**2)])
    for largest in range(size + 1) if prefer == "smallest" else range(size, -1, -1):
        smallest = size - largest
        total = sums[smallest] + sums[-1] - sums[len(ordered) - largest]
        square = squares[smallest] + squares[-1] - squares[len(ordered) - largest]
        variance = square / size - (total / size) ** 2
        if variance > most + 1e-12:
            best, most = largest, variance
    wanted = Counter([*ordered[: size - best].tolist(), *ordered[len(ordered) - best :].tolist()])
    chosen = []
    for position, reward in enumerate(rewards.tolist()):
        if wanted[reward]:
            wanted[reward] -= 1
            chosen.append(position)
    return chosen


PODS = Composition(
    Pods,
    summary="4G rollouts per question, trained on the G of greatest reward variance",
    source="arXiv 2504.13818",
    observes="rewards of the step's groups",
    acts="after the rollout: down-sampling",
    costs="three rollouts not trained on per rollout trained on",
)
