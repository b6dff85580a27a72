"""Uniform selection: plain GRPO."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from harness.strategy import Composition, ConfigT, Selector, StepContext, StrategyConfig
from harness.types import IntArray, Selection


def pool_order(seed: int, epoch: int, pool_size: int) -> IntArray:
    """The order in which an epoch visits the pool: a permutation that depends on the run's seed and the epoch alone.

    The plain trainer that Halfway is compared with is fed in this order, so that GRPO through Halfway and GRPO without
    it see the same batches.
    """
    return np.random.default_rng([seed, 0x706F6F6C, epoch]).permutation(pool_size)


class UniformOrder(Selector[ConfigT]):
    """Every question of the pool once per epoch, in an order shuffled anew each epoch; the base of strategies that filter it."""

    def __init__(self, config: ConfigT) -> None:
        super().__init__(config)
        self._drawn = 0

    def take(self, num_questions: int, ctx: StepContext, without: npt.NDArray[np.bool_] | None = None) -> IntArray:
        """The next different questions of the order; those marked in ``without``, shape (N,), are passed over (enough must be left)."""
        size = len(ctx.pool)
        chosen: dict[int, None] = {}
        while (missing := num_questions - len(chosen)) > 0:
            epoch, offset = divmod(self._drawn, size)
            rest = pool_order(ctx.seed, epoch, size)[offset:]
            places = np.arange(min(missing, len(rest))) if without is None else np.flatnonzero(~without[rest])[:missing]
            self._drawn += int(places[-1]) + 1 if len(places) == missing else len(rest)
            # A batch that straddles two epochs must not hold one question twice: repeats are passed over.
            chosen.update(dict.fromkeys(rest[places].tolist()))
        return np.fromiter(chosen, dtype=np.int64)

    def select(self, num_groups: int, ctx: StepContext) -> Selection:
        return Selection(self.take(num_groups, ctx))

    def state_dict(self) -> dict[str, Any]:
        return {"drawn": self._drawn}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        self._drawn = int(state["drawn"])


class Uniform(UniformOrder[StrategyConfig]):
    """Every question of the pool once per epoch, in an order shuffled anew each epoch."""


GRPO = Composition(
    Uniform,
    summary="uniform selection, no replay: the baseline",
    source="DeepSeekMath, arXiv 2402.03300",
    observes="nothing",
    acts="before the rollout",
    costs="nothing",
)
