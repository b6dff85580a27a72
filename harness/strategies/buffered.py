"""What replays with a buffer share: the buffer as their whole state, and of most of them two settings of the loss."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Generic, Literal, Protocol, TypeVar

from pydantic import Field

from harness.step.buffers import RolloutBuffer
from harness.strategy import Correction, Replay, StepContext, StrategyConfig
from harness.types import AdvantageScope, PromptGroup


class ReplayConfig(StrategyConfig):
    """How stored rollouts enter the loss; the same two settings for every replay."""

    clip_center: Literal["old", "one"] = Field(
        "old", description="code: clip π/π_old around 1, times the detached weight π_old/μ; paper (one): clip π/μ around 1"
    )
    weight_cap: float | None = Field(None, gt=0, description="upper bound on the importance weight π_old/μ; off by default")


class StoredRolloutsConfig(ReplayConfig):
    """Size of a buffer of single rollouts; assumed, the abstracts give no number."""

    rollout_capacity: int = Field(2048, ge=1, description="rollouts kept", json_schema_extra={"tune": {"choices": [512, 1024, 2048, 4096]}})


class Buffer(Protocol):
    """Stored groups or rollouts that can be saved and taken back."""

    def state_dict(self) -> dict[str, Any]: ...

    def load_state_dict(self, state: dict[str, Any]) -> None: ...


ConfigT = TypeVar("ConfigT", bound=StrategyConfig, covariant=True)
ReplayT = TypeVar("ReplayT", bound=ReplayConfig, covariant=True)
StoredT = TypeVar("StoredT", bound=StoredRolloutsConfig, covariant=True)
BufferT = TypeVar("BufferT", bound=Buffer)


class BufferedReplay(Replay[ConfigT], Generic[ConfigT, BufferT]):
    """A replay with a ``_buffer``, which a subclass makes and fills and which is all that must survive a crash."""

    _buffer: BufferT

    def state_dict(self) -> dict[str, Any]:
        return self._buffer.state_dict()

    def load_state_dict(self, state: dict[str, Any]) -> None:
        self._buffer.load_state_dict(state)


class WeightedReplay(BufferedReplay[ReplayT, BufferT]):
    """A buffered replay whose settings say how stored rollouts enter the loss."""

    @property
    def correction(self) -> Correction:
        return Correction(self.config.clip_center, self.config.weight_cap)


class StoredRollouts(WeightedReplay[StoredT, RolloutBuffer]):
    """Keeps single rollouts with an advantage; what is drawn when is the subclass's.

    Each keeps the advantage of the group that it was sampled in (``advantage_scope = "all"``).
    """

    requires = frozenset({"behaviour_log_probs", "group_sizes", "partial_groups"})

    def __init__(self, config: StoredT) -> None:
        super().__init__(config)
        self._buffer = RolloutBuffer(config.rollout_capacity)

    @property
    def advantage_scope(self) -> AdvantageScope:
        return "all"

    def observe(self, groups: Sequence[PromptGroup], ctx: StepContext) -> None:
        self._buffer.add([g for g in groups if g.source == "fresh"])
