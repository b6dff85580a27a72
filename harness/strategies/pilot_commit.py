"""Pilot-Commit: a quarter of the rollouts first, the rest only where it pays (Kim et al., arXiv 2605.26606; databricks/pilot-commit)."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from pydantic import Field

from harness.strategies.uniform import UniformOrder
from harness.strategy import Composition, StepContext, StrategyConfig
from harness.types import PromptGroup, Selection


class PilotCommitConfig(StrategyConfig):
    """The values of the repository's scripts: pilots of 16 out of 64 rollouts, or of 32 out of 128, for three times the batch."""

    pilot_share: float = Field(
        0.25, gt=0, le=1, description="pilot rollouts over the group size (16 of 64)", json_schema_extra={"tune": {"choices": [0.25, 0.5]}}
    )
    skip_above: float = Field(0.75, ge=0, le=1, description="pilot pass rate above which a question is skipped")
    defer_below: float = Field(0.125, ge=0, le=1, description="pilot pass rate below which it is deferred to the next epoch")
    evict_at: float = Field(1.0, gt=0, description="pilot pass rate at which it is never drawn again; above 1: no question is")
    oversample: float = Field(
        3.0, ge=1, description="questions piloted per missing one and round", json_schema_extra={"tune": {"choices": [1.0, 2.0, 3.0]}}
    )
    max_rounds: int = Field(10, ge=1, description="pilot rounds per step at most")


class PilotCommit(UniformOrder[PilotCommitConfig]):
    """Pilot questions; where 0.125 ≤ p̂ ≤ 0.75, commit: roll out the rest of the group. Pilots are part of it.

    The repository keeps surplus survivors for up to four steps with the pilots they have, whose old policy its loss ignores; here they
    wait for the next epoch, so that all rollouts of a group have one policy version. It stops with an error when the rounds are used
    up; here the refused questions whose pilots were nearest 1/2 fill the batch. A pilot has two rollouts at least.
    """

    Config = PilotCommitConfig
    requires = frozenset({"probe", "group_sizes"})

    def __init__(self, config: PilotCommitConfig) -> None:
        super().__init__(config)
        self._evicted: Any = np.empty(0, dtype=np.bool_)

    def select(self, num_groups: int, ctx: StepContext) -> Selection:
        if not len(self._evicted):
            self._evicted = np.zeros(len(ctx.pool), dtype=np.bool_)
        kept: dict[int, PromptGroup] = {}
        refused: dict[int, PromptGroup] = {}
        for _ in range(self.config.max_rounds):
            if len(kept) >= num_groups:
                break
            for group in self._pilot(num_groups - len(kept), [*kept, *refused], ctx):
                survives = self.config.defer_below <= group.pass_rate <= self.config.skip_above
                (kept if survives else refused)[group.question_id] = group
                self._evicted[group.question_id] = group.pass_rate >= self.config.evict_at
        nearest = sorted(refused.values(), key=lambda g: abs(g.pass_rate - 0.5))
        started = [*kept.values(), *nearest][:num_groups]
        ids = [g.question_id for g in started]
        rest = self.take(num_groups - len(ids), ctx, without=np.isin(np.arange(len(ctx.pool)), ids))  # evicted ones, in so small a pool
        return Selection(np.array([*ids, *rest.tolist()], dtype=np.int64), started=tuple(started))

    def _pilot(self, missing: int, known: list[int], ctx: StepContext) -> list[PromptGroup]:
        """Pilots of the next questions that were neither evicted nor piloted in this step; fewer where the pool has no more."""
        without = self._evicted.copy()
        without[known] = True
        size = min(math.ceil(self.config.oversample * missing), int((~without).sum()))
        rollouts = min(ctx.group_size, max(2, round(self.config.pilot_share * ctx.group_size)))
        return ctx.probe(self.take(size, ctx, without=without), rollouts) if size else []

    def state_dict(self) -> dict[str, Any]:
        return {**super().state_dict(), "evicted": self._evicted}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        super().load_state_dict(state)
        self._evicted = np.array(state["evicted"], dtype=np.bool_)


PILOT_COMMIT = Composition(
    PilotCommit,
    summary="pilots of G/4 rollouts for 3B questions, continued where 0.125 ≤ pass rate ≤ 0.75",
    source="arXiv 2605.26606",
    observes="pilot rollouts of the step",
    acts="in the rollout: pilot, then commit",
    costs="the pilots of skipped and deferred questions",
)
