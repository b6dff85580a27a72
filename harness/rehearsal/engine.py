"""A policy that is a recording: groups are drawn from recorded pass rates, on the same driver, ledgers and seeds as a run."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

import numpy as np

from harness.backend import RolloutPhase
from harness.errors import UserError
from harness.rehearsal.recording import Recording
from harness.step.clock import Clock
from harness.types import FloatArray, IntArray, PromptGroup, Rollout

Draws = Literal["binomial", "recorded"]

_TOKENS = np.zeros(1, dtype=np.int64)
_LOG_PROBS = np.zeros(1, dtype=np.float32)


def smoothed(rates: FloatArray, window: int) -> FloatArray:
    """Centred moving average over ``window`` columns (odd; fewer at the ends), shape (N, T).

    A rate recorded from eight rollouts is itself a draw. Drawing again from it would count that noise twice and make too many
    questions look all right or all wrong; the average over neighbouring evaluations is the better estimate of the true rate, since
    pass rates drift slowly.
    """
    half, count = window // 2, rates.shape[1]
    total = np.cumsum(np.column_stack([np.zeros(len(rates)), rates]), axis=1)
    first = np.maximum(np.arange(count) - half, 0)
    last = np.minimum(np.arange(count) + half + 1, count)
    return np.asarray((total[:, last] - total[:, first]) / (last - first))


class RecordedEngine:
    """Rolls out by drawing; see :class:`harness.backend.RolloutEngine`. A completion is one token, so tokens count rollouts.

    draws: ``binomial`` draws a group's outcomes from the smoothed rate; ``recorded`` gives the recorded number of right answers, in
    random order (a group of the recorded size, or a random part of it). policy_version: set by the caller before every step.
    """

    def __init__(
        self, recording: Recording, clock: Clock, embeddings: FloatArray, *, steps: int, policy: int, draws: Draws, window: int
    ) -> None:
        self.recording, self.clock, self.embeddings, self.draws = recording, clock, embeddings, draws
        self.policy_version = 0
        self._steps, self._policy = steps, policy
        self._true = smoothed(recording.rates, window) if recording.trajectory and draws == "binomial" else recording.rates

    @property
    def column(self) -> int:
        """The recorded policy that is in force: it moves through a trajectory, and stays where policies are unrelated."""
        if not self.recording.trajectory:
            return self._policy
        return min(self.policy_version * len(self.recording.policies) // self._steps, len(self.recording.policies) - 1)

    @property
    def true_rates(self) -> FloatArray:
        """The pass rates that groups are drawn from now, shape (N,)."""
        return np.asarray(self._true[:, self.column])

    def rollout(
        self, question_ids: IntArray, rollouts_per_question: int | IntArray, phase: RolloutPhase, stream: Sequence[int]
    ) -> list[PromptGroup]:
        rng = np.random.default_rng(list(stream))
        sizes = np.broadcast_to(rollouts_per_question, np.shape(question_ids))
        with self.clock.phase(phase):
            rates = self.true_rates[question_ids]
            if self.draws == "recorded":
                return [self._as_recorded(int(i), int(n), p, rng) for i, n, p in zip(question_ids, sizes, rates, strict=True)]
            return [self._group(int(i), rng.random(int(n)) < p) for i, n, p in zip(question_ids, sizes, rates, strict=True)]

    def embed(self, question_ids: IntArray) -> FloatArray:
        return self.embeddings[question_ids]

    def _as_recorded(self, question_id: int, size: int, rate: float, rng: np.random.Generator) -> PromptGroup:
        samples = self.recording.samples[self.column]
        if size > samples:
            raise UserError(f"a group of {size} rollouts was asked for, but {samples} were recorded per question; use --draws binomial")
        outcomes = np.arange(samples) < round(rate * samples)
        return self._group(question_id, rng.permutation(outcomes)[:size])

    def _group(self, question_id: int, right: np.ndarray) -> PromptGroup:
        version = self.policy_version
        rollouts = tuple(Rollout(question_id, _TOKENS, _TOKENS, _LOG_PROBS, version, "", float(r)) for r in right)
        return PromptGroup(question_id, rollouts)
