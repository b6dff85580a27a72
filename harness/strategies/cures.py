"""CurES: questions by the deviation of their reward under a Beta posterior (arXiv 2510.01037; repository ZexuSun/CurES)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Literal

import numpy as np
from pydantic import Field

from harness.numerics.sampling import gumbel_top_k
from harness.strategy import Composition, Selector, StepContext, StrategyConfig
from harness.types import FloatArray, IntArray, PromptGroup, Selection


class CuresConfig(StrategyConfig):
    """The repository's values. Its sampler does not use the constant temperature of its scripts but one per question (``code``)."""

    rule: Literal["paper", "code"] = Field(
        "paper", description="t: paper, one temperature; code, 100·(successes + 1) of the question, which is nearly uniform"
    )
    temperature: float = Field(
        1.0,
        gt=0,
        description="t of the paper's rule; the scripts' 1.0",
        json_schema_extra={"tune": {"low": 0.02, "high": 2.0, "log": True}},
    )


class Cures(Selector[CuresConfig]):
    """P(q) ∝ exp(√(p̂(1−p̂))/t), p̂ the mean of Beta(1 + successes, 1 + failures) over the run's own rollouts, without replacement.

    The authors roll out the whole pool four times before each of 15 stages; here the posterior starts flat and every group of the run
    updates it. Their allocation of rollouts is left out: it needs the gradient norm of every rollout.
    """

    Config = CuresConfig

    def __init__(self, config: CuresConfig) -> None:
        super().__init__(config)
        self._counts: FloatArray = np.empty((0, 2))  # successes, failures

    def select(self, num_groups: int, ctx: StepContext) -> Selection:
        self._size_to(ctx)
        rates = self._mean(self._counts)
        temperature = 100 * (self._counts[:, 0] + 1) if self.config.rule == "code" else self.config.temperature
        chosen = gumbel_top_k(np.sqrt(rates * (1 - rates)) / temperature, num_groups, ctx.rng)
        return Selection(chosen, predicted_pass_rates=rates[chosen])

    def observe(self, groups: Sequence[PromptGroup], ctx: StepContext) -> None:
        self._size_to(ctx)
        for group in groups:
            successes = group.rewards.sum()
            self._counts[group.question_id] += successes, group.size - successes

    def predict(self, question_ids: IntArray, ctx: StepContext) -> FloatArray | None:
        return self._mean(self._counts[question_ids]) if len(self._counts) else None

    def _mean(self, counts: FloatArray) -> FloatArray:
        return np.asarray((counts[:, 0] + 1) / (counts.sum(axis=1) + 2))

    def _size_to(self, ctx: StepContext) -> None:
        if not len(self._counts):
            self._counts = np.zeros((len(ctx.pool), 2))

    def state_dict(self) -> dict[str, Any]:
        return {"counts": self._counts}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        self._counts = np.array(state["counts"])


CURES = Composition(
    Cures,
    summary="a Beta posterior per question, drawn by exp(√(p(1−p))/t)",
    source="arXiv 2510.01037",
    observes="the run's own pass rates",
    acts="before the rollout",
    costs="nothing (the paper's: four rollouts of every question per stage)",
)
