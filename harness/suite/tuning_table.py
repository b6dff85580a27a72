"""The ``[tuning]`` table of a suite, and how a range of values is written, there and in a strategy's ``tune``."""

from __future__ import annotations

from typing import Any

from pydantic import Field, JsonValue, field_validator, model_validator

from harness.errors import UserError
from harness.spec import Settings, TargetSpec
from harness.stats import COST_LEDGERS, prices_of

VALIDATION = "validation"
"""The evaluation set that trials are judged on; never one that a suite reports."""


def with_nulls(value: Any) -> Any:
    """TOML data with None for every ``{ none = true }``, which is how a null is written in a suite's ranges and in lock files."""
    if isinstance(value, dict):
        return None if value == {"none": True} else {k: with_nulls(v) for k, v in value.items()}
    return [with_nulls(item) for item in value] if isinstance(value, list) else value


class Range(Settings):
    """Where a setting may lie: ``choices``, ``low`` to ``high``, or within a ``factor`` of the baseline's own value.

    TOML has no null: ``{ none = true }`` among the choices is no value, as in the lock file.
    """

    choices: tuple[JsonValue, ...] | None = Field(default=None, min_length=1, strict=False)
    low: float | None = None
    high: float | None = None
    log: bool = Field(default=False, description="search on a logarithmic scale")
    factor: float | None = Field(default=None, gt=1, description="from 1/factor to factor times the baseline's value, logarithmic")

    @field_validator("choices", mode="before")
    @classmethod
    def _single_values(cls, choices: object) -> object:
        if not isinstance(choices, (list, tuple)):
            return choices
        found = [with_nulls(choice) for choice in choices]
        odd = next((choice for choice in found if isinstance(choice, (dict, list))), None)
        if odd is not None:
            raise ValueError(f"has the choice {odd!r}; a choice is a number, a text, true or false, or {{ none = true }} for no value")
        return found

    @model_validator(mode="after")
    def _one_form(self) -> Range:
        bounds = (self.low is not None) + (self.high is not None)
        if (self.choices is not None) + (self.factor is not None) + (bounds == 2) != 1 or bounds == 1:
            raise ValueError("must be given as { low = …, high = … }, { factor = … } or { choices = […] }")
        if self.low is not None and self.high is not None and not self.low < self.high:
            raise ValueError(f"has low = {self.low:g}, which is not below high = {self.high:g}")
        if self.log and (self.low is None or self.low <= 0):
            raise ValueError("needs a low above 0 for log = true")
        return self


DEFAULT_SPACE = {"learning_rate": Range(factor=4.0), "updates_per_batch": Range(choices=(1, 2, 4, 8))}
"""What is searched for every strategy where a suite does not say: the two settings of plain GRPO that move time to target most."""


class TuningTable(Settings):
    """``[tuning]``: how every strategy of the suite is tuned."""

    trials: int = Field(default=12, ge=1, description="settings tried per combination and strategy, the suite's own among them")
    studies: int = Field(
        default=1, ge=1, description="searches per combination and strategy, each with a sampler seed of its own; the median one is used"
    )
    seeds: tuple[int, ...] = Field(default=(1001, 1002), min_length=1, strict=False, description="none of the suite's seeds")
    cost: str = Field(
        default="token_cost", description="cost ledger of the time to target that is minimised, or price:1 (a price per token)"
    )
    target: TargetSpec | None = Field(default=None, description="what trials aim for, where it is not the suite's own [target]")
    space: dict[str, Range] = Field(
        default_factory=lambda: dict(DEFAULT_SPACE), description="algorithm settings searched for every strategy"
    )
    strategy_space: dict[str, Range] = Field(
        default_factory=dict, description="ranges of strategies' own settings, instead of those that a strategy declares"
    )

    @field_validator("cost")
    @classmethod
    def _cost(cls, cost: str) -> str:
        try:
            known = prices_of(cost) is not None or cost in COST_LEDGERS
        except UserError as error:
            raise ValueError(str(error)) from error
        if not known:
            raise ValueError(f"must be price:1 (or another price of a generated token) or one of {', '.join(COST_LEDGERS)}")
        return cost

    @field_validator("seeds")
    @classmethod
    def _seeds(cls, seeds: tuple[int, ...]) -> tuple[int, ...]:
        for seed in seeds:
            if not 0 <= seed < 2**31:
                raise ValueError(f"has seed {seed}; a seed must lie between 0 and {2**31 - 1}")
            if seeds.count(seed) > 1:
                raise ValueError(f"has seed {seed} twice")
        return seeds
