"""Selection fixed before training: a difficulty filter by the starting policy, and a staged easy-to-hard curriculum."""

from __future__ import annotations

from typing import Any

import numpy as np
from pydantic import Field, model_validator

from harness.strategies.labels import difficulty_labels
from harness.strategy import Composition, Selector, StepContext, StrategyConfig
from harness.types import FloatArray, IntArray, Selection


class StaticFilterConfig(StrategyConfig):
    """A common practice rather than one paper; the thresholds are those of balanced filtering (arXiv 2504.03380)."""

    low: float = Field(0.2, ge=0, le=1, description="least pass rate kept", json_schema_extra={"tune": {"low": 0.0, "high": 0.45}})
    high: float = Field(0.8, ge=0, le=1, description="greatest pass rate kept", json_schema_extra={"tune": {"low": 0.55, "high": 1.0}})
    rollouts: int = Field(4, ge=2, description="rollouts per question that label it, once, with the starting policy")
    labelled: int = Field(1024, ge=1, description="questions labelled at most, drawn uniformly; the others are never trained on")

    @model_validator(mode="after")
    def _ordered(self) -> StaticFilterConfig:
        if self.low > self.high:
            raise ValueError(f"low = {self.low} is above high = {self.high}")
        return self


class StaticFilter(Selector[StaticFilterConfig]):
    """Label questions with the starting policy, keep low ≤ p̂ ≤ high, then uniform over those; the labels are on the clock.

    Where fewer than a batch are kept, those nearest the interval's middle join them.
    """

    Config = StaticFilterConfig
    requires = frozenset({"probe"})

    def __init__(self, config: StaticFilterConfig) -> None:
        super().__init__(config)
        self._labelled: IntArray = np.empty(0, dtype=np.int64)  # nearest the middle of the interval first
        self._kept = 0

    def select(self, num_groups: int, ctx: StepContext) -> Selection:
        if not self._kept:
            self._label(num_groups, ctx)
        return Selection(ctx.rng.choice(self._labelled[: max(self._kept, num_groups)], size=num_groups, replace=False))

    def _label(self, least: int, ctx: StepContext) -> None:
        size = min(len(ctx.pool), max(self.config.labelled, least))
        groups = ctx.probe(ctx.rng.choice(len(ctx.pool), size=size, replace=False), self.config.rollouts)
        rates = np.array([g.pass_rate for g in groups])
        order = np.argsort(np.abs(rates - (self.config.low + self.config.high) / 2), kind="stable")
        self._labelled = np.array([groups[i].question_id for i in order], dtype=np.int64)
        self._kept = max(int(((rates >= self.config.low) & (rates <= self.config.high)).sum()), least)

    def state_dict(self) -> dict[str, Any]:
        return {"labelled": self._labelled, "kept": self._kept}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        self._labelled, self._kept = np.array(state["labelled"]), int(state["kept"])


class CurriculumConfig(StrategyConfig):
    """A common practice; nothing of it is fixed by a paper."""

    label: str | None = Field(None, description="metadata key with the difficulty; null: difficulty, level or length")
    stages: int = Field(3, ge=1, description="parts of the pool, easiest first", json_schema_extra={"tune": {"low": 2, "high": 5}})
    steps_per_stage: int = Field(
        10,
        ge=1,
        description="training steps per stage; the last one goes on",
        json_schema_extra={"tune": {"low": 5, "high": 50, "log": True}},
    )


class Curriculum(Selector[CurriculumConfig]):
    """The pool in ``stages`` parts of equal size by labelled difficulty; each for ``steps_per_stage`` steps, questions drawn uniformly.

    A part smaller than a batch is filled up with the next harder questions (before it, where there are none).
    """

    Config = CurriculumConfig

    def __init__(self, config: CurriculumConfig) -> None:
        super().__init__(config)
        self._labels: FloatArray | None = None  # follows from the pool; the strategy has no state

    def select(self, num_groups: int, ctx: StepContext) -> Selection:
        if self._labels is None:
            self._labels = difficulty_labels(ctx.pool, self.config.label)
        stages = self.config.stages
        stage = min((ctx.step - 1) // self.config.steps_per_stage, stages - 1)
        size = len(ctx.pool)
        start, stop = stage * size // stages, (stage + 1) * size // stages
        start = min(start, size - num_groups)
        part = np.argsort(self._labels, kind="stable")[start : max(stop, start + num_groups)]
        return Selection(ctx.rng.choice(part, size=num_groups, replace=False), info={"stage": float(stage + 1)})


STATIC_FILTER = Composition(
    StaticFilter,
    summary="questions that the starting policy solves sometimes, fixed before training",
    source="common practice; thresholds of arXiv 2504.03380",
    observes="4 rollouts of the starting policy per labelled question",
    acts="once, before training",
    costs="up to 4096 probe rollouts at the first step",
)
CURRICULUM = Composition(
    Curriculum,
    summary="easy to hard in stages, by labelled difficulty",
    source="common practice",
    observes="difficulty labels",
    acts="before the rollout",
    costs="nothing here; the labels elsewhere",
)
