"""Any well-behaved family of reasoning-gym as a task: drawn, deduplicated, and checked against the family's own scorer.

An answer is correct if the family's scorer gives it 1. Many scorers give wrong answers 0.01 to 0.17, and some do not give their own
answer a full score, so every gold answer is checked while the task is built.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from typing import Any

from pydantic import Field, field_validator, model_validator

from harness.errors import did_you_mean
from harness.reward.spec import REASONING_GYM, RewardSpec
from harness.task import WARM_UP, TaskData, TaskError, WarmUp, check_disjoint
from harness.types import Question
from suites.tasks.config import SplitSizes, data_version, parse_config
from suites.tasks.worked import ANSWER_TAGS, STEPS, worked_solution

NAME = "reasoning-gym"
#: A family is exhausted when this many draws in a row gave no new question.
PATIENCE = 2_000
#: Share of a family's own answers that may fail its own scorer (they are left out).
MAX_BAD_SHARE = 0.05


class ReasoningGymConfig(SplitSizes):
    """Settings of ``reasoning-gym``."""

    family: str = Field(description="name of the family, such as chain_sum")
    family_config: dict[str, Any] = Field(default_factory=dict, description="settings of the family")
    prompt_pattern: str | None = Field(
        None, description="regular expression whose groups, joined by a space, are the prompt; null for the whole question"
    )
    system_prompt: str | None = Field(None, description="system prompt in the model's chat template; null: the bare question is the prompt")
    worked: bool = Field(False, description="warm-up targets show the steps before the answer, which is in <answer> tags")
    warm_up_steps: int = Field(600, ge=1, description="supervised steps with which an embedded model is built")
    noise_slope: float = Field(0.04, ge=0, description="corruption of warm-up targets per character beyond noise_offset")
    noise_offset: float = Field(2.0, description="length up to which warm-up targets are not corrupted")

    @field_validator("prompt_pattern")
    @classmethod
    def _has_a_group(cls, pattern: str | None) -> str | None:
        if pattern is not None:
            try:
                groups = re.compile(pattern).groups
            except re.error as error:
                raise ValueError(f"{pattern!r} is not a regular expression: {error}") from error
            if groups < 1:
                raise ValueError(f"{pattern!r} has no group; put the part that is the prompt in parentheses")
        return pattern

    @model_validator(mode="after")
    def _has_steps(self) -> ReasoningGymConfig:
        if self.worked and self.family not in STEPS:
            raise ValueError(f"worked = true needs a family with worked solutions: {', '.join(STEPS)}; {self.family!r} has none")
        return self


class ReasoningGym:
    """Builder of ``reasoning-gym``; equal settings give equal questions."""

    version = data_version(1)

    def __init__(self, config: Mapping[str, Any]) -> None:
        self.config = parse_config(ReasoningGymConfig, config, NAME)
        self._where = f"task {NAME!r}, family {self.config.family!r}"

    def build(self) -> TaskData:
        """Fill the splits with different questions, test first, so that the size of the pool never moves them."""
        counts = self.config.counts()
        drawn = self._draw(sum(counts.values()))
        splits: dict[str, tuple[Question, ...]] = {}
        private: dict[str, dict[str, Any]] = {}
        for name, count in counts.items():
            questions = []
            for i in range(count):
                prompt, entry, hidden = next(drawn)
                # Warm-up questions are never scored: their "answer" is what the model is shown.
                shown = self.config.worked and name == WARM_UP
                answer = worked_solution(self.config.family, entry) if shown else entry["answer"]
                question = Question(i, prompt, answer, f"{NAME}/{self.config.family}", _public(entry["metadata"]))
                questions.append(question)
                if name != WARM_UP:
                    private[question.key] = hidden
            splits[name] = tuple(questions)
        check_disjoint(splits)
        tokens = ANSWER_TAGS if self.config.worked else ()
        characters = {c for questions in splits.values() for q in questions for c in q.prompt + _untagged(q.answer, tokens)}
        warm_up = WarmUp(self.config.warm_up_steps, noise_slope=self.config.noise_slope, noise_offset=self.config.noise_offset)
        reward = RewardSpec(REASONING_GYM + self.config.family)
        alphabet = "".join(sorted(characters))
        return TaskData(f"{NAME}/{self.config.family}", splits, reward, alphabet, private, self.config.system_prompt, warm_up, tokens)

    def _draw(self, needed: int) -> Iterator[tuple[str, dict[str, Any], dict[str, Any]]]:
        """(prompt, the family's entry, metadata for the scorer) of different questions whose answer scores 1."""
        dataset = self._dataset()
        seen: set[str] = set()
        index = since_new = bad = 0
        while True:
            entry = dataset[index]
            index, since_new = index + 1, since_new + 1
            prompt = self._prompt(entry["question"])
            if prompt not in seen:
                hidden = json.loads(json.dumps({**entry["metadata"], "question": entry["question"]}, default=str))
                if self._scores_full(dataset, entry, hidden):
                    seen.add(prompt)
                    since_new = 0
                    yield prompt, entry, hidden
                else:
                    bad += 1
            if since_new > PATIENCE or bad > max(20.0, MAX_BAD_SHARE * index):
                raise self._exhausted(len(seen), needed, bad, index)

    def _exhausted(self, found: int, needed: int, bad: int, drawn: int) -> TaskError:
        if bad > max(20.0, MAX_BAD_SHARE * drawn):
            return TaskError(f"{self._where}: its own answer does not score 1 for {bad} of {drawn} questions, so it cannot be a task here")
        return TaskError(
            f"{self._where} has about {found} different questions, but the splits add up to {needed}; "
            "make a split smaller or widen family_config"
        )

    def _scores_full(self, dataset: Any, entry: Mapping[str, Any], hidden: Mapping[str, Any]) -> bool:
        # The metadata went through JSON, as it does on its way to the process that scores.
        try:
            return isinstance(entry["answer"], str) and bool(dataset.score_answer(entry["answer"], {**entry, "metadata": hidden}) >= 1.0)
        except Exception:
            return False

    def _prompt(self, question: str) -> str:
        if self.config.prompt_pattern is None:
            return question
        match = re.search(self.config.prompt_pattern, question, re.DOTALL)
        if match is None or not all(match.groups()):
            raise TaskError(f"{self._where}: prompt_pattern {self.config.prompt_pattern!r} finds nothing in {question[:120]!r}")
        return " ".join(match.groups())

    def _dataset(self) -> Any:
        try:
            import reasoning_gym
            from reasoning_gym.factory import DATASETS
        except ModuleNotFoundError as error:
            raise TaskError(f"task {NAME!r} needs the package reasoning-gym: pip install reasoning-gym") from error
        if self.config.family not in DATASETS:
            raise TaskError(
                f"task {NAME!r}: reasoning-gym has no family {self.config.family!r}{did_you_mean(self.config.family, DATASETS)}"
            )
        try:
            return reasoning_gym.create_dataset(
                self.config.family, **{**self.config.family_config, "seed": 1_000_000 * self.config.seed, "size": 10_000_000}
            )
        except (TypeError, AssertionError, ValueError) as error:
            raise TaskError(f"{self._where}: family_config is refused: {error}") from error


def _public(metadata: Mapping[str, Any]) -> dict[str, Any]:
    """What a strategy may see: the difficulty settings that are plain numbers or words, never the solution."""
    difficulty = metadata.get("difficulty")
    items = difficulty.items() if isinstance(difficulty, Mapping) else ()
    return {str(k): v for k, v in items if isinstance(v, (int, float, str))}


def _untagged(text: str, tokens: tuple[str, ...]) -> str:
    """``text`` without the tags, which are tokens of their own."""
    for token in tokens:
        text = text.replace(token, "")
    return text
