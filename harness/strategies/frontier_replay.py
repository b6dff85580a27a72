"""The replay part of ``frontier``: informative groups, each a few times, as often as batch size and price of a rollout allow."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any, Literal

from pydantic import Field

from harness.step.buffers import GroupBuffer
from harness.strategies.buffered import BufferedReplay
from harness.strategy import Correction, StepContext, StrategyConfig
from harness.types import PromptGroup

MAX_AGE = 32
MASTERED = 0.9
#: b: groups in a batch at which training on a group again is worth half of the first time; assumed, as courses and simulator agree with it.
CRITICAL_GROUPS = 8.0
#: i: share of informative groups among the fresh ones; middle of what real runs have (.45 to .62).
INFORMATIVE = 0.5
MOST_USES = 4
#: Cap on π_old/μ where the clip around π/μ is switched off.
WEIGHT_CAP = 2.0

Off = Literal["coverage", "history", "prior", "representativeness", "replay", "clip", "uses", "freshness", "retirement"]


class FrontierConfig(StrategyConfig):
    """One config for both parts. The defaults come from validation questions, rehearsal and simulation alone (docs/frontier.md)."""

    generated_price: float = Field(
        1.0,
        gt=0,
        description="μ: what generating a token costs, in trained tokens (⅓ by operations, 1 to 7 measured on GPUs); dearer: more replay",
    )
    uses: int | None = Field(
        None,
        ge=1,
        le=8,
        description="u: times a group is trained on at most, the first included; 1 replays nothing; by default from μ and the batch size",
    )
    features: Literal["text", "embeddings", "none"] = Field(
        "text",
        description="what an unseen question is judged by: its text, frozen embeddings (a one-off cost), or nothing",
    )
    predictor: str | None = Field(
        None, description="folder made by `halfway predictor train`, used instead of features; its references are the run's own groups"
    )
    without: tuple[Off, ...] = Field((), description="for ablations: parts that are switched off")

    def most_uses(self, num_groups: int) -> int:
        """u = 1 + ⌊ln(μ/i) / ln(1 + b/B)⌋, within 1 to 4.

        Trained on for the (j+1)th time, a group is worth ν^j of the first time, ν = B/(B+b): the smaller the batch, the more its noise
        binds, and a stored group brings the noise that it brought before. The use costs one trained group and saves the generation of
        ν^j informative ones, μ/i each: it pays as long as ν^j ≥ i/μ.
        """
        if "replay" in self.without:
            return 1
        if self.uses is not None:
            return self.uses
        worth = math.log(self.generated_price / INFORMATIVE) / math.log1p(CRITICAL_GROUPS / num_groups)
        return 1 + max(0, min(math.floor(worth + 1e-9), MOST_USES - 1))


class FrontierReplay(BufferedReplay[FrontierConfig, GroupBuffer]):
    """(1−r)B stored groups, r = 1/(1 + (u−1)i): what i of the fresh groups can supply if each is trained on u times, with i = ½.

    Drawn uniformly from the informative groups of the last 32 steps that were trained on fewer than u times; where there are too few,
    the batch has more fresh ones. The loss is clipped around π/μ = 1, so that a stored rollout whose probability has already moved by
    1 ± ε is pushed no further. A question that was last solved 9 times of 10 or more is mastered: its groups are forgotten.
    """

    Config = FrontierConfig
    requires = frozenset({"behaviour_log_probs"})
    version = 2  # a bound on uses, clip around π/μ, a share by batch size and price; no refill

    def __init__(self, config: FrontierConfig) -> None:
        super().__init__(config)
        self._buffer = GroupBuffer(None)
        self._uses: dict[str, int] = {}  # of a stored group's first rollout: times the group was trained on

    @property
    def correction(self) -> Correction:
        return Correction("old", WEIGHT_CAP) if "clip" in self.config.without else Correction("one")

    def replay(self, num_groups: int, ctx: StepContext) -> list[PromptGroup]:
        off, most = self.config.without, self.config.most_uses(num_groups)
        if "freshness" not in off:
            self._keep([g for g in self._buffer if ctx.policy_version - g.policy_version <= MAX_AGE])
        if "uses" not in off or most == 1:
            self._keep([g for g in self._buffer if self._uses[_name(g)] < most])
        drawn = self._buffer.draw(min(stored_places(num_groups, most, ctx.step), len(self._buffer)), ctx.rng)
        for group in drawn:
            self._uses[_name(group)] += 1
        return drawn

    def observe(self, groups: Sequence[PromptGroup], ctx: StepContext) -> None:
        if "replay" in self.config.without:
            return
        fresh = [g for g in groups if g.source == "fresh"]
        if "retirement" not in self.config.without:
            mastered = {g.question_id for g in fresh if g.pass_rate >= MASTERED}
            self._keep([g for g in self._buffer if g.question_id not in mastered])
        informative = [g for g in fresh if not g.is_degenerate]
        self._buffer.add(informative)
        self._uses |= {_name(g): 1 for g in informative}

    def _keep(self, groups: Sequence[PromptGroup]) -> None:
        if len(groups) < len(self._buffer):
            self._buffer.keep(groups)
            self._uses = {_name(g): self._uses[_name(g)] for g in groups}

    def state_dict(self) -> dict[str, Any]:
        return {**super().state_dict(), "uses": [self._uses[_name(g)] for g in self._buffer]}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        super().load_state_dict(state)
        self._uses = {_name(g): int(n) for g, n in zip(self._buffer, state["uses"], strict=True)}


def stored_places(num_groups: int, uses: int, step: int) -> int:
    """(1−r)B = B(u−1)/(u−1+1/i) of a step's places, rounded so that the sum over steps is right; at least one place is fresh."""
    dividend, divisor = num_groups * (uses - 1), uses - 1 + round(1 / INFORMATIVE)
    return min(step * dividend // divisor - (step - 1) * dividend // divisor, num_groups - 1)


def _name(group: PromptGroup) -> str:
    return group.rollouts[0].uid
