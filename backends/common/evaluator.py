"""Accuracy on evaluation sets: one implementation for every engine.

The numbers that sampling uses depend on the evaluation seed and the set alone, not on the training step: all evaluations
of a run, and those of runs paired by seed, are compared under the same random numbers, which removes part of the noise of
sampling from differences and from the moment at which a curve crosses its target.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
import torch

from backends.common.completion import Decode, decode_text
from backends.common.prompts import encode_prompts
from harness.task import TaskData, TaskError

#: ``scorer([(completion, answer, metadata), …])`` → rewards, shape (n,); a :class:`harness.reward.service.RewardService`'s ``score``.
Scorer = Callable[[Sequence[tuple[str, str, Mapping[str, Any]]]], npt.NDArray[np.float64]]


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

    def evaluate(self, decode: Decode, step: int) -> tuple[dict[str, float], int]:
        """Accuracy (mean reward, in [0, 1]) per set, and the number of questions in all sets together.

        ``step`` names the evaluation in errors only: the same random numbers are used at every step.
        """
        accuracies = {name: float(self.pass_rates(decode, name).mean()) for name in self._sets}
        if not all(np.isfinite(list(accuracies.values()))):
            raise ValueError(f"evaluation after step {step}: the reward is not a number on {accuracies}")
        return accuracies, sum(len(questions) for questions in self._sets.values())

    def pass_rates(self, decode: Decode, name: str) -> npt.NDArray[np.float64]:
        """Mean reward of every question of one set, shape (n,)."""
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
        rewards = np.asarray(self._scorer(items), dtype=np.float64).reshape(len(groups), self._samples)
        rates: npt.NDArray[np.float64] = rewards.mean(axis=1)
        return rates


def evaluation_seed(seed: int, name: str) -> int:
    """Seed of a set's sampling: 63 bits of a hash, the same on every machine and in every process."""
    return int.from_bytes(hashlib.sha256(f"evaluation/{seed}/{name}".encode()).digest()[:8], "big") >> 1
