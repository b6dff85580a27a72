"""SPEED-RL: a few screening rollouts first, the rest only where they disagree (arXiv 2506.09016, v3 withdrawn by its author)."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from pydantic import Field

from harness.strategies.uniform import UniformOrder
from harness.strategy import Composition, StepContext, StrategyConfig
from harness.types import PromptGroup, Selection


class SpeedConfig(StrategyConfig):
    """N_init is the paper's; it continues with 20 rollouts, here with the rest of the run's group size."""

    screening: int = Field(
        4, ge=2, description="N_init: screening rollouts per question", json_schema_extra={"tune": {"choices": [2, 4, 8]}}
    )
    max_rounds: int = Field(10, ge=1, description="screening rounds per step at most (assumed); then refused questions fill the batch")


class Speed(UniformOrder[SpeedConfig]):
    """Screen questions with N_init rollouts; continue to G rollouts where 0 < k < N_init. Surplus questions wait for the next step.

    The paper merges the two phases of successive batches into one inference call; here both run in one step, so all rollouts
    of a group have one policy version. A surplus question keeps its place but not its screening rollouts, which would be
    off-policy by then. Each round screens what is missing over the last rounds' share of accepted questions (assumed).
    """

    Config = SpeedConfig
    requires = frozenset({"probe", "group_sizes"})

    def __init__(self, config: SpeedConfig) -> None:
        super().__init__(config)
        self._waiting: list[int] = []
        self._accepted = np.array([1.0, 2.0])  # accepted and screened questions, halved every step: a first guess of 1/2

    def select(self, num_groups: int, ctx: StepContext) -> Selection:
        self._accepted /= 2
        chosen: dict[int, PromptGroup | None] = dict.fromkeys(self._waiting)
        refused: dict[int, PromptGroup] = {}
        for _ in range(self.config.max_rounds):
            missing = num_groups - len(chosen)
            if missing <= 0:
                break
            for group in self._screen(missing, ctx, {*chosen, *refused}):
                if group.is_degenerate:
                    refused[group.question_id] = group
                else:
                    chosen[group.question_id] = group
        chosen.update(list(refused.items())[: max(0, num_groups - len(chosen))])
        while len(chosen) < num_groups:  # so small a pool that its rounds met too few different questions
            chosen.update(dict.fromkeys(q for q in self.take(num_groups, ctx).tolist() if q not in chosen))
        ids = list(chosen)[:num_groups]
        self._waiting = list(chosen)[num_groups:]
        started = tuple(g for q in ids if (g := chosen[q]) is not None)
        return Selection(np.array(ids, dtype=np.int64), started=started)

    def _screen(self, missing: int, ctx: StepContext, known: set[int]) -> list[PromptGroup]:
        share = max(self._accepted[0] / self._accepted[1], 0.1)
        size = min(math.ceil(missing / share), len(ctx.pool))
        fresh = [q for q in self.take(size, ctx).tolist() if q not in known]
        groups = ctx.probe(np.array(fresh, dtype=np.int64), min(self.config.screening, ctx.group_size)) if fresh else []
        self._accepted += sum(not g.is_degenerate for g in groups), len(groups)
        return groups

    def state_dict(self) -> dict[str, Any]:
        return {**super().state_dict(), "waiting": self._waiting, "accepted": self._accepted}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        super().load_state_dict(state)
        self._waiting, self._accepted = [int(q) for q in state["waiting"]], np.array(state["accepted"])


SPEED = Composition(
    Speed,
    summary="4 screening rollouts, continued only where they disagree",
    source="arXiv 2506.09016",
    observes="screening rollouts of the step",
    acts="in the rollout: probe, then continue",
    costs="the screening rollouts of refused questions",
)
