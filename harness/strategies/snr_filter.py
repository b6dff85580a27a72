"""SNR-aware filtering: the few groups that hold most of a round's reward variance (RAGEN-2, arXiv 2604.06268)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

import numpy as np
from pydantic import Field

from harness.strategies.uniform import UniformOrder
from harness.strategy import Composition, StepContext, StrategyConfig
from harness.types import FloatArray, PromptGroup


class SnrFilterConfig(StrategyConfig):
    """The settings that the repository (mll-lab-nu/RAGEN) recommends, but for the score: it sums deviations, the paper says variances."""

    top_p: float = Field(
        0.9, gt=0, le=1, description="share of the round's score to keep", json_schema_extra={"tune": {"low": 0.5, "high": 1.0}}
    )
    score: Literal["variance", "std"] = Field("variance", description="of a group's rewards (of the sample); repository: std")
    margin: float = Field(0.01, ge=0, description="what the kept sum may miss of the share")


class SnrFilter(UniformOrder[SnrFilterConfig]):
    """The smallest set of groups, greatest score first, whose scores reach top_p·Σ − margin; nothing is refilled, the batch shrinks.

    Groups of equal rewards are never among them. A round whose scores add up to no more than the margin is skipped by the repository;
    here a step trains on such a round whole.
    """

    Config = SnrFilterConfig
    requires = frozenset({"group_sizes"})
    max_refills = 0
    fill_short_batches = False

    def admit_round(self, groups: Sequence[PromptGroup], ctx: StepContext) -> Sequence[bool]:
        deviations = np.array([g.rewards.std(ddof=1) if g.size > 1 and not g.is_degenerate else 0.0 for g in groups])
        return top_p(deviations if self.config.score == "std" else deviations**2, self.config.top_p, self.config.margin)


def top_p(scores: FloatArray, share: float, margin: float) -> list[bool]:
    """Which scores, shape (n,), none negative, belong to the smallest set that sums to ``share``·Σ − ``margin``; ties: the earlier."""
    order = np.argsort(-scores, kind="stable")
    reached = np.cumsum(scores[order])
    needed = share * scores.sum() - margin
    count = int(np.searchsorted(reached, needed - 1e-12)) + 1 if needed > 0 else 0  # a sum that equals the share reaches it
    kept = set(order[: min(count, np.count_nonzero(scores))].tolist())
    return [position in kept for position in range(len(scores))]


SNR_FILTER = Composition(
    SnrFilter,
    summary="the groups with 90 % of a round's reward variance, no refill",
    source="arXiv 2604.06268",
    observes="rewards of the step's groups",
    acts="after the rollout: smaller batches",
    costs="the rollouts of the dropped groups",
)
