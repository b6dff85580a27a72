"""GRESO: skip questions whose recent groups were degenerate (Zheng et al., arXiv 2506.02177; repository Infini-AI-Lab/GRESO)."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
from pydantic import Field

from harness.strategies.uniform import UniformOrder
from harness.strategy import Composition, StepContext, StrategyConfig
from harness.types import IntArray, PromptGroup, Selection

#: Between the least and the greatest exploration probability, in steps of _STEP; no question is skipped for ever.
_LEAST, _MOST, _STEP, _FLOOR = 0.05, 0.95, 0.01, 0.01
_FIRST_OVERSAMPLE = 1.5  # the repository's 384 questions for a batch of 256


class GresoConfig(StrategyConfig):
    """The repository's values."""

    target: float = Field(
        0.25, gt=0, lt=1, description="share of degenerate groups aimed at: a third too easy, the rest too hard",
        json_schema_extra={"tune": {"low": 0.1, "high": 0.5}},
    )  # fmt: skip
    safety: float = Field(1.25, ge=1, description="factor on the questions that the degenerate share asks for")
    max_rounds: int = Field(10, ge=1, description="generation rounds per step at most (assumed, as DAPO)")


class Greso(UniformOrder[GresoConfig]):
    """P(skip) = 1 − max(p^z, 0.01), z: the question's consecutive degenerate visits, p: exploration of easy or hard questions.

    Both p start at 1/2 and move by 0.01 a step, down where more groups were degenerate than aimed at. Degenerate groups are
    refused and refilled; a round rolls out 1.25 · missing / (1 − degenerate share of the last step) questions. A degenerate
    group is easy if its mean reward exceeds 1/2 (the repository's bounds, 0.98 and 0.11, fit its own reward). Its minimum of 64
    questions per round is left out.
    """

    Config = GresoConfig

    def __init__(self, config: GresoConfig) -> None:
        super().__init__(config)
        self._explore = np.array([0.5, 0.5])  # hard, easy
        self._visits: IntArray = np.empty(0, dtype=np.int64)  # z
        self._easy: IntArray = np.empty(0, dtype=np.int64)
        self._degenerate_share = 1 - self.config.safety / _FIRST_OVERSAMPLE

    @property
    def max_refills(self) -> int:
        return self.config.max_rounds - 1

    def round_size(self, missing: int, ctx: StepContext) -> int:
        return math.ceil(self.config.safety * missing / max(1 - self._degenerate_share, 0.1))

    def select(self, num_groups: int, ctx: StepContext) -> Selection:
        self._size_to(ctx)
        chosen: dict[int, None] = {}
        skipped: dict[int, None] = {}
        looked_at = 0
        while len(chosen) < num_groups and looked_at < 2 * len(ctx.pool):
            ids = self.take(num_groups - len(chosen), ctx)
            looked_at += len(ids)
            keep = ctx.rng.random(len(ids)) < np.maximum(self._explore[self._easy[ids]] ** self._visits[ids], _FLOOR)
            chosen.update(dict.fromkeys(ids[keep].tolist()))
            skipped.update(dict.fromkeys(ids[~keep].tolist()))
        # Every question has been looked at: those skipped fill what is missing, in the order they were skipped.
        rest = [i for i in skipped if i not in chosen][: max(0, num_groups - len(chosen))]
        return Selection(np.array([*list(chosen)[:num_groups], *rest], dtype=np.int64))

    def admit(self, group: PromptGroup, ctx: StepContext) -> bool:
        return not group.is_degenerate

    def observe(self, groups: Sequence[PromptGroup], ctx: StepContext) -> None:
        self._size_to(ctx)
        degenerate = np.zeros(2)
        for group in groups:
            easy = int(group.pass_rate > 0.5)
            self._easy[group.question_id] = easy
            self._visits[group.question_id] = self._visits[group.question_id] + 1 if group.is_degenerate else 0
            degenerate[easy] += group.is_degenerate
        share = degenerate / max(len(groups), 1)
        aim = self.config.target * np.array([2 / 3, 1 / 3])
        self._explore = np.clip(self._explore + np.where(share >= aim, -_STEP, _STEP), _LEAST, _MOST)
        self._degenerate_share = float(share.sum())

    def _size_to(self, ctx: StepContext) -> None:
        if not len(self._visits):
            self._visits, self._easy = np.zeros(len(ctx.pool), np.int64), np.zeros(len(ctx.pool), np.int64)

    def state_dict(self) -> dict[str, Any]:
        state = {"explore": self._explore, "visits": self._visits, "easy": self._easy, "share": self._degenerate_share}
        return {**super().state_dict(), **state}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        super().load_state_dict(state)
        self._explore, self._visits, self._easy = (np.array(state[k]) for k in ("explore", "visits", "easy"))
        self._degenerate_share = float(state["share"])


GRESO = Composition(
    Greso,
    summary="questions that were degenerate lately are skipped at random",
    source="arXiv 2506.02177",
    observes="the run's own pass rates",
    acts="before the rollout; refused groups are refilled",
    costs="the refused rollouts",
)
