"""A difficulty predictor for simulated runs: item-response parameters fitted on the pass rates of other simulated policies."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from backends.common.cached_folder import cached_folder
from backends.simulator.engine import embeddings_of
from harness.backend import Progress
from harness.numerics.latent_skills import SkillSettings, skill_questions
from harness.predictor.irt import fit_irt
from harness.predictor.questions import question_key
from harness.registry import entry_of, load_task
from harness.spec import RunSpec

POLICIES, ROLLOUTS = 16, 8


def settings_of(spec: RunSpec, split: str) -> SkillSettings:
    """The parameters that the task's builder used for a split."""
    return load_task(spec.combination.task.name)(spec.combination.task.config).config.questions(split)  # type: ignore[no-any-return]


def predictor_for(spec: RunSpec, cache: Path, progress: Progress) -> str | None:
    """Folder of the predictor, built once per task; None for strategies that need none."""
    if "predictor" not in entry_of(spec.strategy).requires or spec.strategy.config.get("predictor"):
        return None
    settings, count = settings_of(spec, "adapter"), int(str(spec.combination.task.config.get("adapter", 512)))

    def build(folder: Path) -> None:
        progress("fitting the predictor", 0, 0)
        rng = np.random.default_rng([settings.seed, 0x61646170])
        questions = skill_questions(settings, "adapter", count)
        others = rng.normal(0, 1, (POLICIES, settings.skills)) + rng.normal(0, 0.7, (POLICIES, 1))
        rates = np.stack([rng.binomial(ROLLOUTS, questions.pass_rates(theta)) / ROLLOUTS for theta in others], axis=1)
        fit_irt(
            embeddings_of(questions, settings.skills, settings.seed), rates, [question_key(f"adapter {i}") for i in range(count)],
            embedder="simulated", out=folder / "predictor", seed=0, rollouts=ROLLOUTS,
        )  # fmt: skip

    identity = {"task": spec.combination.task.config, "version": 1}
    return str(cached_folder(cache / "predictors", "simulated", identity, build) / "predictor")
