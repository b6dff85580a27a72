"""Frontier: Halfway's own strategy. Questions at the edge of what the policy can do, each once per pass over the pool.

No paper: put together from what rehearsals and simulations of the published methods showed (docs/frontier.md).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from harness.numerics.functions import expected_signal
from harness.strategies.frontier_prior import QuestionPrior
from harness.strategies.frontier_replay import MASTERED, FrontierConfig, FrontierReplay
from harness.strategies.uniform import UniformOrder
from harness.strategy import Composition, Requirement, StepContext
from harness.types import FloatArray, IntArray, PromptGroup, Selection

#: Steps after which an outcome counts half, and what the past counts when a question is visited again.
HALF_LIFE, VISIT_DECAY = 80.0, 0.5
PRIOR_ROLLOUTS = 1.0
MOST_CANDIDATES = 4
#: Decayed rollouts that a question must have to be called mastered.
MASTERED_ROLLOUTS = 4.0


class Frontier(UniformOrder[FrontierConfig]):
    """p_q ~ Beta(a, b), a = π_q + Σ w k, b = 1 − π_q + Σ w (n−k); of the next candidates of a pass the F with the greatest
    E[p(1−p)] = ab/((a+b)(a+b+1)).

    w halves with every later visit of the question and every 80 steps; π is the prior mean (``QuestionPrior``). A pass takes the
    pool in shuffled order. The candidates are its next questions, as many as are expected to hold (1+r)F informative groups
    (P = 1 − E[p^G] − E[(1−p)^G]), at most 4F; r is the fresh share of the batch: what stored groups refill may be less choosy. So every
    question is considered once per pass and rests in between. Mastered questions (nine of ten right) sit out until that has half faded.
    """

    Config = FrontierConfig

    def __init__(self, config: FrontierConfig) -> None:
        super().__init__(config)
        self._prior = QuestionPrior("none" if "prior" in config.without else config.features, config.predictor)
        self._counts: FloatArray = np.empty((0, 2))  # weighted right and wrong answers as of the last visit
        self._visited: IntArray = np.empty(0, dtype=np.int64)  # policy version at the last visit, −1 for none

    @property
    def needs(self) -> frozenset[Requirement]:
        embed = self.config.features == "embeddings" or self.config.predictor is not None
        return self.requires | {"embed"} if embed else self.requires

    def select(self, num_groups: int, ctx: StepContext) -> Selection:
        self._size_to(ctx)
        ids = self._candidates(num_groups, ctx)
        a, b = self._posterior(ids, ctx)
        best = np.argsort(-expected_signal(a, b), kind="stable")[:num_groups]
        return Selection(ids[best], predicted_pass_rates=(a / (a + b))[best], info={"candidates": float(len(ids))})

    def _candidates(self, num_groups: int, ctx: StepContext) -> IntArray:
        size, off = len(ctx.pool), self.config.without
        if "coverage" in off or "representativeness" in off:
            rest = 0 if "coverage" in off else size // (MOST_CANDIDATES * num_groups)
            order = ctx.rng.permutation(size)
            rested = order[(self._visited[order] < 0) | (ctx.policy_version - self._visited[order] > rest)]
            return rested if len(rested) >= num_groups else order
        mastered = self._mastered(ctx)
        most = min(MOST_CANDIDATES * num_groups, size - int(mastered.sum()))
        if most < num_groups:
            mastered, most = np.zeros(size, dtype=bool), min(MOST_CANDIDATES * num_groups, size)
        before = self._drawn
        ids = self.take(most, ctx, without=mastered)
        informative = np.cumsum(informative_probability(*self._posterior(ids, ctx), ctx.group_size))
        enough = max(num_groups, int(np.searchsorted(informative, (1 + self.config.fresh_share) * num_groups - 0.5)) + 1)
        if enough >= most:
            return ids
        self._drawn = before  # what is not considered now comes next
        return self.take(enough, ctx, without=mastered)

    def _mastered(self, ctx: StepContext) -> Any:
        if "retirement" in self.config.without:
            return np.zeros(len(ctx.pool), dtype=bool)
        likely = np.flatnonzero(self._counts[:, 0] >= MASTERED * np.maximum(self._counts.sum(axis=1), MASTERED_ROLLOUTS))
        mastered = np.zeros(len(ctx.pool), dtype=bool)
        mastered[likely] = self._aged(likely, ctx).sum(axis=1) >= MASTERED_ROLLOUTS
        return mastered

    def _posterior(self, ids: IntArray, ctx: StepContext) -> tuple[FloatArray, FloatArray]:
        prior, counts = PRIOR_ROLLOUTS * self._prior.means(ids, ctx), self._aged(ids, ctx)
        if "history" in self.config.without:
            counts = np.zeros_like(counts)
        return prior + counts[:, 0], PRIOR_ROLLOUTS - prior + counts[:, 1]

    def _aged(self, ids: IntArray, ctx: StepContext) -> FloatArray:
        """Weighted right and wrong answers as of now, shape (n, 2)."""
        age = ctx.policy_version - self._visited[ids]
        return np.asarray(self._counts[ids] * 0.5 ** (age / HALF_LIFE)[:, None])

    def observe(self, groups: Sequence[PromptGroup], ctx: StepContext) -> None:
        self._size_to(ctx)
        for group in groups:
            at, right = np.array([group.question_id]), group.rewards.sum()
            self._counts[at] = VISIT_DECAY * self._aged(at, ctx) + np.array([right, group.size - right])
            self._visited[at] = ctx.policy_version
        self._prior.observe(groups)

    def predict(self, question_ids: IntArray, ctx: StepContext) -> FloatArray | None:
        if not len(self._prior):
            return None
        a, b = self._posterior(question_ids, ctx)
        return np.asarray(a / (a + b))

    def _size_to(self, ctx: StepContext) -> None:
        if not len(self._counts):
            self._counts, self._visited = np.zeros((len(ctx.pool), 2)), np.full(len(ctx.pool), -1)

    def state_dict(self) -> dict[str, Any]:
        return {**super().state_dict(), **self._prior.state_dict(), "counts": self._counts, "visited": self._visited}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        super().load_state_dict(state)
        self._prior.load_state_dict(state)
        self._counts, self._visited = np.array(state["counts"]), np.array(state["visited"])


def informative_probability(a: FloatArray, b: FloatArray, group_size: int) -> FloatArray:
    """P(neither all right nor all wrong) of G answers, p ~ Beta(a, b): 1 − Π (a+i)/(a+b+i) − Π (b+i)/(a+b+i)."""
    right, wrong = np.ones(len(a)), np.ones(len(a))
    for i in range(group_size):
        right *= (a + i) / (a + b + i)
        wrong *= (b + i) / (a + b + i)
    return 1 - right - wrong


FRONTIER = Composition(
    Frontier,
    FrontierReplay,
    summary="of the next questions of a pass those with the greatest E[p(1−p)]; recent informative groups replayed",
    source="Halfway's own, from rehearsal and simulation; no paper",
    observes="the run's own pass rates, the prompts; stored groups",
    acts="before the rollout; in the batch",
    costs="saves the rollouts it replays; degenerate groups that stored ones replace",
)
