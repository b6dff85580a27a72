"""FAIR's experience replay: batches drawn uniformly from the last N groups, fresh ones among them (Arnal et al., arXiv 2604.08706)."""

from __future__ import annotations

from collections.abc import Sequence

from pydantic import Field

from harness.step.buffers import GroupBuffer
from harness.strategies.buffered import ReplayConfig, WeightedReplay
from harness.strategies.uniform import Uniform
from harness.strategy import Composition, StepContext
from harness.types import PromptGroup


class FairReplayConfig(ReplayConfig):
    """The paper finds the optimum B/R = μ/(ρ + 1/x*), x* = N/R, with measured μ and ρ; what stands here is assumed."""

    capacity: int = Field(
        128, ge=1, description="N: groups kept, fresh ones included", json_schema_extra={"tune": {"choices": [64, 128, 256]}}
    )
    fresh_fraction: float = Field(
        0.5,
        gt=0,
        le=1,
        description="R/B: questions rolled out per step over the batch",
        json_schema_extra={"tune": {"low": 0.25, "high": 0.9}},
    )


class FairReplay(WeightedReplay[FairReplayConfig, GroupBuffer]):
    """R questions are rolled out, join the FIFO buffer of N groups, and B groups are drawn from it uniformly, none twice, none removed.

    A fresh group is thus trained on with probability B/N in a step and B/R times on average (counted as filtered in a step that does
    not train on it). Until the buffer holds a batch, what it misses is rolled out. Of the paper's losses the one with an importance
    weight is taken.
    """

    Config = FairReplayConfig
    requires = frozenset({"behaviour_log_probs"})

    def __init__(self, config: FairReplayConfig) -> None:
        super().__init__(config)
        self._buffer = GroupBuffer(config.capacity)
        self._batch_size = 0  # of this step

    def num_fresh(self, num_groups: int, replayed: Sequence[PromptGroup], ctx: StepContext) -> int:
        self._batch_size = num_groups
        return min(num_groups, max(1, round(self.config.fresh_fraction * num_groups), num_groups - len(self._buffer)))

    def mix(self, groups: Sequence[PromptGroup], ctx: StepContext) -> list[PromptGroup]:
        kept = max(self.config.capacity, self._batch_size) - len(groups)
        stored = [g.with_source("replayed") for g in self._buffer][-kept:] if kept > 0 else []
        everything = [*groups, *stored]
        return [everything[i] for i in sorted(ctx.rng.permutation(len(everything))[: self._batch_size])]

    def observe(self, groups: Sequence[PromptGroup], ctx: StepContext) -> None:
        self._buffer.add([g for g in groups if g.source == "fresh"])


FAIR_REPLAY = Composition(
    Uniform,
    FairReplay,
    summary="B groups drawn uniformly from the last N, of which R are fresh",
    source="arXiv 2604.08706",
    observes="stored groups",
    acts="in the batch",
    costs="saves the rollouts it replays",
)
