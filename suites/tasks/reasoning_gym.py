"""Any well-behaved families of reasoning-gym as a task: drawn, deduplicated, and checked against the family's own scorer.

An answer is correct if the family's scorer gives it 1. Many scorers give wrong answers 0.01 to 0.17, and some do not give their own
answer a full score, so every gold answer is checked while the task is built. A scorer reads the whole completion; for models that answer
in a sentence, ``reward = "number"`` looks at its last number instead.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping
from itertools import islice
from typing import Any, Literal

from pydantic import Field, field_validator, model_validator

from harness.reward.last_number import number_value, same_number
from harness.reward.spec import MANY_FAMILIES, REASONING_GYM, RewardSpec
from harness.task import WARM_UP, TaskData, TaskError, WarmUp, check_disjoint
from harness.types import Question
from suites.tasks.config import data_version, parse_config
from suites.tasks.family import NAME, Drawn, Family
from suites.tasks.mixture import IsRight, Level, Spoilt, check_levels, mixed, noise_by_level, numbers_of, spoil
from suites.tasks.worked import ANSWER_TAGS, STEPS, worked_solution


class FamilyLevel(Level):
    """A part of the questions from a family or with settings of its own; what is left out is the task's."""

    family: str | None = Field(None, description="instead of the task's family")
    family_config: dict[str, Any] | None = Field(None, description="instead of the task's family_config")
    prompt_pattern: str | None = Field(None, description="instead of the task's prompt_pattern")

    @field_validator("prompt_pattern")
    @classmethod
    def _has_a_group(cls, pattern: str | None) -> str | None:
        return checked_pattern(pattern)


class ReasoningGymConfig(Spoilt):
    """Settings of ``reasoning-gym``."""

    family: str = Field("", description="name of the family, such as chain_sum; not needed where every level names one")
    levels: tuple[FamilyLevel, ...] = Field(
        (), description="parts with a family, settings and warm-up noise of their own; shares add up to 1"
    )
    family_config: dict[str, Any] = Field(default_factory=dict, description="settings of the family")
    prompt_pattern: str | None = Field(
        None, description="regular expression whose groups, joined by a space, are the prompt; null for the whole question"
    )
    system_prompt: str | None = Field(None, description="system prompt in the model's chat template; null: the bare question is the prompt")
    reward: Literal["family", "number"] = Field(
        "family",
        exclude_if=lambda reward: reward == "family",  # added later: runs from before it stay the same runs
        description="family: its own scorer; number: the last number of a completion counts",
    )
    worked: bool = Field(False, description="warm-up targets show the steps before the answer, which is in <answer> tags")
    warm_up_steps: int = Field(600, ge=1, description="supervised steps with which an embedded model is built")
    noise_slope: float = Field(0.04, ge=0, description="corruption of warm-up targets per character beyond noise_offset")
    noise_offset: float = Field(2.0, description="length up to which warm-up targets are not corrupted")

    @field_validator("prompt_pattern")
    @classmethod
    def _has_a_group(cls, pattern: str | None) -> str | None:
        return checked_pattern(pattern)

    @model_validator(mode="after")
    def _consistent(self) -> ReasoningGymConfig:
        check_levels(self.levels)
        if not self.family and not (self.levels and all(level.family for level in self.levels)):
            raise ValueError("family is missing; name a family of reasoning-gym, such as chain_sum")
        for name in self.families():
            if self.worked and name not in STEPS:
                raise ValueError(f"worked = true needs a family with worked solutions: {', '.join(STEPS)}; {name!r} has none")
        return self

    def families(self) -> list[str]:
        """Every family that questions are drawn from, in order, without repeats."""
        return list(dict.fromkeys([level.family or self.family for level in self.levels] or [self.family]))


def checked_pattern(pattern: str | None) -> str | None:
    """The pattern; ValueError unless it is a regular expression with a group."""
    if pattern is not None:
        try:
            groups = re.compile(pattern).groups
        except re.error as error:
            raise ValueError(f"{pattern!r} is not a regular expression: {error}") from error
        if groups < 1:
            raise ValueError(f"{pattern!r} has no group; put the part that is the prompt in parentheses")
    return pattern


