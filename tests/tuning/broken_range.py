"""A strategy plugin whose author wrote a range the wrong way round."""

from __future__ import annotations

from pydantic import Field

from harness.strategies.uniform import Uniform
from harness.strategy import Composition, StrategyConfig


class Config(StrategyConfig):
    depth: int = Field(3, json_schema_extra={"tune": {"low": 9, "high": 1}})


class Selector(Uniform):
    Config = Config  # type: ignore[assignment]


PLUGIN = Composition(Selector)
