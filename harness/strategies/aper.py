"""APER: advantage-prioritised replay of single rollouts beside the whole fresh batch (arXiv 2606.04560; known by its abstract)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from pydantic import Field

from harness.registry import Composition
from harness.replay import RolloutBuffer
from harness.strategies.fifo import ReplayConfig
from harness.strategies.uniform import Uniform
from harness.strategy import Correction, Replay, StepContext
from harness.types import AdvantageScope, PromptGroup


class AperConfig(ReplayConfig):
    """Buffer size, maximal age, ratio and exponent are not in the abstract: every number here is assumed."""

    rollout_capacity: int = Field(2048, ge=1, description="rollouts kept", json_schema_extra={"tune": {"choices": [512, 1024, 2048, 4096]}})
    max_age: int = Field(
        8,
        ge=1,
        description="τ_max: steps after which a rollout is forgotten",
        json_schema_extra={"tune": {"low": 2, "high": 32, "log": True}},
    )
    ratio: float = Field(0.25, gt=0, description="replayed rollouts per fresh one", json_schema_extra={"tune": {"low": 0.1, "high": 1.0}})
    exponent: float = Field(1.0, ge=0, description="of the priority |A|", json_schema_extra={"tune": {"low": 0.0, "high": 2.0}})


class Aper(Replay[AperConfig]):
    """The fresh batch stays whole; ``ratio`` times as many stored rollouts join it, drawn with P ∝ |A|^exponent, none older than τ_max.

    A stored rollout keeps the advantage of the group that it was sampled in (``advantage_scope = "all"``; not stated).
    """

    Config = AperConfig
    requires = frozenset({"behaviour_log_probs", "group_sizes", "partial_groups"})

    def __init__(self, config: AperConfig) -> None:
        super().__init__(config)
        self._buffer = RolloutBuffer(config.rollout_capacity)

    @property
    def advantage_scope(self) -> AdvantageScope:
        return "all"

    @property
    def correction(self) -> Correction:
        return Correction(self.config.clip_center, self.config.weight_cap)

    def mix(self, groups: Sequence[PromptGroup], ctx: StepContext) -> list[PromptGroup]:
        self._buffer.evict_older(ctx.policy_version - self.config.max_age)
        wanted = round(self.config.ratio * sum(len(g.trained_rollouts) for g in groups))
        log_weights = self.config.exponent * np.log(self._buffer.abs_advantages)
        drawn = self._buffer.draw(log_weights, min(wanted, len(self._buffer)), ctx.rng)
        return [*groups, *(g.with_source("replayed") for g in drawn)]

    def observe(self, groups: Sequence[PromptGroup], ctx: StepContext) -> None:
        self._buffer.add([g for g in groups if g.source == "fresh"])

    def state_dict(self) -> dict[str, Any]:
        return self._buffer.state_dict()

    def load_state_dict(self, state: dict[str, Any]) -> None:
        self._buffer.load_state_dict(state)


APER = Composition(
    Uniform,
    Aper,
    summary="single rollouts with large |advantage| replayed beside a whole fresh batch",
    source="arXiv 2606.04560 (abstract)",
    observes="stored rollouts",
    acts="in the batch: extra rollouts",
    costs="training on a quarter more rollouts",
)
