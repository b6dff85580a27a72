"""Online filters: refuse groups by their pass rate and refill the batch (DAPO, arXiv 2503.14476; Bae et al., arXiv 2504.03380)."""

from __future__ import annotations

import math
from typing import TypeVar

from pydantic import Field, model_validator

from harness.strategies.uniform import UniformOrder
from harness.strategy import Composition, StepContext, StrategyConfig
from harness.types import PromptGroup


class RefillConfig(StrategyConfig):
    """How a batch is refilled; both values are the DAPO recipe's (3 × 512 questions for a batch of 512, at most 10 generation batches)."""

    oversample: float = Field(
        3.0, ge=1, description="questions rolled out per missing group", json_schema_extra={"tune": {"choices": [1.0, 1.5, 2.0, 3.0]}}
    )
    max_rounds: int = Field(10, ge=1, description="generation rounds per step at most; then refused groups fill the batch")


RefillT = TypeVar("RefillT", bound=RefillConfig, covariant=True)


class Refilled(UniformOrder[RefillT]):
    """Uniform selection that rolls out ``oversample`` questions per missing group, for at most ``max_rounds`` rounds.

    The recipe raises an error when the rounds are used up and generates whole batches; here refused groups fill the batch and a
    later round is as large as what it still misses.
    """

    @property
    def max_refills(self) -> int:
        return self.config.max_rounds - 1

    def round_size(self, missing: int, ctx: StepContext) -> int:
        return math.ceil(self.config.oversample * missing)


class DynamicSampling(Refilled[RefillConfig]):
    """DAPO's dynamic sampling: keep groups with 0 < k < G (equation 11)."""

    Config = RefillConfig

    def admit(self, group: PromptGroup, ctx: StepContext) -> bool:
        return not group.is_degenerate


class BalancedConfig(RefillConfig):
    """The paper's example thresholds. Its refill is asynchronous, one question at a time: no oversampling."""

    oversample: float = Field(1.0, ge=1, description="questions rolled out per missing group")
    low: float = Field(0.2, ge=0, le=1, description="T_low: least pass rate kept", json_schema_extra={"tune": {"low": 0.0, "high": 0.45}})
    high: float = Field(
        0.8, ge=0, le=1, description="T_high: greatest pass rate kept", json_schema_extra={"tune": {"low": 0.55, "high": 1.0}}
    )

    @model_validator(mode="after")
    def _ordered(self) -> BalancedConfig:
        if self.low > self.high:
            raise ValueError(f"low = {self.low} is above high = {self.high}")
        return self


class Balanced(Refilled[BalancedConfig]):
    """Balanced online difficulty filtering: keep T_low ≤ p ≤ T_high; p(1−p)/(2β²) bounds the progress from below.

    The paper gives no bound on the refill; DAPO's ten rounds are assumed.
    """

    Config = BalancedConfig

    def admit(self, group: PromptGroup, ctx: StepContext) -> bool:
        return self.config.low <= group.pass_rate <= self.config.high


DAPO = Composition(
    DynamicSampling,
    summary="dynamic sampling: refill until no group is degenerate",
    source="arXiv 2503.14476",
    observes="pass rates of the step's groups",
    acts="after the rollout: filter and refill",
    costs="the refused rollouts",
)
BAE = Composition(
    Balanced,
    summary="balanced filter: refill until 0.2 ≤ pass rate ≤ 0.8",
    source="arXiv 2504.03380",
    observes="pass rates of the step's groups",
    acts="after the rollout: filter and refill",
    costs="the refused rollouts",
)
