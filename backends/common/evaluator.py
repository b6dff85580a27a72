"""Accuracy on evaluation sets: one implementation for every engine.

The numbers that sampling uses depend on the evaluation seed and the set alone, not on the training step: all evaluations
of a run, and those of runs paired by seed, are compared under the same random numbers, which removes part of the noise of
sampling from differences and from the moment at which a curve crosses its target.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
import torch

from backends.common.completion import Completion, Decode, decode_text
from backends.common.prompts import encode_prompts
from harness.task import TaskData, TaskError
from harness.types import REWARD_TOLERANCE

Progress = Callable[[int, int], None]

#: Answers that go to the reward at once.
PORTION = 256

#: ``scorer([(completion, answer, metadata), …])`` → rewards, shape (n,); a :class:`harness.reward.service.RewardService`'s ``score``.
Scorer = Callable[[Sequence[tuple[str, str, Mapping[str, Any]]]], npt.NDArray[np.float64]]


class Answers(NamedTuple):
    """All samples of one set. rewards: shape (n, k), in [0, 1]; completions: n·k, question by question."""

    rewards: npt.NDArray[np.float64]
    completions: list[Completion]


class Evaluation(NamedTuple):
    """accuracies: mean reward per set, in [0, 1]; num_questions: of all sets; for the rest see :class:`harness.types.EvalPoint`."""

    accuracies: dict[str, float]
    num_questions: int
    right: dict[str, list[int]]
    completions: dict[str, dict[str, float]]


class Evaluator:
    """Samples every question of the evaluation sets and scores it. Call it off the clock."""

    def __init__(
        self,
        task: TaskData,
        tokenizer: Any,
        scorer: Scorer,
        *,
        sets: Sequence[str] = ("test",),
        samples_per_question: int = 1,
        temperature: float = 1.0,
        top_p: float = 1.0,
        max_new_tokens: int,
        seed: int,
        max_questions: int | None = None,
    ) -> None:
        self._tokenizer, self._scorer = tokenizer, scorer
        self._samples = samples_per_question
        self._sampling = {"temperature": temperature, "top_p": top_p}
        self._max_new_tokens, self._seed = max_new_tokens, seed
        self._sets = {name: task.split(name)[:max_questions] for name in sets}
        empty = next((name for name, questions in self._sets.items() if not questions), None)
        if empty is not None:
            raise TaskError(f"task {task.name!r}: the evaluation set {empty!r} has no questions; set its size above 0")
        self._prompts = {name: encode_prompts(tokenizer, task, questions) for name, questions in self._sets.items()}
        self._gold = {name: [(q.answer, task.scoring_metadata(q)) for q in questions] for name, questions in self._sets.items()}

    def evaluate(self, decode: Decode, step: int, progress: Progress = lambda *_: None) -> Evaluation:
        """Every set once.

        ``step`` names the evaluation in errors only: the same random numbers are used at every step. progress: told (questions done,
        questions of all sets); those of a set are sampled at once, so it moves while they are scored.
        """
        total = sum(len(questions) for questions in self._sets.values())
        found: dict[str, Answers] = {}
        before = 0
        for name, questions in self._sets.items():
            progress(before, total)
            found[name] = self.answers(decode, name, partial(_moved, progress, before, total))
            before += len(questions)
        accuracies = {name: float(answers.rewards.mean()) for name, answers in found.items()}
        if not all(np.isfinite(list(accuracies.values()))):
            raise ValueError(f"evaluation after step {step}: the reward is not a number on {accuracies}")
        return Evaluation(
            accuracies,
            total,
            {name: (answers.rewards >= 1 - REWARD_TOLERANCE).sum(axis=1).tolist() for name, answers in found.items()},
            {name: _means(answers.completions, self._sampling["temperature"]) for name, answers in found.items()},
        )

    def answers(self, decode: Decode, name: str, progress: Callable[[int], None] = lambda _: None) -> Answers:
        """Sample every question of one set and score it, told how many questions are scored."""
        groups = decode(
            self._prompts[name],
            self._samples,
            max_new_tokens=self._max_new_tokens,
            **self._sampling,
            generator=torch.Generator().manual_seed(evaluation_seed(self._seed, name)),
        )
        items = [
            (decode_text(self._tokenizer, completion.token_ids), answer, metadata)
            for group, (answer, metadata) in zip(groups, self._gold[name], strict=True)
            for completion in group
        ]
        scores: list[npt.NDArray[np.float64]] = []
        for start in range(0, len(items), PORTION):
            scores.append(np.asarray(self._scorer(items[start : start + PORTION]), dtype=np.float64))
            progress(min(start + PORTION, len(items)) // self._samples)
        rewards = np.concatenate(scores).reshape(len(groups), self._samples)
        return Answers(rewards, [completion for group in groups for completion in group])

    def pass_rates(self, decode: Decode, name: str) -> npt.NDArray[np.float64]:
        """Mean reward of every question of one set, shape (n,)."""
        rates: npt.NDArray[np.float64] = self.answers(decode, name).rewards.mean(axis=1)
        return rates


def _moved(progress: Progress, before: int, total: int, done: int) -> None:
    progress(before + done, total)


def _means(completions: Sequence[Completion], temperature: float) -> dict[str, float]:
    """What an evaluation point says of a set's completions; no entropy where there are no log-probs, or nothing is random (greedy)."""
    found = {
        "tokens": float(np.mean([len(c.token_ids) for c in completions])),
        "truncated": float(np.mean([c.truncated for c in completions])),
    }
    log_probs = np.concatenate([c.log_probs for c in completions])
    if temperature > 0 and len(log_probs) and np.isfinite(log_probs).all():
        found["entropy"] = -float(log_probs.mean(dtype=np.float64))
    return found


def evaluation_seed(seed: int, name: str) -> int:
    """Seed of a set's sampling: 63 bits of a hash, the same on every machine and in every process."""
    return int.from_bytes(hashlib.sha256(f"evaluation/{seed}/{name}".encode()).digest()[:8], "big") >> 1
