"""Knapsack RL: more rollouts where they are worth more, at the same budget (arXiv 2509.25849, ICML 2026)."""

from __future__ import annotations

import heapq
from collections.abc import Sequence
from typing import Any

import numpy as np
from pydantic import Field

from harness.strategies.uniform import UniformOrder
from harness.strategy import Composition, StepContext, StrategyConfig
from harness.types import FloatArray, IntArray, PromptGroup, Selection


class KnapsackConfig(StrategyConfig):
    """The repository's bounds."""

    least: int = Field(2, ge=1, description="N_min: rollouts per question at least", json_schema_extra={"tune": {"choices": [2, 4]}})
    most: int = Field(93, ge=2, description="rollouts per question at most", json_schema_extra={"tune": {"choices": [16, 32, 93]}})


class Knapsack(UniformOrder[KnapsackConfig]):
    """max Σ value(N_i, p_i) with ΣN_i = B·G, value = (1 − p^N − (1−p)^N)·p(1−p)², p: the question's pass rate when last seen.

    A question not seen yet gets G rollouts (assumed; the paper's first epoch is uniform). ``value`` is concave in N, so that
    giving rollouts one by one to the greatest gain finds the optimum that the repository finds by dynamic programming. Questions
    with p = 0 or 1 are worth nothing and get N_min; what the others cannot take goes to those with p = 0, then to all. The
    repository's cost log(1−α)/log(max(p, 1−p)) is left out: its part in the allocation could not be established.
    """

    Config = KnapsackConfig
    requires = frozenset({"group_sizes"})

    def __init__(self, config: KnapsackConfig) -> None:
        super().__init__(config)
        self._rate: FloatArray = np.empty(0)  # NaN: never seen

    def select(self, num_groups: int, ctx: StepContext) -> Selection:
        self._size_to(ctx)
        ids = self.take(num_groups, ctx)
        least = min(self.config.least, ctx.group_size)
        sizes = allocate(self._rate[ids], ctx.group_size, least, max(self.config.most, ctx.group_size))
        return Selection(ids, rollouts_per_question=sizes)

    def observe(self, groups: Sequence[PromptGroup], ctx: StepContext) -> None:
        self._size_to(ctx)
        for group in groups:
            self._rate[group.question_id] = group.pass_rate

    def _size_to(self, ctx: StepContext) -> None:
        if not len(self._rate):
            self._rate = np.full(len(ctx.pool), np.nan)

    def state_dict(self) -> dict[str, Any]:
        return {**super().state_dict(), "rate": self._rate}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        super().load_state_dict(state)
        self._rate = np.array(state["rate"])


def value(size: int, pass_rate: float) -> float:
    """(1 − p^N − (1−p)^N)·p(1−p)²: the chance of a group that is not degenerate, times what it is worth."""
    return float((1 - pass_rate**size - (1 - pass_rate) ** size) * pass_rate * (1 - pass_rate) ** 2)


def allocate(pass_rates: FloatArray, group_size: int, least: int, most: int) -> IntArray:
    """Rollouts per question, shape (n,), summing to n·group_size, for pass rates of shape (n,) with NaN for unknown ones."""
    known = ~np.isnan(pass_rates)
    sizes = np.where(known, least, group_size)
    budget = len(pass_rates) * group_size - int(sizes.sum())
    gains = [(-_gain(least, p), i) for i, p in enumerate(pass_rates.tolist()) if known[i] and 0 < p < 1]
    heapq.heapify(gains)
    while budget and gains:
        _, i = heapq.heappop(gains)
        sizes[i] += 1
        budget -= 1
        if sizes[i] < most:
            heapq.heappush(gains, (-_gain(int(sizes[i]), float(pass_rates[i])), i))
    unsolved = np.flatnonzero(known & (pass_rates == 0))
    rest = unsolved if len(unsolved) else np.arange(len(pass_rates))
    if len(rest):
        sizes[rest] += budget // len(rest)
        sizes[rest[: budget % len(rest)]] += 1
    return sizes


def _gain(size: int, pass_rate: float) -> float:
    return value(size + 1, pass_rate) - value(size, pass_rate)


KNAPSACK = Composition(
    Knapsack,
    summary="the rollout budget where its value (1−p^N−(1−p)^N)·p(1−p)² is greatest",
    source="arXiv 2509.25849",
    observes="the run's own pass rates",
    acts="in the rollout: rollouts per question",
    costs="nothing",
)
