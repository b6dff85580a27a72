"""DOTS + RR exists twice, as its paper says it and as its authors' code does it; one setting, ``variant``, chooses between the two."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar, Literal

from pydantic import Field, model_validator

from harness.strategy import StrategyConfig


class VariantConfig(StrategyConfig):
    """Settings whose defaults are the paper's (arXiv 2506.05316); ``variant = "code"`` puts those of its repository in their place.

    ``CODE`` of a subclass holds the repository's values. A setting that is given keeps its value under either variant, and a
    resolved config shows the values, not only the variant.
    """

    CODE: ClassVar[Mapping[str, Any]] = {}

    variant: Literal["paper", "code"] = Field(
        "paper", description="defaults of all settings in which the paper and its repository (ASTRAL-Group/data-efficient-llm-rl) differ"
    )

    @model_validator(mode="before")
    @classmethod
    def _fill(cls, data: Any) -> Any:
        if isinstance(data, Mapping) and data.get("variant") == "code":
            return {**cls.CODE, **data}
        return data
