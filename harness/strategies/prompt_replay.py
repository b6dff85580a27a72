"""Prompt Replay: roll out promising questions again (arXiv 2603.21177; repository baroian/GRPO_prompt_replay)."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
from pydantic import Field

from harness.strategies.uniform import UniformOrder
from harness.strategy import Composition, StepContext, StrategyConfig
from harness.types import FloatArray, IntArray, PromptGroup, Selection


class PromptReplayConfig(StrategyConfig):
    """The repository's values (``scripts/train/olmo3/qwen_math_1_5.sh``)."""

    low: float = Field(0.24, ge=0, le=0.5, description="least pass rate of a question that is rolled out again")
    high: float = Field(0.70, ge=0.5, le=1, description="greatest such pass rate")
    reused_fraction: float = Field(
        0.5,
        ge=0,
        le=0.5,
        description="share of the batch from earlier questions, rounded down, at most half",
        json_schema_extra={"tune": {"low": 0.1, "high": 0.5}},
    )
    cooldown: int = Field(
        5,
        ge=0,
        description="a question comes again this many steps after it was last seen, or later",
        json_schema_extra={"tune": {"low": 1, "high": 20}},
    )
    max_reuse: int = Field(5, ge=1, description="times a question comes again at most")


class PromptReplay(UniformOrder[PromptReplayConfig]):
    """Half the batch: questions last seen with .24 ≤ p ≤ .70, 5 or more steps ago, at most 5 times, by |p − 1/2|.

    Ties go to the lower pass rate, then to fewer reuses, then to the order of the pool. Only questions are reused: all rollouts are
    fresh. The other half, and what is missing, is uniform. The cooldowns by pass rate that the repository's scripts can switch on are
    left out; its published table does without them.
    """

    Config = PromptReplayConfig
    version = 2

    def __init__(self, config: PromptReplayConfig) -> None:
        super().__init__(config)
        self._rate: FloatArray = np.empty(0)  # NaN: never seen
        self._seen: IntArray = np.empty(0, dtype=np.int64)
        self._reuses: IntArray = np.empty(0, dtype=np.int64)

    def select(self, num_groups: int, ctx: StepContext) -> Selection:
        self._size_to(ctx)
        again = self._due(ctx)[: math.floor(self.config.reused_fraction * num_groups)]
        self._reuses[again] += 1
        chosen = dict.fromkeys(again.tolist())
        while len(chosen) < num_groups:
            chosen.update(dict.fromkeys(self.take(num_groups - len(chosen), ctx).tolist()))
        return Selection(np.fromiter(chosen, dtype=np.int64), info={"reused_questions": float(len(again))})

    def observe(self, groups: Sequence[PromptGroup], ctx: StepContext) -> None:
        self._size_to(ctx)
        for group in groups:
            self._rate[group.question_id], self._seen[group.question_id] = group.pass_rate, ctx.step

    def _due(self, ctx: StepContext) -> IntArray:
        config = self.config
        rested = ctx.step - self._seen >= config.cooldown
        fit = (self._rate >= config.low) & (self._rate <= config.high) & rested & (self._reuses < config.max_reuse)
        ids = np.flatnonzero(fit)
        return ids[np.lexsort((ids, self._reuses[ids], self._rate[ids], np.abs(self._rate[ids] - 0.5)))]

    def _size_to(self, ctx: StepContext) -> None:
        if not len(self._rate):
            self._rate = np.full(len(ctx.pool), np.nan)
            self._seen, self._reuses = np.zeros(len(ctx.pool), np.int64), np.zeros(len(ctx.pool), np.int64)

    def state_dict(self) -> dict[str, Any]:
        return {**super().state_dict(), "rate": self._rate, "seen": self._seen, "reuses": self._reuses}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        super().load_state_dict(state)
        self._rate, self._seen, self._reuses = (np.array(state[k]) for k in ("rate", "seen", "reuses"))


PROMPT_REPLAY = Composition(
    PromptReplay,
    summary="half the batch: questions of earlier steps with a pass rate near 1/2, rolled out again",
    source="arXiv 2603.21177",
    observes="the run's own pass rates",
    acts="before the rollout",
    costs="nothing",
)
