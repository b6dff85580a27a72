"""Spell a word backward: the default task of the embedded models, after reasoning-gym's family ``spell_backward``.

The words are the family's own list. The prompt is only the word and ``=``, because the embedded models read characters and
know no English. The difficulty depends almost only on the length of the word.
"""

from __future__ import annotations

import itertools
import random
from collections.abc import Mapping
from typing import Any

from pydantic import Field, model_validator

from harness.reward.spec import RewardSpec
from harness.task import TaskData, TaskError, WarmUp, check_disjoint
from harness.types import Question
from suites.tasks.config import data_version, parse_config
from suites.tasks.mixture import Level, Spoilt, check_levels, mixed, noise_by_level, numbers_of, spoil

NAME = "spell-backward"


class WordLevel(Level):
    """Words of some lengths."""

    min_word_length: int = Field(3, ge=1, le=10, description="shortest word")
    max_word_length: int = Field(10, ge=1, le=10, description="longest word")

    @model_validator(mode="after")
    def _ordered(self) -> WordLevel:
        _check_lengths(self.min_word_length, self.max_word_length)
        return self


class SpellBackwardConfig(Spoilt):
    """Settings of ``spell-backward``."""

    min_word_length: int = Field(3, ge=1, le=10, description="shortest word")
    max_word_length: int = Field(10, ge=1, le=10, description="longest word")
    levels: tuple[WordLevel, ...] = Field((), description="parts with lengths and warm-up noise of their own; shares add up to 1")
    warm_up_steps: int = Field(600, ge=1, description="supervised steps with which an embedded model is built")
    noise_slope: float = Field(0.04, ge=0, description="corruption of warm-up targets per character beyond noise_offset")
    noise_offset: float = Field(2.0, description="length up to which warm-up targets are not corrupted")

    @model_validator(mode="after")
    def _consistent(self) -> SpellBackwardConfig:
        _check_lengths(self.min_word_length, self.max_word_length)
        check_levels(self.levels)
        return self


def _check_lengths(shortest: int, longest: int) -> None:
    if longest < shortest:
        raise ValueError(f"max_word_length {longest} is less than min_word_length {shortest}")


class SpellBackward:
    """Builder of ``spell-backward``; every word is in one split only."""

    version = data_version(1)

    def __init__(self, config: Mapping[str, Any]) -> None:
        self.config = parse_config(SpellBackwardConfig, config, NAME)

    def build(self) -> TaskData:
        """Draw the splits from the shuffled word list, test questions first, so that pool sizes never move them."""
        config = self.config
        splits = self._with_levels() if config.levels else self._plain()
        splits = spoil(splits, config, f"task {NAME!r}", lambda answer, question: answer == question.answer)
        check_disjoint(splits)
        levels = noise_by_level(config.levels, config.noise_slope, config.noise_offset)
        warm_up = WarmUp(config.warm_up_steps, noise_slope=config.noise_slope, noise_offset=config.noise_offset, levels=levels)
        alphabet = "".join(sorted({*"=abcdefghijklmnopqrstuvwxyz", *(config.unlearnable_mark if config.unlearnable else "")}))
        return TaskData(NAME, splits, RewardSpec("exact"), alphabet=alphabet, warm_up=warm_up)

    def _plain(self) -> dict[str, tuple[Question, ...]]:
        words = self._shuffled(self.config.min_word_length, self.config.max_word_length)
        counts = self.config.counts()
        needed = sum(counts.values())
        if needed > len(words):
            raise TaskError(
                f"task {NAME!r} has {len(words)} words of {self.config.min_word_length}–{self.config.max_word_length} letters, "
                f"but the splits add up to {needed}; make a split smaller or allow more lengths"
            )
        splits, start = {}, 0
        for name, count in counts.items():
            splits[name] = tuple(_question(i, word) for i, word in enumerate(words[start : start + count]))
            start += count
        return splits

    def _with_levels(self) -> dict[str, tuple[Question, ...]]:
        left = {level.name: self._shuffled(level.min_word_length, level.max_word_length) for level in self.config.levels}
        taken: set[str] = set()
        splits = {}
        for name, count in self.config.counts().items():
            found = []
            for level, number in zip(self.config.levels, numbers_of(self.config.levels, count), strict=True):
                chosen = list(itertools.islice((w for w in left[level.name] if w not in taken), number))
                if len(chosen) < number:
                    raise TaskError(
                        f"task {NAME!r}: level {level.name!r} has no {number} words of {level.min_word_length}–{level.max_word_length} "
                        f"letters left for the split {name!r}; make a split smaller or allow more lengths"
                    )
                taken.update(chosen)
                found += [_question(0, word, level.name) for word in chosen]
            splits[name] = mixed(found, f"{NAME}/{self.config.seed}/{name}")
        return splits

    def _shuffled(self, shortest: int, longest: int) -> list[str]:
        words = _words(shortest, longest)
        random.Random(f"{NAME}/{self.config.seed}").shuffle(words)
        return words


def _words(shortest: int, longest: int) -> list[str]:
    """The lower-case words of the family's list, sorted; 147,000 of 3–10 letters in reasoning-gym 0.1."""
    try:
        from reasoning_gym.data import read_data_file
    except ModuleNotFoundError as error:
        raise TaskError(f"task {NAME!r} needs the package reasoning-gym: pip install reasoning-gym") from error
    found = {line.strip() for line in read_data_file("words3to10.txt").splitlines()}
    return sorted(w for w in found if shortest <= len(w) <= longest and w.isascii() and w.isalpha() and w.islower())


def _question(index: int, word: str, level: str | None = None) -> Question:
    return Question(index, f"{word}=", word[::-1], NAME, {"word": word, "length": len(word), **({"level": level} if level else {})})
