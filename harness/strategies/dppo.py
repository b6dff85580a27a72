"""DPPO, dynamic pruning: questions with little signal are pruned at random, and weighted up where they are not (arXiv 2603.04135)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from pydantic import Field

from harness.strategies.uniform import UniformOrder
from harness.strategy import Composition, StepContext, StrategyConfig
from harness.types import FloatArray, PromptGroup, Selection


class DppoConfig(StrategyConfig):
    """The paper tries pruning rates up to 0.9 and calls up to 0.7 moderate; 0.5 is assumed."""

    pruned: float = Field(
        0.5,
        ge=0,
        lt=1,
        description="r: chance that a question below the mean is passed over",
        json_schema_extra={"tune": {"low": 0.1, "high": 0.7}},
    )


class Dppo(UniformOrder[DppoConfig]):
    """A question whose last mean absolute advantage is below that of all visited ones is passed over with r, else weighted 1/(1 − r).

    The weights keep the expected gradient that of uniform selection. What could be read of the paper is its abstract and summaries:
    prompts are pruned by their history, completions by their advantage, both rescaled. The score (mean abs(r − mean)), the threshold
    (its mean over the visited questions, as in InfoBatch) and that a question never visited is kept are assumed. The pruning of
    completions is left out, which needs a weight per rollout, and so is the packing, which is the engine's.
    """

    Config = DppoConfig
    requires = frozenset({"loss_weights"})

    def __init__(self, config: DppoConfig) -> None:
        super().__init__(config)
        self._signal: FloatArray = np.empty(0)  # NaN: never visited

    def select(self, num_groups: int, ctx: StepContext) -> Selection:
        low = self._low(ctx)
        chosen: dict[int, None] = {}
        passed: dict[int, None] = {}
        while len(chosen) < num_groups and len(chosen) + len(passed) < len(ctx.pool):
            ids = self.take(num_groups - len(chosen), ctx)
            pruned = low[ids] & (ctx.rng.random(len(ids)) < self.config.pruned)
            chosen.update(dict.fromkeys(ids[~pruned].tolist()))
            passed.update(dict.fromkeys(q for q in ids[pruned].tolist() if q not in chosen))
        rest = [q for q in passed if q not in chosen]  # a pool so small that the rest of it was pruned
        return Selection(np.array([*chosen, *rest][:num_groups], dtype=np.int64))

    def weigh(self, groups: Sequence[PromptGroup], ctx: StepContext) -> Sequence[float]:
        low = self._low(ctx)
        return [1 / (1 - self.config.pruned) if low[g.question_id] else 1.0 for g in groups]

    def observe(self, groups: Sequence[PromptGroup], ctx: StepContext) -> None:
        self._low(ctx)
        for group in groups:
            self._signal[group.question_id] = np.abs(group.rewards - group.pass_rate).mean()

    def _low(self, ctx: StepContext) -> Any:
        """Whether each question of the pool may be pruned, shape (N,)."""
        if not len(self._signal):
            self._signal = np.full(len(ctx.pool), np.nan)
        visited = ~np.isnan(self._signal)
        return self._signal < self._signal[visited].mean() if visited.any() else visited

    def state_dict(self) -> dict[str, Any]:
        return {**super().state_dict(), "signal": self._signal}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        super().load_state_dict(state)
        self._signal = np.array(state["signal"])


DPPO = Composition(
    Dppo,
    summary="questions with little signal at their last visit are pruned at random, the others of them weighted up",
    source="arXiv 2603.04135 (abstract)",
    observes="the run's own rewards",
    acts="before the rollout; in the loss: a weight per group",
    costs="nothing",
)
