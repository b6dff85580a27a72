"""No-Positive-Resampling: solved questions retire (ScaleRL, Khatri et al., arXiv 2510.13786, section 3.6)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from pydantic import Field

from harness.strategies.uniform import UniformOrder
from harness.strategy import Composition, StepContext, StrategyConfig
from harness.types import FloatArray, PromptGroup, Selection


class NoPositiveResamplingConfig(StrategyConfig):
    """The paper's threshold; its "historical pass rate" has no window there, and is taken over all of a question's groups."""

    retire_at: float = Field(
        0.9, gt=0, le=1, description="pass rate at which a question retires", json_schema_extra={"tune": {"low": 0.7, "high": 1.0}}
    )
    least_visits: int = Field(1, ge=1, description="groups of a question before it can retire (assumed)")


class NoPositiveResampling(UniformOrder[NoPositiveResamplingConfig]):
    """Uniform over questions whose mean pass rate so far is below 0.9; degenerate groups are dropped, and not refilled.

    A step whose groups are all degenerate trains on them, which without a KL term changes nothing. Where fewer questions than a batch
    are left, the retired ones with the lowest pass rates come back.
    """

    Config = NoPositiveResamplingConfig
    requires = frozenset({"group_sizes"})
    max_refills = 0
    fill_short_batches = False

    def __init__(self, config: NoPositiveResamplingConfig) -> None:
        super().__init__(config)
        self._visits: FloatArray = np.empty((0, 2))  # groups and the sum of their pass rates, by question

    def select(self, num_groups: int, ctx: StepContext) -> Selection:
        self._size_to(ctx)
        visits, total = self._visits.T
        rate = total / np.maximum(visits, 1)
        retired = (visits >= self.config.least_visits) & (rate >= self.config.retire_at)
        info = {"retired": float(retired.sum())}
        if (~retired).sum() < num_groups:
            retired = np.ones(len(ctx.pool), dtype=np.bool_)
            retired[np.argsort(rate, kind="stable")[:num_groups]] = False
        return Selection(self.take(num_groups, ctx, without=retired), info=info)

    def admit(self, group: PromptGroup, ctx: StepContext) -> bool:
        return not group.is_degenerate

    def observe(self, groups: Sequence[PromptGroup], ctx: StepContext) -> None:
        self._size_to(ctx)
        for group in groups:
            self._visits[group.question_id] += 1, group.pass_rate

    def _size_to(self, ctx: StepContext) -> None:
        if not len(self._visits):
            self._visits = np.zeros((len(ctx.pool), 2))

    def state_dict(self) -> dict[str, Any]:
        return {**super().state_dict(), "visits": self._visits}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        super().load_state_dict(state)
        self._visits = np.array(state["visits"])


NO_POSITIVE_RESAMPLING = Composition(
    NoPositiveResampling,
    summary="questions with a pass rate of 0.9 so far retire; degenerate groups are dropped without refill",
    source="arXiv 2510.13786, section 3.6",
    observes="the run's own pass rates",
    acts="before the rollout; after it: smaller batches",
    costs="the rollouts of the dropped groups",
)
