"""PCL, prompt curriculum learning: a value model picks questions of intermediate difficulty (arXiv 2510.01135)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from pydantic import Field

from harness.strategies.value_model import ValueModel
from harness.strategy import Composition, Selector, StepContext, StrategyConfig
from harness.types import FloatArray, IntArray, PromptGroup, Selection


class PclConfig(StrategyConfig):
    """The paper's rule; k and everything about the model are assumed."""

    target: float = Field(0.5, ge=0, le=1, description="value aimed at", json_schema_extra={"tune": {"low": 0.3, "high": 0.7}})
    candidate_factor: int = Field(
        4, ge=1, description="k: candidates per selected question", json_schema_extra={"tune": {"choices": [2, 4, 8, 16]}}
    )
    hidden: int = Field(32, ge=1, description="hidden units of the value model")
    epochs: int = Field(8, ge=1, description="Adam steps per training step, on the last groups")
    value_learning_rate: float = Field(
        1e-2, gt=0, description="of the value model", json_schema_extra={"tune": {"low": 1e-3, "high": 1e-1, "log": True}}
    )
    window: int = Field(512, ge=1, description="past groups the value model is trained on; the paper trains on the current batch")


class Pcl(Selector[PclConfig]):
    """V(x) ≈ E[p] by squared error on mean rewards; of k·B uniform candidates the B with V nearest 1/2.

    The paper's value model is a language model of the policy's size. Assumed here: a one-layer network on frozen embeddings,
    trained on a window of past groups, because so small a model needs more than one batch. Its cost is CPU time, not a forward
    pass of a language model: no result here says what the paper's value model costs.
    """

    Config = PclConfig
    requires = frozenset({"embed"})

    def __init__(self, config: PclConfig) -> None:
        super().__init__(config)
        self._model: ValueModel | None = None
        self._scale: FloatArray | None = None  # mean and deviation of the embeddings; follow from the pool
        self._recent: FloatArray = np.empty((0, 2))  # question id, pass rate

    def select(self, num_groups: int, ctx: StepContext) -> Selection:
        size = min(len(ctx.pool), self.config.candidate_factor * num_groups)
        candidates = ctx.rng.choice(len(ctx.pool), size=size, replace=False)
        values = self._values(candidates, ctx)
        nearest = np.argsort(np.abs(values - self.config.target), kind="stable")[:num_groups]
        return Selection(candidates[nearest], predicted_pass_rates=values[nearest])

    def observe(self, groups: Sequence[PromptGroup], ctx: StepContext) -> None:
        seen = np.array([(g.question_id, g.pass_rate) for g in groups]).reshape(-1, 2)
        self._recent = np.concatenate([self._recent, seen])[-self.config.window :]
        if self._model is not None:
            x = self._inputs(self._recent[:, 0].astype(np.int64), ctx)
            self._model.fit(x, self._recent[:, 1], self.config.epochs, self.config.value_learning_rate)

    def predict(self, question_ids: IntArray, ctx: StepContext) -> FloatArray | None:
        return self._values(question_ids, ctx) if self._model is not None else None

    def _values(self, ids: IntArray, ctx: StepContext) -> FloatArray:
        x = self._inputs(ids, ctx)
        if self._model is None:
            self._model = ValueModel(x.shape[1], self.config.hidden, np.random.default_rng([ctx.seed, 0x70636C]))
        return self._model(x)

    def _inputs(self, ids: IntArray, ctx: StepContext) -> FloatArray:
        if self._scale is None:
            sample = ctx.embed(np.arange(min(len(ctx.pool), 4096)))
            self._scale = np.stack([sample.mean(axis=0), sample.std(axis=0) + 1e-6])
        inputs: FloatArray = (np.asarray(ctx.embed(ids), dtype=np.float64) - self._scale[0]) / self._scale[1]
        return inputs

    def state_dict(self) -> dict[str, Any]:
        return {"recent": self._recent, "model": self._model.state_dict() if self._model is not None else None}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        self._recent = np.array(state["recent"])
        if state["model"] is not None:
            width, hidden = np.shape(state["model"]["weights"][0])
            self._model = ValueModel(width, hidden, np.random.default_rng(0))
            self._model.load_state_dict(state["model"])


PCL = Composition(
    Pcl,
    summary="a value model on embeddings; of 4B candidates those valued nearest 1/2",
    source="arXiv 2510.01135",
    observes="embeddings, the run's own pass rates",
    acts="before the rollout",
    costs="embeddings once; a small network per step (the paper's: a language model)",
)
