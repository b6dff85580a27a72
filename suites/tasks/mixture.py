"""Pools as real ones are: levels of their own difficulty, questions that nobody can learn, and wrong gold answers.

Only what the policy is trained on is spoilt: the pool, and the questions of the difficulty predictor, which must be like the pool.
Validation and test questions are clean, so that an accuracy means what it says.
"""

from __future__ import annotations

import random
import string
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace

from pydantic import BaseModel, ConfigDict, Field, model_validator

from harness.task import WARM_UP, TaskError
from harness.types import Question
from suites.tasks.config import SplitSizes

#: The splits that may hold unlearnable questions and wrong golds.
SPOILT = ("train", "adapter")
#: Whether an answer scores 1 on a question with the gold answer that the question has.
IsRight = Callable[[str, Question], bool]
#: Attempts to find an answer that is wrong before a task is refused.
_TRIES = 100
#: Characters that a wrong gold keeps apart, so that a number stays a number and a word a word.
_KINDS = (string.digits, string.ascii_lowercase, string.ascii_uppercase)


class Level(BaseModel):
    """A part of every split with its own difficulty. Subclasses add the settings in which levels of a task may differ."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    name: str = Field(min_length=1, description="name of the level; strategies see it as the question's metadata level")
    share: float = Field(gt=0, le=1, description="share of the questions of every split")
    noise_slope: float | None = Field(None, ge=0, description="instead of the task's noise_slope")
    noise_offset: float | None = Field(None, description="instead of the task's noise_offset")


class Spoilt(SplitSizes):
    """Settings of a pool in which not every question teaches something."""

    unlearnable: float = Field(0.0, ge=0, lt=1, description="share of the pool whose gold answer belongs to another question")
    unlearnable_mark: str = Field("", max_length=8, description="text before the prompts of these; empty: nothing tells them apart")
    label_noise: float = Field(0.0, ge=0, lt=1, description="share of the pool whose gold answer has one wrong character")

    @model_validator(mode="after")
    def _some_are_right(self) -> Spoilt:
        if self.unlearnable + self.label_noise >= 1:
            raise ValueError(f"unlearnable {self.unlearnable:g} and label_noise {self.label_noise:g} leave no question with a right answer")
        if self.unlearnable_mark and not self.unlearnable:
            raise ValueError("unlearnable_mark marks nothing while unlearnable is 0; set unlearnable or leave the mark out")
        return self


def check_levels(levels: Sequence[Level]) -> None:
    """Raise ValueError unless the names differ and the shares add up to 1."""
    names = [level.name for level in levels]
    twice = next((name for name in names if names.count(name) > 1), None)
    if twice is not None:
        raise ValueError(f"two levels are called {twice!r}; give every level a name of its own")
    total = sum(level.share for level in levels)
    if levels and abs(total - 1) > 1e-6:
        raise ValueError(f"the shares of the levels add up to {total:g}; they must add up to 1")


def numbers_of(levels: Sequence[Level], count: int) -> list[int]:
    """How many of ``count`` questions each level gets: shares rounded by largest remainder, so that the numbers add up."""
    exact = [level.share * count for level in levels]
    numbers = [int(value + 1e-9) for value in exact]
    by_remainder = sorted(range(len(levels)), key=lambda i: numbers[i] - exact[i])
    for i in by_remainder[: count - sum(numbers)]:
        numbers[i] += 1
    return numbers


def mixed(questions: Sequence[Question], seed: str) -> tuple[Question, ...]:
    """The questions in an order that says nothing about their level, with their positions as ids."""
    order = list(questions)
    random.Random(seed).shuffle(order)
    return tuple(replace(question, id=i) for i, question in enumerate(order))


def noise_by_level(levels: Sequence[Level], slope: float, offset: float) -> tuple[tuple[str, float, float], ...]:
    """(level, noise slope, noise offset) of the levels that have their own, for :class:`harness.task.WarmUp`."""
    return tuple(
        (
            level.name,
            slope if level.noise_slope is None else level.noise_slope,
            offset if level.noise_offset is None else level.noise_offset,
        )
        for level in levels
        if level.noise_slope is not None or level.noise_offset is not None
    )


def _or(own: float | None, common: float) -> float:
    return common if own is None else own


def spoil(
    splits: Mapping[str, tuple[Question, ...]],
    settings: Spoilt,
    where: str,
    is_right: IsRight,
) -> dict[str, tuple[Question, ...]]:
    """The splits with unlearnable questions and wrong golds in those of :data:`SPOILT`; nothing else is changed.

    ``is_right(answer, question)`` says whether ``answer`` scores 1 on a question with the question's gold answer. Where a mark tells
    unlearnable questions apart, as many warm-up questions carry it with their right answer: an embedded model then reads the mark as it
    reads everything else. Raises TaskError where no wrong answer can be found.
    """
    if not settings.unlearnable and not settings.label_noise:
        return dict(splits)
    changed = dict(splits)
    for name in (*SPOILT, WARM_UP):
        questions = list(splits.get(name, ()))
        rng = random.Random(f"spoilt/{settings.seed}/{name}")
        order = rng.sample(range(len(questions)), len(questions))
        unlearnable = order[: round(settings.unlearnable * len(questions))]
        noisy = order[len(unlearnable) :][: round(settings.label_noise * len(questions))]
        answers = [question.answer for question in questions]
        for i in unlearnable:
            prompt = settings.unlearnable_mark + questions[i].prompt
            gold = questions[i].answer if name == WARM_UP else _other_gold(questions[i], answers, rng, where, is_right)
            questions[i] = replace(questions[i], prompt=prompt, answer=gold)
        for i in noisy if name != WARM_UP else ():
            questions[i] = replace(questions[i], answer=_near_miss(questions[i], rng, where, is_right))
        changed[name] = tuple(questions)
    return changed


def _other_gold(question: Question, answers: Sequence[str], rng: random.Random, where: str, is_right: IsRight) -> str:
    return _wrong(question, lambda: rng.choice(answers), where, is_right)


def _near_miss(question: Question, rng: random.Random, where: str, is_right: IsRight) -> str:
    """The answer with one character replaced by another of its kind."""
    places = [i for i, c in enumerate(question.answer) if any(c in kind for kind in _KINDS)]
    if not places:
        raise TaskError(f"{where}: label_noise finds no letter and no digit to change in the answer {question.answer[:40]!r}")

    def changed() -> str:
        place = rng.choice(places)
        kind = next(kind for kind in _KINDS if question.answer[place] in kind)
        return question.answer[:place] + rng.choice(kind) + question.answer[place + 1 :]

    return _wrong(question, changed, where, is_right)


def _wrong(question: Question, draw: Callable[[], str], where: str, is_right: IsRight) -> str:
    """A gold answer under which the question's true answer does not score."""
    for _ in range(_TRIES):
        gold = draw()
        if not is_right(question.answer, replace(question, answer=gold)):
            return gold
    raise TaskError(
        f"{where}: the answer {question.answer[:40]!r} still scores 1 with another gold answer, so this task cannot have unlearnable "
        "questions or label_noise; set both to 0"
    )
