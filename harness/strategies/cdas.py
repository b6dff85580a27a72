"""CDAS: questions whose difficulty matches the model's competence (Kong et al., arXiv 2505.17652; repository DeyangKong/CDAS)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Literal

import numpy as np
from pydantic import Field

from harness.numerics.functions import sigmoid
from harness.strategies.uniform import UniformOrder
from harness.strategy import Composition, StepContext, StrategyConfig
from harness.types import FloatArray, IntArray, PromptGroup, Selection


class CdasConfig(StrategyConfig):
    """The repository's values."""

    warm_up: int = Field(1, ge=0, description="first steps that draw uniformly and whose pass rates are not learnt from")
    ties: Literal["pool", "random"] = Field(
        "pool", description="among equal difficulties: pool, the order of the pool (repository); random, which a pool sorted by topic needs"
    )


class Cdas(UniformOrder[CdasConfig]):
    """D ← ((n−1)/n)·D + (1/n)(σ(C − D) − p̂), C ← C − ΣΔD/N; half the batch just below C, half just above.

    D = C = 0 at the start and n = 2 at a question's first visit, so that D starts as half the surprise (the repository counts the
    initial difficulty as a visit). Where one side of C has too few questions the other fills up.
    """

    Config = CdasConfig
    version = 2

    def __init__(self, config: CdasConfig) -> None:
        super().__init__(config)
        self._difficulty: FloatArray = np.empty(0)
        self._visits: IntArray = np.empty(0, dtype=np.int64)
        self._competence = 0.0

    def select(self, num_groups: int, ctx: StepContext) -> Selection:
        self._size_to(ctx)
        if ctx.step <= self.config.warm_up:
            return super().select(num_groups, ctx)
        gap = self._difficulty - self._competence
        tie = ctx.rng.random(len(gap)) if self.config.ties == "random" else np.arange(len(gap))
        below, above = (_nearest(gap, tie, side, num_groups) for side in (gap <= 0, gap > 0))
        half = num_groups // 2
        from_above = min(len(above), max(half, num_groups - len(below)))
        chosen = np.concatenate([below[: num_groups - from_above], above[:from_above]])
        expected = sigmoid(-gap[chosen])
        return Selection(chosen, predicted_pass_rates=expected, info={"competence": self._competence})

    def observe(self, groups: Sequence[PromptGroup], ctx: StepContext) -> None:
        self._size_to(ctx)
        if ctx.step <= self.config.warm_up:
            return
        change = 0.0
        for group in groups:
            i = group.question_id
            self._visits[i] += 1
            surprise = sigmoid(np.array(self._competence - self._difficulty[i])) - group.pass_rate
            moved = (surprise - self._difficulty[i]) / (self._visits[i] + 1)
            self._difficulty[i] += moved
            change += float(moved)
        self._competence -= change / len(ctx.pool)

    def predict(self, question_ids: IntArray, ctx: StepContext) -> FloatArray | None:
        return sigmoid(self._competence - self._difficulty[question_ids]) if len(self._difficulty) else None

    def _size_to(self, ctx: StepContext) -> None:
        if not len(self._difficulty):
            self._difficulty, self._visits = np.zeros(len(ctx.pool)), np.zeros(len(ctx.pool), np.int64)

    def state_dict(self) -> dict[str, Any]:
        return {**super().state_dict(), "difficulty": self._difficulty, "visits": self._visits, "competence": self._competence}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        super().load_state_dict(state)
        self._difficulty, self._visits = np.array(state["difficulty"]), np.array(state["visits"])
        self._competence = float(state["competence"])


def _nearest(gap: FloatArray, tie: Any, side: Any, most: int) -> IntArray:
    """Positions on one side of zero, nearest first, at most ``most``."""
    ids = np.flatnonzero(side)
    if len(ids) > 8 * most:  # a sort of what a partition leaves
        distance = np.abs(gap[ids])
        bound = np.partition(distance, most)[most]
        ids = ids[distance <= bound]
    return ids[np.lexsort((tie[ids], np.abs(gap[ids])))][:most]


CDAS = Composition(
    Cdas,
    summary="difficulty and competence as a fixed point; questions on both sides of it",
    source="arXiv 2505.17652",
    observes="the run's own pass rates",
    acts="before the rollout",
    costs="nothing",
)
