"""VIP: rollouts where they lower the variance of the gradient most (Nguyen et al., ICLR 2026, arXiv 2602.01601; HieuNT91/VIP)."""

from __future__ import annotations

import heapq
from collections.abc import Sequence
from typing import Any, Literal

import numpy as np
from pydantic import Field

from harness.numerics.functions import logit, sigmoid
from harness.strategies.uniform import UniformOrder
from harness.strategy import Composition, StepContext, StrategyConfig
from harness.types import FloatArray, IntArray, PromptGroup, Selection

_JITTER = 1e-4  # on the kernel's diagonal, the repository's
_ROWS = 4096  # of the kernel at once, so that a large pool needs little memory
_BANDWIDTH_SAMPLE = 512


class VipConfig(StrategyConfig):
    """The bounds are those of the repository's example (8 to 32 around 16), in groups; its prior mean is −1 and its length scale 0.4."""

    estimator: Literal["grpo", "rloo"] = Field("grpo", description="whose variance: a(n−1)/n² (Dr. GRPO) or a/(n−1) (RLOO)")
    least: float = Field(0.5, gt=0, le=1, description="L: rollouts per question at least, in group sizes")
    most: float = Field(
        2.0, ge=1, description="U: rollouts per question at most, in group sizes", json_schema_extra={"tune": {"choices": [2.0, 4.0]}}
    )
    length_scale: float | None = Field(
        None, gt=0, description="of the kernel on unit-length embeddings; null: their median distance (paper)"
    )
    prior: float = Field(0.0, description="prior mean of the log-odds (paper: 0)")


class Vip(UniformOrder[VipConfig]):
    """min Σ aᵢ(nᵢ−1)/nᵢ², aᵢ = pᵢ(1−pᵢ), subject to Σnᵢ = B·G and L ≤ nᵢ ≤ U (theorem 5.1); pᵢ from a Gaussian process on embeddings.

    g ~ GP(m, RBF), p = σ(g). After a step with observed log-odds ĝ on its questions S: m ← m + K(·, S) K(S, S)⁻¹ (ĝ − m(S)), m(S) ← ĝ.
    Observed rates are kept half a rollout away from 0 and 1, and m in that range (assumed; the repository's 1e-6 lets one degenerate
    group move the whole pool). The cost is convex in n ≥ 3, so that giving rollouts one by one where they save most finds the integer
    optimum that the repository approaches by SLSQP and rounding. Its later tilt towards hard questions (γ·n·log p) is left out, and so
    is its start from 15 steps of plain training.
    """

    Config = VipConfig
    requires = frozenset({"embed", "group_sizes"})

    def __init__(self, config: VipConfig) -> None:
        super().__init__(config)
        self._mean: FloatArray = np.empty(0)  # of the log-odds, by question
        self._embeddings: FloatArray = np.empty(0)  # follows from the pool; not part of the state
        self._scale = config.length_scale or 0.0  # likewise

    def select(self, num_groups: int, ctx: StepContext) -> Selection:
        self._prepare(ctx)
        ids, size = self.take(num_groups, ctx), ctx.group_size
        rates = sigmoid(self._mean[ids])
        least = min(size, max(3, round(self.config.least * size)))
        sizes = allocate(rates, num_groups * size, least, max(size, round(self.config.most * size)), self.config.estimator)
        return Selection(ids, rollouts_per_question=sizes, predicted_pass_rates=rates)

    def predict(self, question_ids: IntArray, ctx: StepContext) -> FloatArray | None:
        return sigmoid(self._mean[question_ids]) if len(self._mean) else None

    def observe(self, groups: Sequence[PromptGroup], ctx: StepContext) -> None:
        if not len(self._embeddings):  # select, which comes first in every step, has not been asked: there is nothing to predict
            return
        rates = {g.question_id: np.clip(g.pass_rate, 0.5 / g.size, 1 - 0.5 / g.size) for g in groups}
        seen, observed = np.array(list(rates), dtype=np.int64), logit(np.array(list(rates.values())))
        points = self._embeddings[seen]
        pull = np.linalg.solve(self._kernel(points, points) + _JITTER * np.eye(len(seen)), observed - self._mean[seen])
        for start in range(0, len(self._mean), _ROWS):
            part = slice(start, start + _ROWS)
            self._mean[part] += self._kernel(self._embeddings[part], points) @ pull
        bound = float(logit(np.array(1 - 0.5 / ctx.group_size)))
        self._mean = np.clip(self._mean, min(-bound, self.config.prior), max(bound, self.config.prior))
        self._mean[seen] = observed

    def _kernel(self, a: FloatArray, b: FloatArray) -> FloatArray:
        """exp(−‖a − b‖²/2h²) of unit vectors, shape (len(a), len(b))."""
        return np.asarray(np.exp((a @ b.T - 1) / self._scale**2))

    def _prepare(self, ctx: StepContext) -> None:
        if not len(self._mean):
            self._mean = np.full(len(ctx.pool), self.config.prior)
        if not len(self._embeddings):
            raw = ctx.embed(np.arange(len(ctx.pool))).astype(np.float64)
            self._embeddings = raw / np.maximum(np.linalg.norm(raw, axis=1, keepdims=True), 1e-12)
            self._scale = self._scale or self._median_distance()

    def _median_distance(self) -> float:
        sample = self._embeddings[:: -(-len(self._embeddings) // _BANDWIDTH_SAMPLE)]
        squares = 2 - 2 * (sample @ sample.T)[np.triu_indices(len(sample), k=1)]
        return float(np.sqrt(max(np.median(squares), 1e-12))) if len(squares) else 1.0

    def state_dict(self) -> dict[str, Any]:
        return {**super().state_dict(), "mean": self._mean}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        super().load_state_dict(state)
        self._mean = np.array(state["mean"])


def allocate(pass_rates: FloatArray, budget: int, least: int, most: int, estimator: Literal["grpo", "rloo"] = "grpo") -> IntArray:
    """Rollouts per question, shape (n,), ``least`` to ``most`` and ``budget`` in all, of least Σ p(1−p)·variance(n); ties: the earlier."""
    sizes = np.full(len(pass_rates), least)
    weights = pass_rates * (1 - pass_rates)
    heap = [(-_saving(a, least, estimator), i) for i, a in enumerate(weights.tolist())] if least < most else []
    heapq.heapify(heap)
    for _ in range(budget - int(sizes.sum())):
        _, i = heapq.heappop(heap)
        sizes[i] += 1
        if sizes[i] < most:
            heapq.heappush(heap, (-_saving(float(weights[i]), int(sizes[i]), estimator), i))
    return sizes


def _saving(weight: float, size: int, estimator: Literal["grpo", "rloo"]) -> float:
    """What one rollout more saves."""
    return weight * (variance(size, estimator) - variance(size + 1, estimator))


def variance(size: int, estimator: Literal["grpo", "rloo"]) -> float:
    """Gradient variance of a group over 4σ²p(1−p) (propositions of section 4); infinite for RLOO with one rollout."""
    if estimator == "rloo":
        return 1 / (size - 1) if size > 1 else float("inf")
    return (size - 1) / size**2


VIP = Composition(
    Vip,
    summary="the rollout budget where it lowers the gradient's variance most, pass rates from a Gaussian process",
    source="arXiv 2602.01601",
    observes="embeddings, the run's own pass rates",
    acts="in the rollout: rollouts per question",
    costs="embeddings once",
)
