"""SEC: a bandit over categories of questions (Chen et al., arXiv 2505.14970)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from pydantic import Field

from harness.step.advantage import advantages
from harness.strategies.labels import CATEGORY_KEYS, metadata_labels
from harness.strategy import Composition, Selector, StepContext, StrategyConfig
from harness.types import FloatArray, IntArray, PromptGroup, Selection


class SecConfig(StrategyConfig):
    """The values of the copy in Vincent-La/cofa; the official code is not known."""

    label: str | None = Field(
        None, description="metadata key with the category; null: category, type, subject, level, difficulty or length"
    )
    learning_rate: float = Field(0.5, gt=0, le=1, description="α", json_schema_extra={"tune": {"low": 0.1, "high": 1.0}})
    temperature: float = Field(
        1.0, gt=0, description="τ of the Boltzmann distribution", json_schema_extra={"tune": {"choices": [0.2, 0.4, 1.0]}}
    )


class Sec(Selector[SecConfig]):
    """Q_c ← (1−α)Q_c + α·mean|A| of the category's rollouts in a step, 0 for a category not drawn; P(c) ∝ exp(Q_c/τ).

    Q = 0 at the start. A category gives its questions in an order shuffled anew once all of them were given, so that none comes again
    before. What a category cannot fill in one batch is drawn from the others (the copy refuses categories smaller than a batch).
    """

    Config = SecConfig
    version = 2

    def __init__(self, config: SecConfig) -> None:
        super().__init__(config)
        self._values: FloatArray = np.empty(0)
        self._drawn: IntArray = np.empty(0, dtype=np.int64)  # questions given so far, per category
        self._members: list[IntArray] = []  # follow from the pool; not part of the state
        self._category: IntArray = np.empty(0, dtype=np.int64)

    def select(self, num_groups: int, ctx: StepContext) -> Selection:
        self._sort_pool(ctx)
        room = np.array([len(m) for m in self._members])
        counts = np.zeros(len(room), dtype=np.int64)
        while counts.sum() < num_groups:
            # The greatest of those with room left counts 1, so that at a low temperature the others do not all round to 0.
            values = np.where(counts < room, self._values, -np.inf)
            share = np.exp((values - values.max()) / self.config.temperature)
            drawn = ctx.rng.multinomial(num_groups - counts.sum(), share / share.sum())
            counts = np.minimum(counts + drawn, room)
        return Selection(np.concatenate([self._take(category, int(n), ctx) for category, n in enumerate(counts) if n]))

    def _take(self, category: int, count: int, ctx: StepContext) -> IntArray:
        """The next different questions of a category's shuffled order."""
        members = self._members[category]
        chosen: dict[int, None] = {}
        while len(chosen) < count:
            epoch, offset = divmod(int(self._drawn[category]), len(members))
            order = np.random.default_rng([ctx.seed, 0x736563, category, epoch]).permutation(members)
            rest = order[offset : offset + count - len(chosen)]
            self._drawn[category] += len(rest)
            chosen.update(dict.fromkeys(rest.tolist()))
        return np.fromiter(chosen, dtype=np.int64)

    def observe(self, groups: Sequence[PromptGroup], ctx: StepContext) -> None:
        self._sort_pool(ctx)
        found: dict[int, list[float]] = {}
        for group in groups:
            found.setdefault(int(self._category[group.question_id]), []).extend(np.abs(advantages(group, "std")))
        rewards = np.zeros(len(self._values))
        for category, sizes in found.items():
            rewards[category] = np.mean(sizes)
        self._values += self.config.learning_rate * (rewards - self._values)

    def _sort_pool(self, ctx: StepContext) -> None:
        if self._members:
            return
        labels = [str(v) for v in metadata_labels(ctx.pool, self.config.label, CATEGORY_KEYS)]
        names, self._category = np.unique(labels, return_inverse=True)
        self._members = [np.flatnonzero(self._category == i) for i in range(len(names))]
        if not len(self._values):
            self._values, self._drawn = np.zeros(len(names)), np.zeros(len(names), np.int64)

    def state_dict(self) -> dict[str, Any]:
        return {"values": self._values, "drawn": self._drawn}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        self._values, self._drawn = np.array(state["values"]), np.array(state["drawn"])


SEC = Composition(
    Sec,
    summary="a bandit over categories, rewarded with the mean absolute advantage",
    source="arXiv 2505.14970",
    observes="category labels, advantages",
    acts="before the rollout",
    costs="nothing here; the labels elsewhere",
)
