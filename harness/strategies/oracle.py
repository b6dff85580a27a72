"""An upper bound: selection by true pass rates, whose cost nobody is charged."""

from __future__ import annotations

import numpy as np
from pydantic import Field

from harness.strategy import Composition, Selector, StepContext, StrategyConfig
from harness.types import Selection


class OracleConfig(StrategyConfig):
    """How many candidates are labelled, and how well."""

    alpha: float = Field(0.5, ge=0, le=1, description="target pass rate")
    candidate_factor: int = Field(4, ge=1, description="candidates per selected question, drawn uniformly")
    rollouts: int = Field(16, ge=1, description="uncharged rollouts per candidate behind its true pass rate")


class Oracle(Selector[OracleConfig]):
    """The B of ``candidate_factor``·B random questions whose pass rates under the current policy are nearest to α."""

    Config = OracleConfig
    requires = frozenset({"oracle"})
    uncharged_oracle = True

    def select(self, num_groups: int, ctx: StepContext) -> Selection:
        size = min(len(ctx.pool), self.config.candidate_factor * num_groups)
        candidates = ctx.rng.choice(len(ctx.pool), size=size, replace=False)
        rates = ctx.oracle_pass_rates(candidates, self.config.rollouts)
        nearest = np.argsort(np.abs(rates - self.config.alpha), kind="stable")[:num_groups]
        return Selection(candidates[nearest], predicted_pass_rates=rates[nearest])


ORACLE = Composition(
    Oracle,
    summary="true pass rates nearest 1/2; labels not charged: an upper bound, not a method",
    observes="true pass rates of 4B candidates",
    acts="before the rollout",
    costs="64 uncharged rollouts per selected question",
)
