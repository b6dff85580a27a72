"""MoPPS: Beta–Thompson sampling of questions near pass rate 1/2 (Qu et al., KDD 2026, arXiv 2507.04632)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from pydantic import Field

from harness.strategy import Composition, Selector, StepContext, StrategyConfig
from harness.types import FloatArray, IntArray, PromptGroup, Selection


class MoppsConfig(StrategyConfig):
    """The paper's values."""

    target: float = Field(0.5, ge=0, le=1, description="γ*: pass rate aimed at", json_schema_extra={"tune": {"low": 0.3, "high": 0.7}})
    decay: float = Field(
        1.0,
        gt=0,
        le=1,
        description="λ: weight of the past at each visit; 1 forgets nothing",
        json_schema_extra={"tune": {"low": 0.3, "high": 1.0}},
    )
    candidate_factor: int = Field(16, ge=1, description="candidates per selected question, drawn uniformly")


class Mopps(Selector[MoppsConfig]):
    """α ← λα + (1−λ)α⁰ + s, β ← λβ + (1−λ)β⁰ + n − s after s successes of n; prior Beta(1, 1).

    Each step draws γ̂_i ~ Beta(α_i, β_i) for 16 B random candidates and takes the B nearest γ*.
    """

    Config = MoppsConfig

    def __init__(self, config: MoppsConfig) -> None:
        super().__init__(config)
        self._counts: FloatArray = np.empty((0, 2))  # α, β

    def select(self, num_groups: int, ctx: StepContext) -> Selection:
        self._size_to(ctx)
        size = min(len(ctx.pool), self.config.candidate_factor * num_groups)
        candidates = ctx.rng.choice(len(ctx.pool), size=size, replace=False)
        drawn = ctx.rng.beta(*self._counts[candidates].T)
        chosen = candidates[np.argsort(np.abs(drawn - self.config.target), kind="stable")[:num_groups]]
        return Selection(chosen, predicted_pass_rates=self._mean(chosen))

    def observe(self, groups: Sequence[PromptGroup], ctx: StepContext) -> None:
        self._size_to(ctx)
        for group in groups:
            successes = group.rewards.sum()
            outcome = np.array([successes, group.size - successes])
            self._counts[group.question_id] *= self.config.decay
            self._counts[group.question_id] += 1 - self.config.decay + outcome

    def predict(self, question_ids: IntArray, ctx: StepContext) -> FloatArray | None:
        return self._mean(question_ids) if len(self._counts) else None

    def _mean(self, question_ids: IntArray) -> FloatArray:
        means: FloatArray = self._counts[question_ids, 0] / self._counts[question_ids].sum(axis=1)
        return means

    def _size_to(self, ctx: StepContext) -> None:
        if not len(self._counts):
            self._counts = np.ones((len(ctx.pool), 2))

    def state_dict(self) -> dict[str, Any]:
        return {"counts": self._counts}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        self._counts = np.array(state["counts"])


MOPPS = Composition(
    Mopps,
    summary="a Beta posterior per question, Thompson samples nearest 1/2",
    source="arXiv 2507.04632",
    observes="the run's own pass rates",
    acts="before the rollout",
    costs="nothing",
)
