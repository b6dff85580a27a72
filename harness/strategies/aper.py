"""APER: advantage-prioritised replay of single rollouts beside the whole fresh batch (arXiv 2606.04560; known by its abstract)."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from pydantic import Field

from harness.strategies.buffered import StoredRollouts, StoredRolloutsConfig
from harness.strategies.uniform import Uniform
from harness.strategy import Composition, StepContext
from harness.types import PromptGroup


class AperConfig(StoredRolloutsConfig):
    """Buffer size, maximal age, ratio and exponent are not in the abstract: every number here is assumed."""

    max_age: int = Field(
        8,
        ge=1,
        description="τ_max: steps after which a rollout is forgotten",
        json_schema_extra={"tune": {"low": 2, "high": 32, "log": True}},
    )
    ratio: float = Field(0.25, gt=0, description="replayed rollouts per fresh one", json_schema_extra={"tune": {"low": 0.1, "high": 1.0}})
    exponent: float = Field(1.0, ge=0, description="of the priority |A|", json_schema_extra={"tune": {"low": 0.0, "high": 2.0}})


class Aper(StoredRollouts[AperConfig]):
    """The fresh batch stays whole; ``ratio`` times as many stored rollouts join it, drawn with P ∝ |A|^exponent, none older than τ_max.

    A stored rollout keeps the advantage of the group that it was sampled in (``advantage_scope = "all"``; not stated).
    """

    Config = AperConfig

    def mix(self, groups: Sequence[PromptGroup], ctx: StepContext) -> list[PromptGroup]:
        self._buffer.evict_older(ctx.policy_version - self.config.max_age)
        wanted = round(self.config.ratio * sum(len(g.trained_rollouts) for g in groups))
        log_weights = self.config.exponent * np.log(self._buffer.abs_advantages)
        drawn = self._buffer.draw(log_weights, min(wanted, len(self._buffer)), ctx.rng)
        return [*groups, *(g.with_source("replayed") for g in drawn)]


APER = Composition(
    Uniform,
    Aper,
    summary="single rollouts with large |advantage| replayed beside a whole fresh batch",
    source="arXiv 2606.04560 (abstract)",
    observes="stored rollouts",
    acts="in the batch: extra rollouts",
    costs="training on a quarter more rollouts",
)
