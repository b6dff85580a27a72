"""LZE, learning-zone energy: train on the groups of a round with the most of it (arXiv 2605.17003; repository Stellaris167/LZE)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from pydantic import Field

from harness.strategies.uniform import UniformOrder
from harness.strategy import Composition, StepContext, StrategyConfig
from harness.types import FloatArray, PromptGroup


class LzeConfig(StrategyConfig):
    """The repository's values, and its training script's where that differs from the defaults of the code (0.7 kept)."""

    kept: float = Field(
        0.4, gt=0, le=1, description="share of a round's groups trained on", json_schema_extra={"tune": {"low": 0.2, "high": 1.0}}
    )
    momentum: float = Field(
        0.3, ge=0, description="α: weight of a change in the pass rate", json_schema_extra={"tune": {"low": 0, "high": 1}}
    )
    decay: float = Field(0.9, ge=0, lt=1, description="of the moving average that the change is measured from")
    least_difficulty: float = Field(0.05, gt=0, le=1, description="of a question at its first visit")
    noise: float = Field(0.05, ge=0, description="scale of the Gumbel noise, in spreads of the round's energies")


class Lze(UniformOrder[LzeConfig]):
    """E = max(1 − p₀, 0.05) · 4p(1−p) · (1 + α·min(2·abs(p − ema), 1)); p₀: the question's first pass rate. The batch shrinks.

    The moving average starts at p₀ and takes in p after E. Of n groups the ⌊0.4·n⌋ greatest E + Gumbel(noise · spread of E > 0) are
    trained on, none of them with E = 0. The repository's forward pruning, off in its scripts, is left out.
    """

    Config = LzeConfig
    requires = frozenset({"group_sizes"})
    max_refills = 0
    fill_short_batches = False

    def __init__(self, config: LzeConfig) -> None:
        super().__init__(config)
        self._first: FloatArray = np.empty(0)  # p₀, NaN before the first visit
        self._average: FloatArray = np.empty(0)

    def admit_round(self, groups: Sequence[PromptGroup], ctx: StepContext) -> Sequence[bool]:
        self._size_to(ctx)
        energies = np.array([self._energy(g) for g in groups])
        active = np.flatnonzero(energies > 0)
        count = min(max(1, int(self.config.kept * len(groups))), len(active))
        if not count:
            return [False] * len(groups)
        spread = max(float(np.ptp(energies[active])), 0.01)
        noisy = energies[active] + self.config.noise * spread * ctx.rng.gumbel(size=len(active))
        kept = set(active[np.argsort(-noisy, kind="stable")[:count]].tolist())
        return [position in kept for position in range(len(groups))]

    def _energy(self, group: PromptGroup) -> float:
        p, first, average = group.pass_rate, self._first[group.question_id], self._average[group.question_id]
        if np.isnan(first):
            first = average = p
        change = min(2 * abs(p - average), 1.0)
        return float(max(1 - first, self.config.least_difficulty) * 4 * p * (1 - p) * (1 + self.config.momentum * change))

    def observe(self, groups: Sequence[PromptGroup], ctx: StepContext) -> None:
        self._size_to(ctx)
        for group in groups:
            i, p = group.question_id, group.pass_rate
            if np.isnan(self._first[i]):
                self._first[i] = self._average[i] = p
            self._average[i] = self.config.decay * self._average[i] + (1 - self.config.decay) * p

    def _size_to(self, ctx: StepContext) -> None:
        if not len(self._first):
            self._first, self._average = np.full(len(ctx.pool), np.nan), np.full(len(ctx.pool), np.nan)

    def state_dict(self) -> dict[str, Any]:
        return {**super().state_dict(), "first": self._first, "average": self._average}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        super().load_state_dict(state)
        self._first, self._average = np.array(state["first"]), np.array(state["average"])


LZE = Composition(
    Lze,
    summary="the 40 % of a round's groups with the greatest learning-zone energy, no refill",
    source="arXiv 2605.17003",
    observes="rewards of the step's groups, the run's own pass rates",
    acts="after the rollout: smaller batches",
    costs="the rollouts of the dropped groups",
)
