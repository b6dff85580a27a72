"""Strategies that each break one promise of the contract."""

from __future__ import annotations

import gc
import random
import time
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from harness.strategies.fifo import FifoConfig, FifoReplay
from harness.strategies.uniform import Uniform
from harness.strategy import Replay, Selector, StepContext, StrategyConfig
from harness.testing.simulation import SimulatedEngine
from harness.types import PromptGroup, Selection


class GlobalRandom(Selector[StrategyConfig]):
    """Draws from numpy's global state."""

    def select(self, num_groups: int, ctx: StepContext) -> Selection:
        return Selection(np.random.permutation(len(ctx.pool))[:num_groups])


class Forgetful(Uniform):
    """Loses its place when it is saved."""

    def load_state_dict(self, state: dict[str, Any]) -> None:
        self._drawn = 0


class Unsaved(Uniform):
    """Has a state that it keeps to itself."""

    def state_dict(self) -> dict[str, Any]:
        return {}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        pass


class Tampering(Uniform):
    """Rewrites the behaviour log-probs of what it is shown."""

    def observe(self, groups: Sequence[PromptGroup], ctx: StepContext) -> None:
        for group in groups:
            for rollout in group.rollouts:
                assert rollout.behaviour_log_probs is not None
                rollout.behaviour_log_probs[:] = 0


class Greedy(Selector[StrategyConfig]):
    """Takes one question more than asked for."""

    def select(self, num_groups: int, ctx: StepContext) -> Selection:
        return Selection(ctx.rng.permutation(len(ctx.pool))[: num_groups + 1])


class Demanding(Selector[StrategyConfig]):
    """Wants four candidates for every question, however small the pool."""

    def select(self, num_groups: int, ctx: StepContext) -> Selection:
        return Selection(ctx.rng.choice(len(ctx.pool), size=4 * num_groups, replace=False)[:num_groups])


class Endless(Uniform):
    """Probes until it has found enough informative questions."""

    requires = frozenset({"probe"})

    def select(self, num_groups: int, ctx: StepContext) -> Selection:
        found: dict[int, None] = {}
        while len(found) < num_groups:
            probed = ctx.probe(self.take(num_groups, ctx), 8)
            found.update(dict.fromkeys(g.question_id for g in probed if not g.is_degenerate))
        return Selection(np.array(list(found)[:num_groups]))


class Reading(Uniform):
    """Looks into a file while it selects."""

    def select(self, num_groups: int, ctx: StepContext) -> Selection:
        Path("/etc/hosts").read_text(encoding="utf-8")
        return super().select(num_groups, ctx)


class Unmetered(Uniform):
    """Finds the engine in the interpreter's memory and rolls out behind the ledger's back."""

    def select(self, num_groups: int, ctx: StepContext) -> Selection:
        ids = self.take(num_groups, ctx)
        for engine in [o for o in gc.get_objects() if isinstance(o, SimulatedEngine) and o.policy_version == ctx.policy_version]:
            engine.rollout(ids[:1], 4, "probe", [ctx.step])
        return Selection(ids)


class Hungry(Uniform):
    """Probes one question in a hundred at every step."""

    requires = frozenset({"probe"})

    def select(self, num_groups: int, ctx: StepContext) -> Selection:
        ctx.probe(np.arange(0, len(ctx.pool), 100), 2)
        return super().select(num_groups, ctx)


class Unpicklable(Uniform):
    """Holds a function that no other process can import."""

    def __init__(self, config: StrategyConfig) -> None:
        super().__init__(config)
        self.hook = lambda: None


class SeededAlike(Uniform):
    """Seeds the global generator before it draws, the same in every run of a seed."""

    def select(self, num_groups: int, ctx: StepContext) -> Selection:
        random.seed(ctx.seed * 1000 + ctx.step)
        return Selection(np.array(random.sample(range(len(ctx.pool)), num_groups)))


class SeededNumpy(Uniform):
    """The same with numpy's."""

    def select(self, num_groups: int, ctx: StepContext) -> Selection:
        np.random.seed(ctx.seed * 1000 + ctx.step)
        return Selection(np.random.permutation(len(ctx.pool))[:num_groups])


class Probing(Uniform):
    """Probes without saying so."""

    def select(self, num_groups: int, ctx: StepContext) -> Selection:
        ctx.probe(np.arange(4), 2)
        return super().select(num_groups, ctx)


class Overwriting(FifoReplay):
    """Replays groups as if the last policy had sampled them."""

    def replay(self, num_groups: int, ctx: StepContext) -> list[PromptGroup]:
        return [self._fresher(g) for g in super().replay(num_groups, ctx)]

    def _fresher(self, group: PromptGroup) -> PromptGroup:
        return replace(group, rollouts=tuple(replace(r, behaviour_log_probs=np.zeros(r.num_tokens, np.float32)) for r in group.rollouts))


class Doubling(FifoReplay):
    """Replays every drawn group twice."""

    def replay(self, num_groups: int, ctx: StepContext) -> list[PromptGroup]:
        drawn = super().replay(num_groups, ctx)
        return [*drawn[: len(drawn) // 2], *drawn[: len(drawn) // 2]]


class Undeclared(Replay[FifoConfig]):
    """Mixes stored groups into the batch without asking for the log-probs that they were sampled with."""

    Config = FifoConfig
    requires = frozenset({"group_sizes"})

    def __init__(self, config: FifoConfig) -> None:
        super().__init__(config)
        self._stored: list[PromptGroup] = []

    def mix(self, groups: Sequence[PromptGroup], ctx: StepContext) -> list[PromptGroup]:
        return [*groups, *(g.with_source("replayed") for g in self._stored)]

    def observe(self, groups: Sequence[PromptGroup], ctx: StepContext) -> None:
        self._stored = list(groups)[:2]


class Cribbing(Uniform):
    """Prefers questions with a short gold answer, where it finds one."""

    def select(self, num_groups: int, ctx: StepContext) -> Selection:
        lengths = [len(getattr(ctx.pool[i], "answer", "")) for i in range(len(ctx.pool))]
        return Selection(np.lexsort((ctx.rng.random(len(lengths)), lengths))[:num_groups])


class Sleeping(Uniform):
    """Takes half a second over every step."""

    def select(self, num_groups: int, ctx: StepContext) -> Selection:
        time.sleep(0.5)
        return super().select(num_groups, ctx)


class Listing(Uniform):
    """Returns bare ids."""

    def select(self, num_groups: int, ctx: StepContext) -> Any:
        return self.take(num_groups, ctx).tolist()


class Returnless(FifoReplay):
    """Forgets to return what it draws."""

    def replay(self, num_groups: int, ctx: StepContext) -> Any:
        super().replay(num_groups, ctx)


class Crashing(Uniform):
    """Divides by zero in a helper."""

    def select(self, num_groups: int, ctx: StepContext) -> Selection:
        return Selection(self.take(self._share(num_groups), ctx))

    def _share(self, num_groups: int) -> int:
        return num_groups // 0
