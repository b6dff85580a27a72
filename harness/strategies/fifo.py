"""RR, rollout replay (Sun et al., NeurIPS 2025, arXiv 2506.05316, section 3.2): part of each batch comes from a FIFO buffer."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any, ClassVar, Literal

from pydantic import Field

from harness.step.buffers import GroupBuffer
from harness.strategies.buffered import ReplayConfig, WeightedReplay
from harness.strategies.uniform import Uniform
from harness.strategies.variant import VariantConfig
from harness.strategy import Composition, Correction, Requirement, StepContext
from harness.types import PromptGroup


class FifoConfig(VariantConfig, ReplayConfig):
    """The paper's settings; ``variant = "code"`` takes those of the authors' trainer and of its published script.

    Three of its choices are settings of the algorithm, which a strategy cannot make. Beside ``variant = "code"`` a suite sets
    ``algorithm = { advantage_normalization = "std", behaviour_log_probs = "actor", top_p = 1.0, weight_decay = 0.01 }``, beside the
    paper's ``advantage_normalization = "none"``, ``top_p = 0.95`` and ``weight_decay = 0.0``, as ``suites/paper.toml`` does. One thing
    is not reproduced: the repository adds up the token means of its micro-batches, so that its loss is 5 to 11 times larger before
    the gradient is clipped at norm 1.
    """

    CODE: ClassVar[Mapping[str, Any]] = {
        "capacity": 512, "admission": "all", "when_short": "shrink", "replay_after": 2, "clip_center": "old", "order": "fresh-first",
    }  # fmt: skip

    capacity: int = Field(256, ge=1, description="C: prompt groups kept", json_schema_extra={"tune": {"choices": [64, 128, 256, 512]}})
    fresh_fraction: float = Field(
        0.5, gt=0, le=1, description="δ: share of the batch rolled out fresh", json_schema_extra={"tune": {"low": 0.25, "high": 0.9}}
    )
    admission: Literal["informative", "all"] = Field(
        "informative",
        description="paper: groups with 0 < pass rate < 1 enter, the last C stay; code: all enter, before each draw only a question's last "
        "group stays and degenerate ones leave, after it the last C − δB stay",
    )
    when_short: Literal["fresh", "shrink"] = Field(
        "fresh", description="too few groups stored: fresh, the whole batch is rolled out; shrink (code), δB fresh ones and what is stored"
    )
    replay_after: int = Field(0, ge=0, description="no replay in this many first steps; code: 2, the interval of its selection")
    clip_center: Literal["old", "one"] = Field(
        "one", description="paper (one): clip π/μ around 1; code (old): clip π/π_old around 1, times the detached weight π_old/μ"
    )
    order: Literal["shuffled", "fresh-first"] = Field(
        "shuffled", description="rollouts within the batch's updates; code (fresh-first): those of fresh groups first, replayed ones last"
    )


class FifoReplay(WeightedReplay[FifoConfig, GroupBuffer]):
    """Each step trains on δB fresh groups and (1−δ)B drawn uniformly from the last C groups, if the buffer holds that many.

    Degenerate groups are never replayed: under the paper they do not enter, under the code they leave before the draw. Advantages of
    replayed groups follow from their stored rewards; recomputed (code) and stored (paper) advantages are the same numbers because a
    group is stored whole.
    """

    Config = FifoConfig
    requires = frozenset({"behaviour_log_probs"})
    version = 2  # the variants of the paper and of its code; clip_center "one" by default

    def __init__(self, config: FifoConfig) -> None:
        super().__init__(config)
        self._buffer = GroupBuffer(config.capacity if config.admission == "informative" else None)

    @property
    def needs(self) -> frozenset[Requirement]:
        """A batch that shrinks is one of another number of rollouts."""
        return self.requires | {"group_sizes"} if self.config.when_short == "shrink" else self.requires

    @property
    def correction(self) -> Correction:
        return replace(super().correction, order=self.config.order)

    def num_fresh(self, num_groups: int, replayed: Sequence[PromptGroup], ctx: StepContext) -> int:
        if self.config.when_short == "shrink" and ctx.step > self.config.replay_after:
            return self._fresh(num_groups)
        return super().num_fresh(num_groups, replayed, ctx)

    def replay(self, num_groups: int, ctx: StepContext) -> list[PromptGroup]:
        fresh = self._fresh(num_groups)
        if self.config.admission == "all":
            self._buffer.clean()
        drawn = self._draw(num_groups - fresh, ctx)
        if self.config.admission == "all":
            self._buffer.trim(self.config.capacity - fresh)
        return drawn

    def _fresh(self, num_groups: int) -> int:
        return round(self.config.fresh_fraction * num_groups)

    def _draw(self, wanted: int, ctx: StepContext) -> list[PromptGroup]:
        if self.config.when_short == "shrink":
            wanted = min(wanted, len(self._buffer))
        if ctx.step <= self.config.replay_after or len(self._buffer) < wanted:
            return []
        return self._buffer.draw(wanted, ctx.rng, in_order=self.config.order == "fresh-first")

    def observe(self, groups: Sequence[PromptGroup], ctx: StepContext) -> None:
        everything = self.config.admission == "all"
        self._buffer.add([g for g in groups if g.source == "fresh" and (everything or not g.is_degenerate)])


class Withheld(FifoReplay):
    """RR without what it replays: its fresh groups alone, which separates a gain by fewer rollouts from one by replay."""

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
