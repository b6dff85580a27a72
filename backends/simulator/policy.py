"""The simulated policy: skills θ, trained by the clipped policy gradient of a batch with Adam.

A rollout is one Bernoulli outcome with logit Σ_j w_j θ_j − b, so that ∂ log π(r)/∂θ = (r − p)·w. The update is GRPO's: per rollout the
advantage times that gradient, the PPO clip around the policy at the start of the batch, and for replayed rollouts the correction that
the strategy declares, exactly as :class:`harness.strategy.Correction` says. Fresh rollouts of an older policy
(``algorithm.staleness``) get the weight ρ = π_old/μ, whatever that correction is.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from harness.numerics.latent_skills import SkillQuestions
from harness.spec import AlgorithmSpec
from harness.step.advantage import advantages
from harness.strategy import Correction
from harness.types import RATIO_EDGES, FloatArray, IntArray, PromptGroup

ADAM_EPSILON = 1e-8


@dataclass(slots=True)
class Rows:
    """The trained rollouts of a batch. question_ids, outcomes, advantages, log_behaviour, replayed: shape (R,)."""

    question_ids: IntArray
    outcomes: FloatArray
    advantages: FloatArray
    log_behaviour: FloatArray
    replayed: np.ndarray[Any, np.dtype[np.bool_]]

    @classmethod
    def of(cls, groups: Sequence[PromptGroup], algorithm: AlgorithmSpec) -> Rows:
        """One row per trained rollout, in the order of the batch."""
        rollouts = [r for g in groups for r in g.trained_rollouts]
        weights = np.concatenate([advantages(g, algorithm.advantage_normalization) for g in groups])
        behaviour = [0.0 if r.behaviour_log_probs is None else float(r.behaviour_log_probs[0]) for r in rollouts]
        return cls(
            np.array([r.question_id for r in rollouts]),
            np.array([r.reward for r in rollouts]),
            weights,
            np.array(behaviour),
            np.array([f for g in groups for f in g.replayed_flags], dtype=bool),
        )

    def __len__(self) -> int:
        return len(self.outcomes)

    def part(self, rows: IntArray) -> Rows:
        """Some of the rows."""
        return Rows(self.question_ids[rows], self.outcomes[rows], self.advantages[rows], self.log_behaviour[rows], self.replayed[rows])


@dataclass(slots=True)
class Policy:
    """Skills with Adam's moments. theta, first, second: shape (K,). updates: optimizer steps so far."""

    questions: SkillQuestions
    theta: FloatArray
    gradient_noise: float
    forgetting: float
    first: FloatArray = field(init=False)
    second: FloatArray = field(init=False)
    updates: int = 0

    def __post_init__(self) -> None:
        self.first, self.second = np.zeros_like(self.theta), np.zeros_like(self.theta)

    def log_prob(self, rows: Rows, theta: FloatArray) -> FloatArray:
        """log π_θ of each outcome, shape (R,)."""
        logits = self.questions.logits(theta, rows.question_ids)
        return -np.logaddexp(0.0, np.where(rows.outcomes > 0.5, -logits, logits))

    def train(
        self, groups: Sequence[PromptGroup], algorithm: AlgorithmSpec, correction: Correction, rng: np.random.Generator
    ) -> tuple[dict[str, Any], FloatArray]:
        """All updates of one batch; statistics of ρ = π_old/μ over its replayed rollouts, empty without any, and |log ρ| of fresh ones."""
        rows = Rows.of(groups, algorithm)
        old = self.theta.copy()
        log_ratio = self.log_prob(rows, old) - rows.log_behaviour
        order = rng.permutation(len(rows)) if correction.order == "shuffled" else np.arange(len(rows))
        informative = sum(not g.is_degenerate for g in groups) / algorithm.updates_per_batch
        for part in np.array_split(order, algorithm.updates_per_batch):
            coefficients = self._coefficients(rows.part(part), old, algorithm, correction)
            pull = coefficients * (rows.outcomes[part] - self.questions.pass_rates(self.theta, rows.question_ids[part]))
            gradient = self.questions.gradient(self.theta, rows.question_ids[part], pull) / len(part)
            noise = self.gradient_noise / np.sqrt(max(1.0, informative))
            self._adam(gradient + rng.normal(0.0, 1.0, len(gradient)) * noise, algorithm)
        return ratio_statistics(np.exp(log_ratio[rows.replayed])), np.abs(log_ratio[~rows.replayed])

    def _coefficients(self, rows: Rows, old: FloatArray, algorithm: AlgorithmSpec, correction: Correction) -> FloatArray:
        """What multiplies ∂ log π/∂θ of each row, shape (R,): ratio times advantage, zero where the clip is active."""
        before = self.log_prob(rows, old)
        log_rho = np.where(rows.replayed & (correction.ratio == "behaviour"), before - rows.log_behaviour, 0.0)
        if correction.weight_cap is not None:
            log_rho = np.minimum(log_rho, np.log(correction.weight_cap))
        stale = np.where(~rows.replayed & (algorithm.staleness > 0), before - rows.log_behaviour, 0.0)
        moved = np.exp(self.log_prob(rows, self.theta) - before)
        clipped_on = moved if correction.clip_center == "old" else moved * np.exp(log_rho)
        low, high = 1 - algorithm.clip_epsilon, 1 + (algorithm.clip_epsilon_high or algorithm.clip_epsilon)
        active = np.where(rows.advantages > 0, clipped_on <= high, clipped_on >= low)
        scale = np.where(rows.replayed, correction.coefficient, 1.0)
        return np.asarray(rows.advantages * scale * moved * np.exp(log_rho + stale) * active)

    def _adam(self, gradient: FloatArray, algorithm: AlgorithmSpec) -> None:
        self.updates += 1
        one, two = algorithm.adam_beta1, algorithm.adam_beta2
        self.first = one * self.first + (1 - one) * gradient
        self.second = two * self.second + (1 - two) * gradient**2
        step = (self.first / (1 - one**self.updates)) / (np.sqrt(self.second / (1 - two**self.updates)) + ADAM_EPSILON)
        self.theta = self.theta * (1 - self.forgetting) + algorithm.learning_rate * step

    def state_dict(self) -> dict[str, Any]:
        """Skills and moments."""
        return {"theta": self.theta, "first": self.first, "second": self.second, "updates": self.updates}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Take them back."""
        self.theta, self.first, self.second = (np.asarray(state[name]) for name in ("theta", "first", "second"))
        self.updates = int(state["updates"])


def ratio_statistics(ratios: FloatArray) -> dict[str, Any]:
    """What step records hold of importance ratios: mean, extremes, effective share (Σρ)²/(n Σρ²), counts per class."""
    if not len(ratios):
        return {}
    classes = np.bincount(np.searchsorted(RATIO_EDGES, ratios, side="right"), minlength=len(RATIO_EDGES) + 1)
    return {
        "mean": float(ratios.mean()),
        "min": float(ratios.min()),
        "max": float(ratios.max()),
        "effective_share": float(ratios.sum() ** 2 / (len(ratios) * (ratios**2).sum())),
        "tokens": float(len(ratios)),
        "classes": classes.tolist(),
    }
