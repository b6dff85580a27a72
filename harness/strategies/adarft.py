"""AdaRFT: a target difficulty that follows the reward (Shi et al., arXiv 2504.05520; repository limenlp/verl)."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
from pydantic import Field

from harness.strategies.labels import difficulty_labels
from harness.strategy import Composition, Selector, StepContext, StrategyConfig
from harness.types import FloatArray, PromptGroup, Selection


class AdarftConfig(StrategyConfig):
    """The paper's values, for difficulties between 0 and 100."""

    label: str | None = Field(None, description="metadata key with the difficulty; null: difficulty, level or length")
    target_reward: float = Field(0.5, ge=0, le=1, description="β")
    sensitivity: float = Field(2.0, gt=0, description="α", json_schema_extra={"tune": {"low": 0.5, "high": 8.0, "log": True}})
    step_size: float = Field(50.0, gt=0, description="η", json_schema_extra={"tune": {"low": 5.0, "high": 100.0, "log": True}})
    start: float = Field(0.0, ge=0, le=100, description="first target difficulty")


class Adarft(Selector[AdarftConfig]):
    """T ← clip(T + η·tanh(α(R̄ − β)), 0, 100) after each step's mean reward R̄; the B questions nearest T.

    Labels are rescaled to 0 … 100. Ties, of which discrete labels have many, are broken at random.
    """

    Config = AdarftConfig

    def __init__(self, config: AdarftConfig) -> None:
        super().__init__(config)
        self._target = config.start
        self._labels: FloatArray | None = None  # follows from the pool; not part of the state

    def select(self, num_groups: int, ctx: StepContext) -> Selection:
        if self._labels is None:
            self._labels = difficulty_labels(ctx.pool, self.config.label)
        order = np.lexsort((ctx.rng.random(len(ctx.pool)), np.abs(self._labels - self._target)))
        return Selection(order[:num_groups], info={"target_difficulty": self._target})

    def observe(self, groups: Sequence[PromptGroup], ctx: StepContext) -> None:
        rewards = [r for g in groups for r in g.rewards]
        if rewards:
            moved = self.config.step_size * math.tanh(self.config.sensitivity * (float(np.mean(rewards)) - self.config.target_reward))
            self._target = min(max(self._target + moved, 0.0), 100.0)

    def state_dict(self) -> dict[str, Any]:
        return {"target": self._target}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        self._target = float(state["target"])


ADARFT = Composition(
    Adarft,
    summary="labelled difficulties nearest a target that follows the reward",
    source="arXiv 2504.05520",
    observes="difficulty labels, the mean reward",
    acts="before the rollout",
    costs="nothing here; the labels elsewhere",
)
