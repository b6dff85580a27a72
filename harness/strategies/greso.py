"""GRESO: skip questions whose recent groups were degenerate (Zheng et al., arXiv 2506.02177; repository Infini-AI-Lab/GRESO)."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
from pydantic import Field

from harness.strategies.uniform import UniformOrder
from harness.strategy import Composition, StepContext, StrategyConfig
from harness.types import FloatArray, IntArray, PromptGroup, Selection

#: Between the least and the greatest exploration probability, in steps of _STEP; no question is skipped for ever.
_LEAST, _MOST, _STEP, _FLOOR = 0.05, 0.95, 0.01, 0.01
_HARD, _EASY = 0, 1


class GresoConfig(StrategyConfig):
    """The repository's values; its batch is B = 256."""

    target: float = Field(
        0.25, gt=0, lt=1, description="share of degenerate groups aimed at: a third too easy, the rest too hard",
        json_schema_extra={"tune": {"low": 0.1, "high": 0.5}},
    )  # fmt: skip
    easy_from: float = Field(0.98, gt=0, le=1, description="a visit with this mean reward or more counts as easy")
    hard_to: float = Field(0.11, ge=0, lt=1, description="a visit with this mean reward or less counts as hard")
    safety: float = Field(1.25, ge=1, description="factor on the questions that the degenerate share of the last round asks for")
    first_round: float = Field(1.5, ge=1, description="questions of the first round over B (384 of 256), and the most of a later round")
    least_round: float = Field(0.25, ge=0, le=1, description="questions of a later round over B, at least (64 of 256)")
    max_rounds: int = Field(
        4, ge=1, description="rounds per step at most; the repository has no bound and never ends where every group is degenerate"
    )


class Greso(UniformOrder[GresoConfig]):
    """P(skip) = 1 − max(p^z, 0.01) from the trailing easy visits, then once more from the trailing hard ones, each with its own p and z.

    Both p start at 1/2. From the second epoch on they move by 0.01 a step, down where the share of all-right (easy) or all-wrong (hard)
    groups of the step was as high as aimed at, up elsewhere. Degenerate groups are refused. The first round is fixed; a later one rolls
    out safety · missing / (1 − degenerate share of the round before) questions within its bounds, and where the upper bound did not cut
    that estimate it is the last one, whatever comes of it: the batch then stays short. On a pool where every group is degenerate a step
    costs at most ``max_rounds · first_round · B`` groups.
    """

    Config = GresoConfig
    requires = frozenset({"group_sizes"})
    fill_short_batches = False
    version = 2

    def __init__(self, config: GresoConfig) -> None:
        super().__init__(config)
        self._explore = np.array([0.5, 0.5])  # hard, easy
        self._streaks: IntArray = np.empty((0, 2), dtype=np.int64)  # z: trailing hard and easy visits of every question
        self._round = 0  # rounds of this step so far; this and the next three are set anew in every step
        self._wanted = 0
        self._is_last = False
        self._degenerate_share = 0.0

    @property
    def max_refills(self) -> int:
        return self._round - 1 if self._is_last else self.config.max_rounds - 1

    def round_size(self, missing: int, ctx: StepContext) -> int:
        most = math.ceil(self.config.first_round * (self._wanted if self._round else missing))
        if not self._round:
            self._wanted = missing
            return most
        informative = max(1 - self._degenerate_share, 1e-9)
        estimate = int(missing / informative * self.config.safety)
        self._is_last = estimate <= most
        return min(max(estimate, math.ceil(self.config.least_round * self._wanted)), most)

    def select(self, num_groups: int, ctx: StepContext) -> Selection:
        self._size_to(ctx)
        self._round += 1
        chosen: dict[int, None] = {}
        skipped: dict[int, None] = {}
        looked_at = 0
        while len(chosen) < num_groups and looked_at < 2 * len(ctx.pool):
            ids = self.take(num_groups - len(chosen), ctx)
            looked_at += len(ids)
            keep = (ctx.rng.random((len(ids), 2)) < self.keep_probabilities(ids)).all(axis=1)
            chosen.update(dict.fromkeys(ids[keep].tolist()))
            skipped.update(dict.fromkeys(ids[~keep].tolist()))
        # Every question has been looked at: those skipped fill what is missing, in the order they were skipped.
        rest = [i for i in skipped if i not in chosen][: max(0, num_groups - len(chosen))]
        return Selection(np.array([*list(chosen)[:num_groups], *rest], dtype=np.int64))

    def keep_probabilities(self, question_ids: IntArray) -> FloatArray:
        """max(p^z, 0.01) for hard and easy visits, shape (n, 2); a question is rolled out if it passes both."""
        kept: FloatArray = np.maximum(self._explore ** self._streaks[question_ids], _FLOOR)
        return kept

    def admit_round(self, groups: Sequence[PromptGroup], ctx: StepContext) -> list[bool]:
        admitted = [not g.is_degenerate for g in groups]
        self._degenerate_share = 1 - sum(admitted) / max(len(admitted), 1)
        return admitted

    def observe(self, groups: Sequence[PromptGroup], ctx: StepContext) -> None:
        self._size_to(ctx)
        degenerate = np.zeros(2)
        for group in groups:
            easy = group.pass_rate > 0.5
            visit = np.array([group.pass_rate <= self.config.hard_to, group.pass_rate >= self.config.easy_from])
            self._streaks[group.question_id] = np.where(visit, self._streaks[group.question_id] + 1, 0)
            degenerate[_EASY if easy else _HARD] += group.is_degenerate
        if self._drawn > len(ctx.pool):
            aim = self.config.target * np.array([2 / 3, 1 / 3])
            share = degenerate / max(len(groups), 1)
            self._explore = np.clip(self._explore + np.where(share >= aim, -_STEP, _STEP), _LEAST, _MOST)
        self._round, self._is_last = 0, False

    def _size_to(self, ctx: StepContext) -> None:
        if not len(self._streaks):
            self._streaks = np.zeros((len(ctx.pool), 2), np.int64)

    def state_dict(self) -> dict[str, Any]:
        return {**super().state_dict(), "explore": self._explore, "streaks": self._streaks}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        super().load_state_dict(state)
        self._explore, self._streaks = np.array(state["explore"]), np.array(state["streaks"])


GRESO = Composition(
    Greso,
    summary="questions that were degenerate lately are skipped at random",
    source="arXiv 2506.02177",
    observes="the run's own pass rates",
    acts="before the rollout; refused groups are refilled in a second round",
    costs="the refused rollouts; at most 6B groups a step",
)
