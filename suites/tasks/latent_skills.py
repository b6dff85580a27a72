"""Questions for the simulator: nothing but latent parameters, drawn from the settings (``harness.numerics.latent_skills``).

Their prompts carry no information; their metadata a noisy ``level`` (1 to 5) and a ``category``, as data sets label them.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from pydantic import BaseModel, ConfigDict, Field

from harness.numerics.latent_skills import SkillSettings, skill_questions
from harness.reward.spec import RewardSpec
from harness.task import TaskData
from harness.types import Question
from suites.tasks.config import parse_config

NAME = "latent-skills"
LEVELS, CATEGORIES = 5, 8
_DEFAULTS = SkillSettings()


class LatentSkillsConfig(BaseModel):
    """Settings of ``latent-skills``; the defaults are fitted to a recorded GRPO run of a 1.5B model."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    train: int = Field(2048, ge=1, description="training pool")
    validation: int = Field(256, ge=0, description="for tuning")
    test: int = Field(512, ge=1, description="for reported accuracies")
    adapter: int = Field(512, ge=0, description="for training the difficulty predictor")
    seed: int = Field(0, ge=0, description="draws the questions; runs with other seeds share them")
    skills: int = Field(_DEFAULTS.skills, ge=2, description="latent skills of the policy (K)")
    loadings: int = Field(_DEFAULTS.loadings, ge=1, description="skills that a question needs")
    difficulty: float = Field(_DEFAULTS.difficulty, description="mean difficulty in logits at the start")
    spread: float = Field(_DEFAULTS.spread, gt=0, description="standard deviation of difficulties in logits")
    out_of_reach: float = Field(_DEFAULTS.out_of_reach, ge=0, lt=1, description="share of training questions that no skill moves")
    gradient_noise: float = Field(1e-3, ge=0, description="noise of a skill's gradient from one informative group")
    forgetting: float = Field(2.6e-5, ge=0, lt=1, description="share of every skill lost per optimizer step")
    tokens: float = Field(16.0, gt=0, description="mean completion length in tokens")

    def questions(self, split: str) -> SkillSettings:
        """Parameters of a split; evaluation questions are all within reach."""
        reach = self.out_of_reach if split in ("train", "adapter") else 0.0
        return SkillSettings(self.skills, self.loadings, self.difficulty, self.spread, reach, self.seed)


class LatentSkills:
    """Builder of ``latent-skills``."""

    version = "1"

    def __init__(self, config: Mapping[str, Any]) -> None:
        self.config = parse_config(LatentSkillsConfig, config, NAME)

    def build(self) -> TaskData:
        """The splits; question *i* of a split is the i-th row of its parameters."""
        names = {name: int(getattr(self.config, name)) for name in ("train", "validation", "test", "adapter")}
        splits = {name: self._questions(name, count) for name, count in names.items()}
        return TaskData(NAME, splits, RewardSpec("exact"), alphabet="01")

    def _questions(self, split: str, count: int) -> tuple[Question, ...]:
        parameters = skill_questions(self.config.questions(split), split, count)
        rng = np.random.default_rng([self.config.seed, count, 0x6C6576])
        seen = parameters.difficulties + rng.normal(0, self.config.spread / 2, count)
        levels = np.searchsorted(np.quantile(seen, np.arange(1, LEVELS) / LEVELS), seen) + 1 if count else np.array([], dtype=int)
        categories = parameters.skills[:, 0] % CATEGORIES
        pairs = zip(levels.tolist(), categories.tolist(), strict=True)
        return tuple(Question(i, f"{split} {i}", "1", NAME, {"level": lv, "category": c}) for i, (lv, c) in enumerate(pairs))
