"""History selection: a regression on question features as prior of a decayed Beta posterior per question, sampled by E[p(1−p)].

No paper: the strategy that did best in Halfway's own screening of 24 variants on the miniature task (docs, "What was tried").
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from pydantic import Field

from harness.numerics.functions import expected_signal, sigmoid
from harness.numerics.logistic import fit_logistic
from harness.numerics.sampling import gumbel_top_k
from harness.predictor.text_features import text_counts
from harness.strategy import Composition, Selector, StepContext, StrategyConfig
from harness.types import FloatArray, IntArray, PromptGroup, Selection


class HistoryConfig(StrategyConfig):
    """Chosen before any test question was seen; not tuned on one."""

    half_life: float = Field(
        10.0,
        gt=0,
        description="staleness, in steps, at which a past group counts half",
        json_schema_extra={"tune": {"low": 3, "high": 40, "log": True}},
    )
    prior_rollouts: float = Field(
        4.0, gt=0, description="weight of the regression, in rollouts", json_schema_extra={"tune": {"low": 1, "high": 16, "log": True}}
    )
    window: int = Field(512, ge=8, description="past groups that the regression is fitted to")
    candidates: int = Field(4096, ge=1, description="questions considered per step, drawn uniformly (all of a smaller pool)")


class History(Selector[HistoryConfig]):
    """p_q ~ Beta(n₀π_q + Σ w k, n₀(1−π_q) + Σ w (n−k)), w = 2^(−staleness/half-life); P(q) ∝ E[p(1−p)] = ab/((a+b)(a+b+1)).

    π is a logistic regression of the last ``window`` groups' pass rates on counts of the prompt's text, refitted at every
    step; no reference rollouts. The regression's Gaussian prior has precision 1 and, before any group was seen, π = 1/2.
    """

    Config = HistoryConfig

    def __init__(self, config: HistoryConfig) -> None:
        super().__init__(config)
        self._counts: FloatArray = np.empty((0, 2))  # decayed successes and failures as of version _as_of
        self._as_of = 0
        self._recent: FloatArray = np.empty((0, 2))  # question id, pass rate
        self._features: dict[int, list[float]] = {}  # follows from the pool; not part of the state

    def select(self, num_groups: int, ctx: StepContext) -> Selection:
        self._age(ctx)
        size = min(len(ctx.pool), max(self.config.candidates, num_groups))
        ids = ctx.rng.choice(len(ctx.pool), size=size, replace=False) if size < len(ctx.pool) else np.arange(size)
        a, b = self._posterior(ids, ctx)
        chosen = gumbel_top_k(np.log(expected_signal(a, b)), num_groups, ctx.rng)
        return Selection(ids[chosen], predicted_pass_rates=(a / (a + b))[chosen])

    def predict(self, question_ids: IntArray, ctx: StepContext) -> FloatArray | None:
        if not len(self._recent):
            return None
        a, b = self._posterior(question_ids, ctx)
        return a / (a + b)

    def observe(self, groups: Sequence[PromptGroup], ctx: StepContext) -> None:
        self._age(ctx)
        for group in groups:
            successes = group.rewards.sum()
            self._counts[group.question_id] += successes, group.size - successes
        seen = np.array([(g.question_id, g.pass_rate) for g in groups]).reshape(-1, 2)
        self._recent = np.concatenate([self._recent, seen])[-self.config.window :]

    def _posterior(self, ids: IntArray, ctx: StepContext) -> tuple[FloatArray, FloatArray]:
        prior = np.clip(self._regression(ids, ctx), 0.01, 0.99)
        weight = self.config.prior_rollouts
        return weight * prior + self._counts[ids, 0], weight * (1 - prior) + self._counts[ids, 1]

    def _regression(self, ids: IntArray, ctx: StepContext) -> FloatArray:
        if not len(self._recent):
            return np.full(len(ids), 0.5)
        seen = self._matrix(self._recent[:, 0].astype(np.int64), ctx)
        mean, scale = seen.mean(axis=0), seen.std(axis=0)
        used = scale > 1e-9
        design = np.column_stack([np.ones(len(seen)), (seen - mean)[:, used] / scale[used]])
        width = design.shape[1]
        weights = fit_logistic(design, self._recent[:, 1], ctx.group_size, np.zeros(width), np.ones(width))
        asked = (self._matrix(ids, ctx) - mean)[:, used] / scale[used]
        return sigmoid(weights[0] + asked @ weights[1:])

    def _matrix(self, ids: IntArray, ctx: StepContext) -> FloatArray:
        for i in ids.tolist():
            if i not in self._features:
                self._features[i] = text_counts(ctx.pool[i].prompt)
        return np.array([self._features[i] for i in ids.tolist()])

    def _age(self, ctx: StepContext) -> None:
        if not len(self._counts):
            self._counts = np.zeros((len(ctx.pool), 2))
        if ctx.policy_version > self._as_of:
            self._counts *= 0.5 ** ((ctx.policy_version - self._as_of) / self.config.half_life)
            self._as_of = ctx.policy_version

    def state_dict(self) -> dict[str, Any]:
        return {"counts": self._counts, "as_of": self._as_of, "recent": self._recent}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        self._counts, self._recent = np.array(state["counts"]), np.array(state["recent"])
        self._as_of = int(state["as_of"])


HISTORY = Composition(
    History,
    summary="a regression on the prompt's text and a decayed Beta posterior, sampled by E[p(1−p)]",
    source="Halfway's own screening; no paper",
    observes="the run's own pass rates, the prompts",
    acts="before the rollout",
    costs="nothing",
)
