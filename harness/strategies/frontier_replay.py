"""The replay part of ``frontier``: recent informative groups, in a share of the batch that follows the price of rollouts."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

import numpy as np
from pydantic import Field

from harness.step.buffers import GroupBuffer
from harness.strategies.buffered import BufferedReplay
from harness.strategy import Correction, StepContext, StrategyConfig
from harness.types import PromptGroup

MAX_AGE = 8
WEIGHT_CAP = 2.0
MASTERED = 0.9
#: ρ of the optimal share, assumed (the paper's value is measured per run); with it μ = ⅓ replays nothing.
STALENESS = 0.25
LEAST_FRESH = 0.25
#: Of a batch's groups, at most so many degenerate ones are replaced.
REFILL_SHARE = 0.25

Off = Literal["coverage", "history", "prior", "representativeness", "replay", "cap", "freshness", "retirement", "refill"]


class FrontierConfig(StrategyConfig):
    """One config for both parts. The defaults come from rehearsal and simulation alone (docs/frontier.md); no test question was used."""

    generated_price: float = Field(
        1.0,
        gt=0,
        description="μ: what generating a token costs, in trained tokens (⅓ by operations, 1 to 7 measured on GPUs); dearer: more replay",
    )
    features: Literal["text", "embeddings", "none"] = Field(
        "text",
        description="what an unseen question is judged by: its text, frozen embeddings (a one-off cost), or nothing",
    )
    predictor: str | None = Field(
        None, description="folder made by `halfway predictor train`, used instead of features; its references are the run's own groups"
    )
    without: tuple[Off, ...] = Field((), description="for ablations: parts that are switched off")

    @property
    def fresh_share(self) -> float:
        """R/B: the optimum (ρ + 1/x)/μ of arXiv 2604.08706 with x = 8 steps of rollouts stored, kept within [¼, 1]."""
        if "replay" in self.without:
            return 1.0
        return float(np.clip((STALENESS + 1 / MAX_AGE) / self.generated_price, LEAST_FRESH, 1.0))


class FrontierReplay(BufferedReplay[FrontierConfig, GroupBuffer]):
    """(1−r)B stored groups, r = (ρ + 1/8)/μ, drawn uniformly from the informative groups of the last 8 steps; weights π_old/μ capped at 2.

    A step draws at most half of what is stored, so that a group is trained on about five times at most. A fresh group that turns out
    degenerate gives its place to a stored one, for up to a quarter of the batch; its rollouts are in the books as filtered. A question
    that was last solved 9 times of 10 or more is mastered: its groups are forgotten.
    """

    Config = FrontierConfig
    requires = frozenset({"behaviour_log_probs"})

    def __init__(self, config: FrontierConfig) -> None:
        super().__init__(config)
        self._buffer = GroupBuffer(None)

    @property
    def correction(self) -> Correction:
        return Correction("old", None if "cap" in self.config.without else WEIGHT_CAP)

    def replay(self, num_groups: int, ctx: StepContext) -> list[PromptGroup]:
        if "freshness" not in self.config.without:
            self._keep([g for g in self._buffer if ctx.policy_version - g.policy_version <= MAX_AGE])
        wanted = num_groups - max(1, round(self.config.fresh_share * num_groups))
        return self._buffer.draw(min(wanted, len(self._buffer) // 2), ctx.rng)

    def mix(self, groups: Sequence[PromptGroup], ctx: StepContext) -> list[PromptGroup]:
        batch = list(groups)
        if self.config.fresh_share == 1 or "refill" in self.config.without:
            return batch
        drawn = {g.rollouts[0].uid for g in groups}
        left = [g for g in self._buffer if g.rollouts[0].uid not in drawn]
        dull = [i for i, g in enumerate(batch) if g.source == "fresh" and g.is_degenerate][: round(REFILL_SHARE * len(batch))]
        most = min(len(dull), len(self._buffer) // 2 - (len(self._buffer) - len(left)))
        if most > 0:
            for place, chosen in zip(dull, ctx.rng.choice(len(left), most, replace=False), strict=False):
                batch[place] = left[chosen].with_source("replayed")
        return batch

    def observe(self, groups: Sequence[PromptGroup], ctx: StepContext) -> None:
        if self.config.fresh_share == 1:
            return
        fresh = [g for g in groups if g.source == "fresh"]
        if "retirement" not in self.config.without:
            mastered = {g.question_id for g in fresh if g.pass_rate >= MASTERED}
            self._keep([g for g in self._buffer if g.question_id not in mastered])
        self._buffer.add([g for g in fresh if not g.is_degenerate])

    def _keep(self, groups: Sequence[PromptGroup]) -> None:
        if len(groups) < len(self._buffer):
            self._buffer.keep(groups)
