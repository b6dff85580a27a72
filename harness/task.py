"""What a task builder makes: questions in disjoint splits, how they are scored, and hints for tiny models."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any, Protocol

from harness.errors import UserError
from harness.reward.spec import RewardSpec
from harness.types import Question

#: The splits every task has. ``warm_up`` is a fifth one, only for building the embedded models.
SPLITS = ("train", "validation", "test", "adapter")
WARM_UP = "warm_up"


class TaskError(UserError):
    """A task that cannot be built as asked; the message says which setting to change."""


@dataclass(frozen=True, slots=True)
class WarmUp:
    """How an embedded model is made unsure of a task it knows.

    Each character of a warm-up target of length L is replaced by a random one of the alphabet of answers with
    probability ``noise_slope · (L − noise_offset)``, clipped to [0, 0.9]; the model learns for ``steps`` steps of
    ``batch_size`` questions. levels: (level, slope, offset) for questions whose metadata name a level of their own difficulty.
    """

    steps: int = 600
    batch_size: int = 64
    learning_rate: float = 3e-3
    noise_slope: float = 0.04
    noise_offset: float = 2.0
    levels: tuple[tuple[str, float, float], ...] = ()

    def noise(self, length: int, level: str | None = None) -> float:
        """Probability that a character of a target with ``length`` characters is corrupted."""
        own = {name: (slope, offset) for name, slope, offset in self.levels}
        slope, offset = own.get(level or "", (self.noise_slope, self.noise_offset))
        return min(0.9, max(0.0, slope * (length - offset)))

    @property
    def identity(self) -> dict[str, Any]:
        """What decides a warm-up; without levels as before there were any, so that models built then are still found."""
        return {name: value for name, value in asdict(self).items() if name != "levels" or value}


@dataclass(frozen=True, slots=True)
class TaskData:
    """A built task.

    splits: split name → questions; ids are positions in their split. reward: how completions are scored.
    alphabet: every character that prompts and answers hold, sorted (for character-level tokenizers).
    private: question key → metadata that only the scorer may see (a reasoning-gym entry often holds the solution).
    system_prompt: set where prompts go through the model's chat template; None where they are given to it bare.
    tokens: texts that character-level tokenizers read as one token, such as the tags around an answer.
    right_completion: what a completion that gives an answer looks like, with ``{answer}`` in it, for checking golds; None: as usual.
    sources: split → where its questions were read (file with SHA-256, or hub name with commit) and what was left out; not hashed.
    """

    name: str
    splits: Mapping[str, tuple[Question, ...]]
    reward: RewardSpec
    alphabet: str
    private: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    system_prompt: str | None = None
    warm_up: WarmUp = field(default_factory=WarmUp)
    tokens: tuple[str, ...] = ()
    sources: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    right_completion: str | None = None

    def split(self, name: str) -> tuple[Question, ...]:
        """The questions of a split. Raises TaskError if the task has no such split."""
        if name not in self.splits:
            raise TaskError(f"task {self.name!r} has no split {name!r} (it has {', '.join(self.splits)})")
        return self.splits[name]

    def scoring_metadata(self, question: Question) -> dict[str, Any]:
        """What a reward function gets beside completion and answer: public and private metadata."""
        return {**question.metadata, **self.private.get(question.key, {})}

    def split_hash(self, name: str) -> str:
        """Content hash of one split: its questions in order, and how they are scored."""
        return _digest([q.key for q in self.split(name)], self.reward.identity, self.system_prompt)

    @property
    def content_hash(self) -> str:
        """Content hash of everything in the task."""
        hashes = {name: self.split_hash(name) for name in sorted(self.splits)}
        return _digest(self.name, hashes, self.alphabet, self.warm_up.identity, *self.tokens)


class TaskBuilder(Protocol):
    """Constructed with the task's settings (unknown keys are a TaskError); ``build`` repeats exactly under its seed."""

    def __init__(self, config: Mapping[str, Any]) -> None: ...

    def build(self) -> TaskData:
        """The task; the same settings give the same questions."""
        ...


def embedded_positions(task: TaskData) -> int:
    """Positions of an embedded model built for the task: twice its longest question with answer, so that completions may run on."""
    longest = max(len(q.prompt) + len(q.answer) for questions in task.splits.values() for q in questions) + 2
    return max(128, 2 * longest)


def no_warm_up(model: str, task: str) -> str:
    """The sentence for an embedded model on a task without warm-up questions."""
    return (
        f"task {task!r} has no warm-up questions, so {model!r} cannot be built for it; give the task some with its setting warm_up, "
        "or name a model of the hub or a folder"
    )


def check_disjoint(splits: Mapping[str, tuple[Question, ...]]) -> None:
    """Raise TaskError if a question is in two splits, or twice in one."""
    seen: dict[str, str] = {}
    for name, questions in splits.items():
        for question in questions:
            if question.key in seen:
                raise TaskError(f"the question {question.prompt[:60]!r} is in split {seen[question.key]!r} and again in {name!r}")
            seen[question.key] = name


def _digest(*parts: Any) -> str:
    return hashlib.sha256(json.dumps(parts, sort_keys=True, ensure_ascii=True).encode()).hexdigest()[:20]
