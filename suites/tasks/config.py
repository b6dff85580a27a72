"""Settings that the task builders share, and their validation."""

from __future__ import annotations

import importlib.metadata
from collections.abc import Mapping
from typing import Any, TypeVar

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from harness.errors import did_you_mean
from harness.task import TaskError
from harness.validation import explain, most_telling


class SplitSizes(BaseModel):
    """Number of questions per split and the seed that draws them."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    train: int = Field(2048, ge=1, description="training pool")
    validation: int = Field(256, ge=0, description="for tuning and calibration")
    test: int = Field(512, ge=1, description="for reported accuracies")
    adapter: int = Field(512, ge=0, description="for training the difficulty predictor")
    warm_up: int = Field(16384, ge=0, description="for building the embedded models")
    seed: int = Field(0, ge=0, description="draws the questions; runs with other seeds share them")

    def counts(self) -> dict[str, int]:
        """Split name → size, in the order in which questions are drawn."""
        names = ("test", "validation", "train", "adapter", "warm_up")
        return {name: int(getattr(self, name)) for name in names}


def data_version(builder: int) -> str:
    """The versions that, besides the settings, decide which questions are drawn: the builder's and reasoning-gym's."""
    try:
        found = importlib.metadata.version("reasoning-gym")
    except importlib.metadata.PackageNotFoundError:
        found = "missing"
    return f"{builder}+reasoning-gym-{found}"


ConfigT = TypeVar("ConfigT", bound=BaseModel)


def parse_config(model: type[ConfigT], config: Mapping[str, Any], task: str) -> ConfigT:
    """Validate settings. Raises TaskError with one sentence for an unknown key or a bad value."""
    for key in config:
        if key not in model.model_fields:
            known = ", ".join(model.model_fields)
            raise TaskError(f"task {task!r} has no setting {key!r}{did_you_mean(key, model.model_fields)} (settings: {known})")
    try:
        return model(**config)
    except ValidationError as error:
        location, words = explain(most_telling(error), model)
        at = ".".join(map(str, location))
        raise TaskError(f"task {task!r}{f', setting {at!r}' if at else ''}: {words}") from error
