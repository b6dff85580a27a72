"""Questions as item-response models over latent skills: what a simulated policy is asked.

    logit P(policy solves q) = Σ_j w_qj θ_{k(q,j)} − b_q

θ are the policy's skills (K of them, all 0 at the start), k(q, ·) the few skills that question q needs, w_q ≥ 0 its loadings with
Σ_j w_qj² = 1, and b_q ~ N(difficulty, spread²) its difficulty. A share of the questions is out of reach: no skill moves them (wrong gold
answers, or answers the policy cannot express). This is the multidimensional two-parameter model with non-negative loadings.
"""

from __future__ import annotations

import zlib
from dataclasses import dataclass

import numpy as np

from harness.numerics.functions import sigmoid
from harness.types import FloatArray, IntArray

#: The logit of a question out of reach: one rollout in 3,000 is right by luck.
OUT_OF_REACH = -8.0


@dataclass(frozen=True, slots=True)
class SkillSettings:
    """What the questions are like; the defaults are fitted to a recorded run (``benchmarks/fit_simulator.py``)."""

    skills: int = 48
    loadings: int = 4
    difficulty: float = 1.09
    spread: float = 2.83
    out_of_reach: float = 0.104
    seed: int = 0


@dataclass(frozen=True, slots=True)
class SkillQuestions:
    """N questions. skills: the skills each needs, shape (N, J). loadings: shape (N, J), zero out of reach. difficulties: shape (N,)."""

    skills: IntArray
    loadings: FloatArray
    difficulties: FloatArray

    def __len__(self) -> int:
        return len(self.difficulties)

    def logits(self, theta: FloatArray, ids: IntArray | slice = slice(None)) -> FloatArray:
        """Log-odds of a right answer under skills ``theta`` of shape (K,); shape (n,)."""
        return np.asarray((self.loadings[ids] * theta[self.skills[ids]]).sum(axis=1) - self.difficulties[ids])

    def pass_rates(self, theta: FloatArray, ids: IntArray | slice = slice(None)) -> FloatArray:
        """Probability of a right answer, shape (n,)."""
        return np.asarray(sigmoid(self.logits(theta, ids)))

    def gradient(self, theta: FloatArray, ids: IntArray, weights: FloatArray) -> FloatArray:
        """Σ_n weights_n · ∂logit_n/∂θ, shape (K,)."""
        total = np.zeros(len(theta))
        np.add.at(total, self.skills[ids], weights[:, None] * self.loadings[ids])
        return total


def skill_questions(settings: SkillSettings, split: str, count: int) -> SkillQuestions:
    """The questions of one split: a function of the settings, the split's name and their number."""
    rng = np.random.default_rng([settings.seed, 0x736B696C, zlib.crc32(split.encode())])
    skills = _distinct(rng, settings, count)
    loadings = rng.random((count, settings.loadings)) + 0.25
    loadings /= np.sqrt((loadings**2).sum(axis=1, keepdims=True))
    difficulties = rng.normal(settings.difficulty, settings.spread, count)
    unreachable = rng.random(count) < settings.out_of_reach
    loadings[unreachable], difficulties[unreachable] = 0.0, -OUT_OF_REACH
    return SkillQuestions(skills, loadings, difficulties)


def _distinct(rng: np.random.Generator, settings: SkillSettings, count: int) -> IntArray:
    """Different skills per question: an arithmetic progression modulo the number of skills, so that a million rows need no sorting."""
    first = rng.integers(settings.skills, size=(count, 1))
    step = rng.integers(1, max(2, settings.skills // settings.loadings), size=(count, 1))
    return np.asarray((first + step * np.arange(settings.loadings)) % settings.skills)
