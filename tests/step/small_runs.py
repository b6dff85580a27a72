"""Groups made by hand, runs of one strategy on the simulated engine, and strategies that several tests use."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from harness.strategies.uniform import Uniform
from harness.strategy import NoReplay, Replay, Selector, StepContext, Strategy, StrategyConfig
from harness.testing.simulation import SimulatedRun
from harness.types import PromptGroup, Rollout, Selection


def rollout(reward: float, version: int = 3, question: int = 7) -> Rollout:
    log_probs = np.array([-0.5, -0.25], np.float32)
    return Rollout(question, np.array([1]), np.array([2, 3]), log_probs, version, "", reward)


def group(*rewards: float, version: int = 3, **kwargs: Any) -> PromptGroup:
    return PromptGroup(7, tuple(rollout(r, version) for r in rewards), **kwargs)


def run_of(selector: Selector[Any], replay: Replay[Any] | None = None, **kwargs: Any) -> SimulatedRun:
    return SimulatedRun(Strategy("test", selector, replay or NoReplay(StrategyConfig())), **kwargs)


class Continuing(Uniform):
    """Probes 20 questions with 3 rollouts, continues 16 of them; remembers what it observed."""

    requires = frozenset({"probe", "group_sizes"})

    def __init__(self) -> None:
        super().__init__(StrategyConfig())
        self.seen: list[PromptGroup] = []

    def select(self, num_groups: int, ctx: StepContext) -> Selection:
        self.probes = ctx.probe(self.take(num_groups + 4, ctx), 3)
        started = tuple(self.probes[:num_groups])
        return Selection(np.array([g.question_id for g in started]), started=started)

    def observe(self, groups: Sequence[PromptGroup], ctx: StepContext) -> None:
        self.seen += groups


class Injecting(Replay[StrategyConfig]):
    """Adds the last stored rollout of question q to the group of question q."""

    requires = frozenset({"mixed_groups", "group_sizes", "behaviour_log_probs"})
    advantage_scope = "fresh"

    def __init__(self) -> None:
        super().__init__(StrategyConfig())
        self.stored: dict[int, Rollout] = {}

    def mix(self, groups: Sequence[PromptGroup], ctx: StepContext) -> list[PromptGroup]:
        return [g.with_stored([self.stored[g.question_id]]) if g.question_id in self.stored else g for g in groups]

    def observe(self, groups: Sequence[PromptGroup], ctx: StepContext) -> None:
        self.stored |= {g.question_id: g.rollouts[0] for g in groups}
