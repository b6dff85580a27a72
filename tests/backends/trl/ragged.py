"""A test strategy whose batches are as irregular as the interface allows."""

from __future__ import annotations

import numpy as np

from harness.strategies.uniform import Uniform
from harness.strategy import StepContext
from harness.types import AdvantageScope, PromptGroup, Selection


class Ragged(Uniform):
    """Groups of 2, 3, 4, … rollouts; every third is trained on without its last rollout, with the whole group's baseline."""

    requires = frozenset({"group_sizes", "partial_groups"})

    @property
    def advantage_scope(self) -> AdvantageScope:
        return "all"

    def select(self, num_groups: int, ctx: StepContext) -> Selection:
        return Selection(self.take(num_groups, ctx), rollouts_per_question=np.arange(num_groups) + 2)

    def subset(self, group: PromptGroup, ctx: StepContext) -> PromptGroup:
        return group.train_on(range(group.size - 1)) if group.size % 3 == 0 else group
