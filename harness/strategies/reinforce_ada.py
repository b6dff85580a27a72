"""Reinforce-Ada: rounds of rollouts per question until right and wrong ones are there (arXiv 2510.04996; RLHFlow/Reinforce-Ada)."""

from __future__ import annotations

from typing import Literal

import numpy as np
from pydantic import Field

from harness.strategies.uniform import UniformOrder
from harness.strategy import Composition, StepContext, StrategyConfig
from harness.types import AdvantageScope, FloatArray, PromptGroup, Selection


class ReinforceAdaConfig(StrategyConfig):
    """The repository's values; n, the rollouts trained on, is the run's group size."""

    round_rollouts: int = Field(
        8, ge=1, description="M: rollouts of an unfinished question per round", json_schema_extra={"tune": {"choices": [4, 8]}}
    )
    max_rounds: int = Field(4, ge=1, description="rounds per step at most", json_schema_extra={"tune": {"choices": [2, 4]}})
    exit: Literal["balanced", "positive"] = Field("balanced", description="finished with n/2 right and n/2 wrong, or with one right")
    right_above: float = Field(0.7, description="a rollout with a greater reward is right")


class ReinforceAda(UniformOrder[ReinforceAdaConfig]):
    """Uniform questions, rolled out M at a time until finished; the first n/2 right and n/2 wrong are trained on, the baseline over all.

    What one kind lacks the other fills. A question that never finishes is trained on with what it has, as in the repository. All rounds
    of a step have one policy version, and the first round starts with at least n rollouts (the repository's M is twice its n).
    """

    Config = ReinforceAdaConfig
    requires = frozenset({"probe", "group_sizes", "partial_groups"})

    @property
    def advantage_scope(self) -> AdvantageScope:
        return "all"

    def select(self, num_groups: int, ctx: StepContext) -> Selection:
        ids = self.take(num_groups, ctx)
        made = {g.question_id: g for g in ctx.probe(ids, max(self.config.round_rollouts, ctx.group_size))} if num_groups else {}
        for _ in range(self.config.max_rounds - 1):
            unfinished = [q for q, group in made.items() if not self._finished(group, ctx.group_size)]
            if not unfinished:
                break
            for more in ctx.probe(np.array(unfinished), self.config.round_rollouts):
                made[more.question_id] = PromptGroup(more.question_id, (*made[more.question_id].rollouts, *more.rollouts), more.source)
        started = tuple(made[q] for q in ids.tolist())
        return Selection(ids, rollouts_per_question=np.array([g.size for g in started], dtype=np.int64), started=started)

    def _finished(self, group: PromptGroup, size: int) -> bool:
        right = int((group.rewards > self.config.right_above).sum())
        if self.config.exit == "positive":
            return right > 0
        return right >= size // 2 and group.size - right >= size - size // 2

    def subset(self, group: PromptGroup, ctx: StepContext) -> PromptGroup:
        return group.train_on(balanced(group.rewards, ctx.group_size, self.config.right_above))


def balanced(rewards: FloatArray, size: int, right_above: float) -> list[int]:
    """Positions, ascending, of the first ⌊size/2⌋ right and the first other wrong rollouts; each kind fills what the other lacks."""
    right, wrong = np.flatnonzero(rewards > right_above), np.flatnonzero(rewards <= right_above)
    num_wrong = min(len(wrong), size - min(size // 2, len(right)))
    num_right = min(len(right), size - num_wrong)
    return sorted([*right[:num_right].tolist(), *wrong[:num_wrong].tolist()])


REINFORCE_ADA = Composition(
    ReinforceAda,
    summary="rounds of rollouts until half of G are right and half wrong, trained on those",
    source="arXiv 2510.04996",
    observes="rewards of the step's rollouts",
    acts="in the rollout: rounds per question; after it: down-sampling",
    costs="up to 4M rollouts per question, of which G are trained on",
)
