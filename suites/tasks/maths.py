"""Real mathematics: the paper's four training pools and its evaluation sets (arXiv 2506.05316, appendix D).

Pools: MATH levels 3 to 5 of train and test without MATH-500; 10,240 questions of DeepScaleR; 8,192 each of Open-Reasoner-Zero and
DeepMath. The draw depends only on the seed and the texts of the questions, not on the order of a file or on a library's random
numbers. A file with exactly the requested number of questions is used whole.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field

from harness.data.overlap import normalised
from harness.reward.spec import RewardSpec
from harness.task import TaskData
from harness.types import Question
from suites.tasks.config import parse_config
from suites.tasks.pools import Item, alphabet, as_questions, draw, left_out, read_items, without_long
from suites.tasks.rows import INSTRUCTION
from suites.tasks.sources import Source, pins

NAME = "maths"
VERSION = 2

#: The system prompt of the paper's Table 5, with the trailing space of the authors' own pool.
SYSTEM_PROMPT = INSTRUCTION + " "

PoolName = Literal["math", "deepscaler", "orz", "deepmath"]
SetName = Literal["gsm8k", "math500", "minerva", "olympiadbench", "aime2024", "amc2023"]

# The commits at which public code read these data sets in November 2026; several independent repositories agree on each.
SOURCES: dict[str, Source] = {
    s.name: s
    for s in (
        Source(
            "math",
            ("math", "math12500", "math12500_pass_rates"),
            "DigitalLearningGmbH/MATH-lighteval",
            ("train", "test"),
            revision="0530c78699ea5e8eb5530600900e1f328b48acad",
        ),
        Source(
            "deepscaler",
            ("deepscaler", "deepscaler_10240"),
            "agentica-org/DeepScaleR-Preview-Dataset",
            ("train",),
            revision="b6ae8c60f5c1f2b594e2140b91c49c9ad0949e29",
        ),
        Source("orz", ("orz", "orz_math_57k_collection"), "Open-Reasoner-Zero/orz_math_57k_collection", ("train",)),
        Source("deepmath", ("deepmath",), "zwhe99/DeepMath-103K", ("train",), revision="5cf055d1fe3d7a2eb19719ac020211469736ae44"),
        Source("gsm8k", ("gsm8k", "gsm8k_test"), "openai/gsm8k", config="main", revision="740312add88f781978c0658806c59bc2815b9866"),
        Source("math500", ("math500",), "HuggingFaceH4/MATH-500", revision="6e4ed1a2a79af7d8630a6b768ec859cb5af4d3be"),
        Source("minerva", ("minerva", "minerva_math"), "math-ai/minervamath", revision="ee46ddc498933b1977577953250ca5c66be64f96"),
        Source("olympiadbench", ("olympiadbench",), "math-ai/olympiadbench", revision="4faaf1e6ec17d11a4218a9bf4c049ecaf954dd84"),
        Source("aime2024", ("aime2024",), "HuggingFaceH4/aime_2024", ("train",), revision="2fe88a2f1091d5048c0f36abc874fb997b3dd99a"),
        Source("amc2023", ("amc2023", "amc23"), "math-ai/amc23", revision="80815d37005feb82cd7f8fbc6901d5d3eff43057"),
    )
}
#: Questions of a pool in the paper; None for all that remain after its filter.
POOL_SIZES: dict[str, int | None] = {"math": None, "deepscaler": 10_240, "orz": 8_192, "deepmath": 8_192}


class MathsConfig(BaseModel):
    """Settings of ``maths``; the defaults are the paper's."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    pool: PoolName = Field(description="where the training questions come from")
    train: int | None = Field(None, ge=1, description="training questions; null for as many as the paper took")
    validation: int = Field(0, ge=0, description="questions of the same source, outside the pool, for tuning; the paper has none")
    seed: int = Field(0, ge=0, description="draws the pool; runs with other seeds share it")
    longest: int | None = Field(None, ge=1, description="characters of the longest question of the pool; null for no limit")
    sets: tuple[SetName, ...] = Field(("gsm8k", "math500", "minerva", "olympiadbench"), min_length=1, description="evaluation sets")
    box_required: bool = Field(True, description="only an answer in \\boxed{} counts, as the prompt asks; false: an announced one does too")


class Maths:
    """Builder of ``maths``: a pool, validation questions from the same source, and evaluation sets."""

    version = f"{VERSION}+{pins(SOURCES.values())}"

    def __init__(self, config: Mapping[str, Any]) -> None:
        self.config = parse_config(MathsConfig, config, NAME)

    def unpinned(self) -> list[str]:
        """The data sets whose revision is not pinned, as texts for the user."""
        return [f"data set {SOURCES[name].hub}" for name in (self.config.pool, *self.config.sets) if SOURCES[name].revision is None]

    def build(self) -> TaskData:
        """Read the pool and the evaluation sets. Raises TaskError with one sentence if a data set is unavailable or too small."""
        sources: dict[str, dict[str, Any]] = {}
        splits: dict[str, tuple[Question, ...]] = {}
        name = self.config.pool
        items, facts = self._pool()
        size = self.config.train or POOL_SIZES[name] or len(items) - self.config.validation
        pool, validation = draw(items, self.config.seed, size, self.config.validation, f"task {NAME!r}, pool {name!r}")
        for split, chosen in (("train", pool), ("validation", validation)):
            splits[split], sources[split] = as_questions(chosen, f"{NAME}/{name}"), facts
        for test in self.config.sets:
            found, sources[test] = read_items(SOURCES[test])
            splits[test] = as_questions(found, f"{NAME}/{test}")
        reward = RewardSpec("math-verify", box_required=self.config.box_required)
        return TaskData(f"{NAME}/{name}", splits, reward, alphabet(splits), system_prompt=SYSTEM_PROMPT, sources=sources)

    def _pool(self) -> tuple[list[Item], dict[str, Any]]:
        """The questions from which the pool is drawn, and facts about their source."""
        items, facts = read_items(SOURCES[self.config.pool])
        if self.config.pool == "math":
            right_level = [item for item in items if item.metadata.get("level") in (3, 4, 5)]
            facts = left_out(facts, "level below 3 or unknown", len(items) - len(right_level))
            held_out = {normalised(item.prompt) for item in read_items(SOURCES["math500"])[0]}
            items = [item for item in right_level if normalised(item.prompt) not in held_out]
            facts = left_out(facts, "in MATH-500", len(right_level) - len(items))
        items, facts = without_long(items, facts, self.config.longest)
        return items, {**facts, "usable": len(items)}
