"""RR, rollout replay (Sun et al., NeurIPS 2025, arXiv 2506.05316): part of each batch comes from a FIFO buffer."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

from pydantic import Field

from harness.step.buffers import GroupBuffer
from harness.strategies.buffered import BufferedReplay, ReplayConfig
from harness.strategies.uniform import Uniform
from harness.strategy import Composition, StepContext
from harness.types import PromptGroup


class FifoConfig(ReplayConfig):
    """Where the paper and the authors' repository differ, the default is the paper's unless it says ``code``."""

    capacity: int = Field(256, ge=1, description="C: prompt groups kept", json_schema_extra={"tune": {"choices": [64, 128, 256, 512]}})
    fresh_fraction: float = Field(
        0.5, gt=0, le=1, description="δ: share of the batch rolled out fresh", json_schema_extra={"tune": {"low": 0.25, "high": 0.9}}
    )
    admission: Literal["informative", "all"] = Field(
        "informative", description="paper: only groups with 0 < pass rate < 1 enter; code: all enter"
    )
    replay_after: int = Field(0, ge=0, description="no replay in this many first steps (code: the selection interval)")


class FifoReplay(BufferedReplay[FifoConfig, GroupBuffer]):
    """Each step trains on δB fresh groups and (1−δ)B drawn from the last C groups, if the buffer holds that many.

    Advantages of replayed groups follow from their stored rewards; recomputed and stored advantages are the same numbers
    because a group is stored whole.
    """

    Config = FifoConfig
    requires = frozenset({"behaviour_log_probs"})

    def __init__(self, config: FifoConfig) -> None:
        super().__init__(config)
        self._buffer = GroupBuffer(config.capacity)

    def replay(self, num_groups: int, ctx: StepContext) -> list[PromptGroup]:
        wanted = num_groups - round(self.config.fresh_fraction * num_groups)
        if ctx.step <= self.config.replay_after or len(self._buffer) < wanted:
            return []
        return self._buffer.draw(wanted, ctx.rng)

    def observe(self, groups: Sequence[PromptGroup], ctx: StepContext) -> None:
        everything = self.config.admission == "all"
        self._buffer.add([g for g in groups if g.source == "fresh" and (everything or not g.is_degenerate)])


class Withheld(FifoReplay):
    """RR without what it replays: its fresh groups alone, so that a gain from fewer rollouts can be told from one by replay."""

    requires = frozenset({"behaviour_log_probs", "group_sizes"})

    def mix(self, groups: Sequence[PromptGroup], ctx: StepContext) -> list[PromptGroup]:
        fresh = [g for g in groups if g.source != "replayed"]
        return fresh or list(groups)


RR = Composition(
    Uniform,
    FifoReplay,
    summary="rollout replay: half the batch from a FIFO buffer of groups",
    source="arXiv 2506.05316, section 3.2",
    observes="stored groups",
    acts="in the batch",
    costs="saves the rollouts it replays; a log-prob pass with several updates per batch",
)
FEWER_FRESH = Composition(
    Uniform,
    Withheld,
    summary="a control: as many fresh rollouts as rr and no replay",
    observes="nothing",
    acts="in the batch",
    costs="smaller batches",
)
