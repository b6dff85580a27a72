"""One family of reasoning-gym as a source of different questions whose own answer scores 1."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from harness.data.overlap import normalised
from harness.errors import did_you_mean
from harness.task import TaskError

NAME = "reasoning-gym"
#: A family is exhausted when this many draws in a row gave no new question.
PATIENCE = 2_000
#: Share of a family's own answers that may fail its own scorer (they are left out).
MAX_BAD_SHARE = 0.05


@dataclass(frozen=True, slots=True)
class Drawn:
    """A question of a family. hidden: what only the scorer may see; it went through JSON, as on its way to the process that scores."""

    prompt: str
    entry: Mapping[str, Any]
    hidden: Mapping[str, Any]
    score: Callable[[str, Mapping[str, Any]], float]

    def scores_full(self, answer: str, gold: str) -> bool:
        """Whether the family's scorer gives ``answer`` a full score where the gold answer is ``gold``."""
        try:
            return isinstance(gold, str) and bool(self.score(answer, {**self.entry, "answer": gold, "metadata": dict(self.hidden)}) >= 1.0)
        except Exception:
            return False

    @property
    def public(self) -> dict[str, Any]:
        """What a strategy may see: the difficulty settings that are plain numbers or words, never the solution."""
        difficulty = self.entry["metadata"].get("difficulty")
        items = difficulty.items() if isinstance(difficulty, Mapping) else ()
        return {str(k): v for k, v in items if isinstance(v, (int, float, str))}


class Family:
    """A family with its settings; ``level`` names the part of a task in messages."""

    def __init__(self, name: str, settings: Mapping[str, Any], prompt_pattern: str | None, seed: int, level: str | None = None) -> None:
        self.name, self._settings, self._pattern, self._seed = name, settings, prompt_pattern, seed
        self._where = f"task {NAME!r}, {f'level {level!r}, ' if level else ''}family {name!r}"

    def draw(self, needed: int, seen: set[str]) -> Iterator[Drawn]:
        """Different questions whose normalised prompts are not in ``seen``, to which they are added.

        Raises TaskError if the family has fewer than ``needed``, and if too many of its own answers fail its own scorer.
        """
        dataset = self._dataset()
        index = since_new = bad = found = 0
        while True:
            entry = dataset[index]
            index, since_new = index + 1, since_new + 1
            prompt = self._prompt(entry["question"])
            text = normalised(prompt)  # "Sigma" and "sigma" are one question, which must not stand in two splits
            if text not in seen:
                hidden = json.loads(json.dumps({**entry["metadata"], "question": entry["question"]}, default=str))
                drawn = Drawn(prompt, entry, hidden, dataset.score_answer)
                if drawn.scores_full(entry["answer"], entry["answer"]):
                    seen.add(text)
                    since_new, found = 0, found + 1
                    yield drawn
                else:
                    bad += 1
            if since_new > PATIENCE or bad > max(20.0, MAX_BAD_SHARE * index):
                raise self._exhausted(found, needed, bad, index)

    def _exhausted(self, found: int, needed: int, bad: int, drawn: int) -> TaskError:
        if bad > max(20.0, MAX_BAD_SHARE * drawn):
            return TaskError(f"{self._where}: its own answer does not score 1 for {bad} of {drawn} questions, so it cannot be a task here")
        return TaskError(
            f"{self._where} has about {found} different questions, but the splits add up to {needed}; "
            "make a split smaller or widen family_config"
        )

    def _prompt(self, question: str) -> str:
        if self._pattern is None:
            return question
        match = re.search(self._pattern, question, re.DOTALL)
        if match is None or not all(match.groups()):
            raise TaskError(f"{self._where}: prompt_pattern {self._pattern!r} finds nothing in {question[:120]!r}")
        return " ".join(match.groups())

    def _dataset(self) -> Any:
        try:
            import reasoning_gym
            from reasoning_gym.factory import DATASETS
        except ModuleNotFoundError as error:
            raise TaskError(f"task {NAME!r} needs the package reasoning-gym: pip install reasoning-gym") from error
        if self.name not in DATASETS:
            raise TaskError(f"task {NAME!r}: reasoning-gym has no family {self.name!r}{did_you_mean(self.name, DATASETS)}")
        try:
            return reasoning_gym.create_dataset(self.name, **{**self._settings, "seed": 1_000_000 * self._seed, "size": 10_000_000})
        except (TypeError, AssertionError, ValueError) as error:
            raise TaskError(f"{self._where}: family_config is refused: {error}") from error
