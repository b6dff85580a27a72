"""Rollouts, prices and evaluations of a simulated run; its clock counts priced tokens, not seconds."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from backends.simulator.policy import Policy
from harness.backend import RolloutPhase
from harness.numerics.latent_skills import SkillQuestions
from harness.spec import RunSpec
from harness.step.clock import Clock
from harness.types import FloatArray, IntArray, PromptGroup, Rollout

#: The simulator's one key of ``execution.engine``.
PRICE = "generated_token_price"
#: Simulated seconds of training on one token; the other prices are in units of it.
SECONDS_PER_TRAINED_TOKEN = 1e-4
FORWARD_PRICE = 1 / 3
EMBEDDING_WIDTH, EMBEDDING_NOISE = 32, 0.3
_LONGEST = 4096
_TOKENS = np.zeros(_LONGEST, dtype=np.int64)


class PricedTime:
    """A clock's source of time that advances by what tokens cost; μ is the price of a generated token in trained ones."""

    def __init__(self, generated_price: float) -> None:
        self.now = 0.0
        self._generated = generated_price

    def __call__(self) -> float:
        return self.now

    def pay(self, *, generated: int = 0, trained: int = 0, forward: int = 0) -> None:
        """Let the time pass that these tokens take."""
        self.now += SECONDS_PER_TRAINED_TOKEN * (self._generated * generated + trained + FORWARD_PRICE * forward)


class SimulatorEngine:
    """Draws groups from the policy; see :class:`harness.backend.RolloutEngine`.

    theta, policy_version: the skills that sample, shape (K,), and the training steps they have completed; set before each batch.
    """

    def __init__(self, policy: Policy, clock: Clock, time: PricedTime, mean_tokens: float, embeddings: FloatArray) -> None:
        self.policy, self.clock, self.time = policy, clock, time
        self.theta, self.policy_version = policy.theta, 0
        self._tokens, self._embeddings = mean_tokens, embeddings

    def rollout(
        self, question_ids: IntArray, rollouts_per_question: int | IntArray, phase: RolloutPhase, stream: Sequence[int]
    ) -> list[PromptGroup]:
        rng = np.random.default_rng(list(stream))
        sizes = np.broadcast_to(rollouts_per_question, np.shape(question_ids))
        with self.clock.phase(phase):
            rates = self.policy.questions.pass_rates(self.theta, question_ids)
            groups = [self._group(int(q), int(n), float(p), rng) for q, n, p in zip(question_ids, sizes, rates, strict=True)]
            self.time.pay(generated=sum(g.num_tokens for g in groups))
        return groups

    def embed(self, question_ids: IntArray) -> FloatArray:
        return self._embeddings[question_ids]

    def _group(self, question_id: int, size: int, rate: float, rng: np.random.Generator) -> PromptGroup:
        right = rng.random(size) < rate
        lengths = np.minimum(1 + rng.poisson(self._tokens - 1, size), _LONGEST)
        rollouts = []
        for outcome, length in zip(right.tolist(), lengths.tolist(), strict=True):
            log_probs = np.zeros(length, dtype=np.float64)  # the whole outcome's log-probability on the first token
            log_probs[0] = np.log(max(rate if outcome else 1 - rate, 1e-300))
            rollouts.append(Rollout(question_id, _TOKENS[:1], _TOKENS[:length], log_probs, self.policy_version, "", float(outcome)))
        return PromptGroup(question_id, tuple(rollouts))


def embeddings_of(questions: SkillQuestions, skills: int, seed: int) -> FloatArray:
    """Noisy random projections of loadings and difficulty, shape (N, 32): what a frozen model might know of a question."""
    rng = np.random.default_rng([seed, 0x656D62])
    projection = rng.normal(size=(skills + 1, EMBEDDING_WIDTH)) / np.sqrt(questions.skills.shape[1] + 1)
    known = questions.difficulties[:, None] / 3 * projection[-1]
    for column in range(questions.skills.shape[1]):
        known = known + questions.loadings[:, column, None] * projection[questions.skills[:, column]]
    return np.asarray(known + rng.normal(0, EMBEDDING_NOISE, known.shape), dtype=np.float32)


def right_answers(questions: SkillQuestions, theta: FloatArray, *, samples: int, greedy: bool, seed: int) -> IntArray:
    """Right answers of every question, shape (n,); the same random numbers at every step, as in a real evaluation."""
    rates = questions.pass_rates(theta)
    if greedy:
        return samples * (rates > 0.5).astype(np.int64)
    draws: Any = np.random.default_rng([seed, 0x6576616C]).random((samples, len(rates)))
    return np.asarray((draws < rates).sum(axis=0), dtype=np.int64)


def generated_price(spec: RunSpec) -> float | None:
    """μ: the price of a generated token in units of a trained one (default 1); None where it is no number."""
    value: Any = spec.execution.engine.get(PRICE, 1.0)
    return float(value) if isinstance(value, int | float) and not isinstance(value, bool) else None