class ReasoningGym:
    """Builder of ``reasoning-gym``; equal settings give equal questions."""

    version = data_version(2)

    def __init__(self, config: Mapping[str, Any]) -> None:
        self.config = parse_config(ReasoningGymConfig, config, NAME)

    def build(self) -> TaskData:
        """Fill the splits with different questions, test first, so that the size of the pool never moves them."""
        config, families = self.config, self.config.families()
        drawn = self._with_levels() if config.levels else self._plain()
        # Families may ask the same question in the same words, so hidden facts belong to a prompt and its family.
        facts = {(question.task, question.prompt): entry for entries in drawn.values() for question, entry in entries}
        if config.reward == "number":
            _check_numbers(question for name, entries in drawn.items() if name != WARM_UP for question, _ in entries)
        clean = {name: tuple(question for question, _ in entries) for name, entries in drawn.items()}
        splits = spoil(clean, config, f"task {NAME!r}", self._is_right(facts))
        check_disjoint(splits)
        private = {
            spoilt.key: {**facts[question.task, question.prompt].hidden, **({"family": _family(question)} if len(families) > 1 else {})}
            for name in splits
            if name != WARM_UP  # these are never scored
            for question, spoilt in zip(clean[name], splits[name], strict=True)
        }
        tokens = ANSWER_TAGS if config.worked else ()
        characters = {c for questions in splits.values() for q in questions for c in q.prompt + _untagged(q.answer, tokens)}
        levels = noise_by_level(config.levels, config.noise_slope, config.noise_offset)
        warm_up = WarmUp(config.warm_up_steps, noise_slope=config.noise_slope, noise_offset=config.noise_offset, levels=levels)
        name = families[0] if len(families) == 1 else MANY_FAMILIES
        reward = RewardSpec("number" if config.reward == "number" else REASONING_GYM + name)
        alphabet = "".join(sorted(characters))
        label = f"{NAME}/{'+'.join(families)}"
        return TaskData(label, splits, reward, alphabet, private, config.system_prompt, warm_up, tokens)

    def _is_right(self, facts: Mapping[tuple[str, str], Drawn]) -> IsRight:
        """Whether an answer scores 1 on a question; ``facts`` are the drawn entries by task and prompt."""
        if self.config.reward == "number":
            return lambda answer, question: same_number(answer, question.answer) >= 1.0
        return lambda answer, question: facts[question.task, question.prompt].scores_full(answer, question.answer)

    def _plain(self) -> dict[str, list[tuple[Question, Drawn]]]:
        counts = self.config.counts()
        family = Family(self.config.family, self.config.family_config, self.config.prompt_pattern, self.config.seed)
        entries = family.draw(sum(counts.values()), set())
        return {
            name: [(self._question(i, family.name, entry, name), entry) for i, entry in enumerate(islice(entries, count))]
            for name, count in counts.items()
        }

    def _with_levels(self) -> dict[str, list[tuple[Question, Drawn]]]:
        seen: set[str] = set()
        counts = self.config.counts()
        needed = {name: numbers_of(self.config.levels, count) for name, count in counts.items()}
        sources = [
            (family, family.draw(sum(numbers[i] for numbers in needed.values()), seen)) for i, family in enumerate(self._level_families())
        ]
        splits = {}
        for name in counts:
            found: list[tuple[Question, Drawn]] = []
            for level, (family, entries), number in zip(self.config.levels, sources, needed[name], strict=True):
                found += [(self._question(0, family.name, entry, name, level.name), entry) for entry in islice(entries, number)]
            by_prompt = {(question.task, question.prompt): entry for question, entry in found}
            order = mixed([question for question, _ in found], f"{NAME}/{self.config.seed}/{name}")
            splits[name] = [(question, by_prompt[question.task, question.prompt]) for question in order]
        return splits

    def _level_families(self) -> Iterator[Family]:
        config = self.config
        for level in config.levels:
            settings = config.family_config if level.family_config is None else level.family_config
            yield Family(level.family or config.family, settings, level.prompt_pattern or config.prompt_pattern, config.seed, level.name)

    def _question(self, index: int, family: str, entry: Drawn, split: str, level: str | None = None) -> Question:
        # Warm-up questions are never scored: their "answer" is what the model is shown.
        answer = worked_solution(family, entry.entry) if self.config.worked and split == WARM_UP else entry.entry["answer"]
        metadata = {**entry.public, **({"level": level} if level else {})}
        return Question(index, entry.prompt, answer, f"{NAME}/{family}", metadata)


def _check_numbers(questions: Iterable[Question]) -> None:
    """Raise TaskError for a gold answer that is no number."""
    for question in questions:
        if number_value(question.answer) is None:
            raise TaskError(
                f"task {NAME!r}, family {_family(question)!r}: the answer {question.answer[:40]!r} is no number, "
                'so reward = "number" cannot score it; leave reward at "family"'
            )


def _family(question: Question) -> str:
    return question.task.removeprefix(f"{NAME}/")


def _untagged(text: str, tokens: tuple[str, ...]) -> str:
    """``text`` without the tags, which are tokens of their own."""
    for token in tokens:
        text = text.replace(token, "")
    return text
