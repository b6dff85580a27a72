"""Spell a word backward: the default task of the embedded models, after reasoning-gym's family ``spell_backward``.

The words are the family's own list. The prompt is only the word and ``=``, because the embedded models read characters and
know no English. The difficulty depends almost only on the length of the word.
"""

from __future__ import annotations

import random
from collections.abc import Mapping
from typing import Any

from pydantic import Field, model_validator

from harness.reward.spec import RewardSpec
from harness.task import TaskData, TaskError, check_disjoint
from harness.types import Question
from suites.tasks.config import SplitSizes, data_version, parse_config

NAME = "spell-backward"


class SpellBackwardConfig(SplitSizes):
    """Settings of ``spell-backward``."""

    min_word_length: int = Field(3, ge=1, le=10, description="shortest word")
    max_word_length: int = Field(10, ge=1, le=10, description="longest word")

    @model_validator(mode="after")
    def _ordered(self) -> SpellBackwardConfig:
        if self.max_word_length < self.min_word_length:
            raise ValueError(f"max_word_length {self.max_word_length} is less than min_word_length {self.min_word_length}")
        return self


class SpellBackward:
    """Builder of ``spell-backward``; every word is in one split only."""

    version = data_version(1)

    def __init__(self, config: Mapping[str, Any]) -> None:
        self.config = parse_config(SpellBackwardConfig, config, NAME)

    def build(self) -> TaskData:
        """Draw the splits from the shuffled word list, test questions first, so that pool sizes never move them."""
        words = _words(self.config.min_word_length, self.config.max_word_length)
        counts = self.config.counts()
        needed = sum(counts.values())
        if needed > len(words):
            raise TaskError(
                f"task {NAME!r} has {len(words)} words of {self.config.min_word_length}–{self.config.max_word_length} letters, "
                f"but the splits add up to {needed}; make a split smaller or allow more lengths"
            )
        random.Random(f"{NAME}/{self.config.seed}").shuffle(words)
        splits, start = {}, 0
        for name, count in counts.items():
            splits[name] = tuple(_question(i, word) for i, word in enumerate(words[start : start + count]))
            start += count
        check_disjoint(splits)
        return TaskData(NAME, splits, RewardSpec("exact"), alphabet="=abcdefghijklmnopqrstuvwxyz")


def _words(shortest: int, longest: int) -> list[str]:
    """The lower-case words of the family's list, sorted; 147,000 of 3–10 letters in reasoning-gym 0.1."""
    try:
        from reasoning_gym.data import read_data_file
    except ModuleNotFoundError as error:
        raise TaskError(f"task {NAME!r} needs the package reasoning-gym: pip install reasoning-gym") from error
    found = {line.strip() for line in read_data_file("words3to10.txt").splitlines()}
    return sorted(w for w in found if shortest <= len(w) <= longest and w.isascii() and w.isalpha() and w.islower())


def _question(index: int, word: str) -> Question:
    return Question(index, f"{word}=", word[::-1], NAME, {"word": word, "length": len(word)})
