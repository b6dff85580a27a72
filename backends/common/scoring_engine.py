"""What the rollout engines of TRL and verl do with completions: texts, rewards and prompt groups."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import numpy as np

from backends.common.completion import Completion, decode_texts
from backends.common.prompts import encode_prompts
from harness.errors import UserError
from harness.types import FloatArray, IntArray, PromptGroup, Question, Rollout

if TYPE_CHECKING:
    import torch

    from harness.backend import RolloutPhase
    from harness.reward.service import RewardService
    from harness.spec import RunSpec
    from harness.step.clock import Clock
    from harness.task import TaskData


class ScoringEngine(ABC):
    """A :class:`harness.backend.RolloutEngine` except for the sampling itself; ``scorer`` is None where another rank scores.

    token_ids: token ids of the prompt of every training question, in the order of the pool. policy_version: training steps
    completed by the weights that sample, set before each batch. Raises UserError for a prompt longer than the run allows.
    """

    def __init__(
        self, spec: RunSpec, task: TaskData, tokenizer: Any, scorer: RewardService | None, clock: Clock, embeddings: FloatArray | None
    ) -> None:
        self.spec, self.task, self.tokenizer, self.scorer, self.clock = spec, task, tokenizer, scorer, clock
        self.questions: tuple[Question, ...] = task.split("train")
        self.token_ids = encode_prompts(tokenizer, task, self.questions)
        _check_lengths(self.questions, self.token_ids, spec.algorithm.max_prompt_tokens)
        self.policy_version = 0
        self._embeddings = embeddings

    @contextmanager
    def scoring(self) -> Iterator[None]:
        """The reward's worker processes for the block: started off the clock, ended with it."""
        try:
            if self.scorer is not None:
                self.scorer.start()
            yield
        finally:
            if self.scorer is not None:
                self.scorer.close()

    @abstractmethod
    def rollout(
        self, question_ids: IntArray, rollouts_per_question: int | IntArray, phase: RolloutPhase, stream: Sequence[int]
    ) -> list[PromptGroup]:
        """See :class:`harness.backend.RolloutEngine`."""

    @abstractmethod
    def decode(
        self,
        prompts: Sequence[Sequence[int]],
        rollouts_per_prompt: int | Sequence[int],
        *,
        max_new_tokens: int,
        temperature: float,
        top_p: float,
        generator: torch.Generator,
    ) -> list[list[Completion]]:
        """See :class:`backends.common.completion.Decode`; what the evaluator samples with."""

    def embed(self, question_ids: IntArray) -> FloatArray:
        """See :class:`harness.backend.RolloutEngine`."""
        if self._embeddings is None:
            raise RuntimeError("this run was prepared without embeddings; the strategy must declare requires = {'embed'}")
        return self._embeddings[question_ids]

    def texts(self, completions: list[list[Completion]]) -> list[list[str]]:
        """Completions as text, in their shape."""
        # Small models repeat themselves: each distinct completion is decoded once.
        keys = [[c.token_ids.tobytes() for c in group] for group in completions]
        distinct = {key: c.token_ids for row, group in zip(keys, completions, strict=True) for key, c in zip(row, group, strict=True)}
        known = dict(zip(distinct, decode_texts(self.tokenizer, list(distinct.values())), strict=True))
        return [[known[key] for key in row] for row in keys]

    def groups(self, ids: list[int], completions: list[list[Completion]], texts: list[list[str]]) -> list[PromptGroup]:
        """Scored prompt groups, one per question id."""
        rewards = self._rewards(ids, texts)
        return [self._group(*row) for row in zip(ids, completions, texts, rewards, strict=True)]

    def _rewards(self, ids: list[int], texts: list[list[str]]) -> list[list[float]]:
        assert self.scorer is not None, "only rank 0 scores"
        metadata = [self.task.scoring_metadata(self.questions[i]) for i in ids]
        answers = [(text, self.questions[i].answer, meta) for i, group, meta in zip(ids, texts, metadata, strict=True) for text in group]
        scores = iter(self.scorer.score(answers))
        return [[float(next(scores)) for _ in group] for group in texts]

    def _group(self, question_id: int, done: list[Completion], texts: list[str], rewards: list[float]) -> PromptGroup:
        prompt = np.asarray(self.token_ids[question_id], dtype=np.int64)
        scored = not any(np.isnan(c.log_probs[:1]).any() for c in done)  # TRL's generation without replay gives none
        rollouts = tuple(
            Rollout(
                question_id=question_id,
                prompt_token_ids=prompt,
                completion_token_ids=c.token_ids,
                behaviour_log_probs=c.log_probs if scored else None,
                policy_version=self.policy_version,
                completion=text,
                reward=reward,
                truncated=c.truncated,
            )
            for c, text, reward in zip(done, texts, rewards, strict=True)
        )
        return PromptGroup(question_id, rollouts)


def _check_lengths(questions: Sequence[Question], token_ids: Sequence[Sequence[int]], limit: int | None) -> None:
    """A question cut to fit is another question: one that is too long is refused."""
    longest = max(range(len(questions)), key=lambda i: len(token_ids[i]))
    if limit is not None and len(token_ids[longest]) > limit:
        raise UserError(
            f"question {longest} has {len(token_ids[longest])} prompt tokens, more than max_prompt_tokens = {limit} "
            f"({questions[longest].prompt[:60]!r}…); raise the limit or leave such questions out of the pool"
        )


def stream_seed(stream: Sequence[int]) -> int:
    """The seed that a stream of integers stands for: no generator state has to be saved, a resumed run samples the same."""
    return int(np.random.SeedSequence(list(stream)).generate_state(1, np.uint64)[0] >> 1)
