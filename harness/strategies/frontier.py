"""Frontier: Halfway's own strategy. The questions whose groups would teach something, each considered once per pass over the pool.

No paper: put together from what rehearsals, simulations and training on validation questions showed (docs/frontier.md).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from harness.numerics.functions import expected_signal
from harness.strategies.frontier_prior import QuestionPrior
from harness.strategies.frontier_replay import MASTERED, FrontierConfig, FrontierReplay
from harness.strategies.uniform import UniformOrder
from harness.strategy import Composition, Requirement, StepContext
from harness.types import FloatArray, IntArray, PromptGroup, Selection

#: Steps after which an outcome counts half, and what the past counts when a question is visited again.
HALF_LIFE, VISIT_DECAY = 80.0, 0.5
PRIOR_ROLLOUTS = 1.0
#: A question that is more likely informative than this is kept whatever its probability is.
KEPT = 0.5
MOST_CANDIDATES = 4
#: Decayed rollouts that a question must have to be called mastered.
MASTERED_ROLLOUTS = 4.0


class Frontier(UniformOrder[FrontierConfig]):
    """p_q ~ Beta(a, b), a = π_q + Σ w k, b = 1 − π_q + Σ w (n−k); a question of the pass is rolled out with probability min(1, 2P),
    P = 1 − E[p^G] − E[(1−p)^G], the probability that its group is informative.

    w halves with every later visit of the question and every 80 steps; π is the prior mean (``QuestionPrior``). A pass takes the pool
    in shuffled order; of its next 4F questions the first F that are kept are rolled out, and where fewer are, those passed over with
    the greatest P. So every question is considered once per pass and rests in between, and the mix is the pool's, thinned of what
    would teach nothing. Mastered questions (nine of ten right) sit out until that has half faded.
    """

    Config = FrontierConfig
    version = 2  # thins the pass instead of taking its best; a prior that leans on the counts of a text

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
        before, out = self._drawn, self._sitting_out(num_groups, ctx)
        most = min(MOST_CANDIDATES * num_groups, len(ctx.pool) - int(out.sum()))
        passes = "coverage" not in self.config.without
        ids = self.take(most, ctx, without=out) if passes else ctx.rng.permutation(np.flatnonzero(~out))[:most]
        a, b = self._posterior(ids, ctx)
        chosen: IntArray
        if "representativeness" in self.config.without:
            chosen, considered = np.argsort(-expected_signal(a, b), kind="stable")[:num_groups], most
        else:
            chosen, considered = thinned(informative_probability(a, b, ctx.group_size), num_groups, ctx.rng)
        if passes and considered < most:
            self._drawn = before  # what is not considered now comes next
            self.take(considered, ctx, without=out)
        return Selection(ids[chosen], predicted_pass_rates=(a / (a + b))[chosen], info={"candidates": float(considered)})

    def _sitting_out(self, num_groups: int, ctx: StepContext) -> npt.NDArray[np.bool_]:
        """Which questions are mastered, shape (N,); none where too few others are left."""
        out = self._mastered(ctx)
        return out if len(out) - int(out.sum()) >= num_groups else np.zeros(len(out), dtype=bool)

    def _mastered(self, ctx: StepContext) -> npt.NDArray[np.bool_]:
        mastered = np.zeros(len(ctx.pool), dtype=bool)
        if "retirement" not in self.config.without:
            likely = np.flatnonzero(self._counts[:, 0] >= MASTERED * np.maximum(self._counts.sum(axis=1), MASTERED_ROLLOUTS))
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


def thinned(informative: FloatArray, num_groups: int, rng: np.random.Generator) -> tuple[IntArray, int]:
    """(positions of ``num_groups`` questions, how many were considered): each kept with probability min(1, P/½), in order.

    Where too few are kept, all were considered, and those passed over with the greatest P follow.
    """
    kept = rng.random(len(informative)) * KEPT < informative
    first = np.flatnonzero(kept)[:num_groups]
    if len(first) == num_groups:
        return first, int(first[-1]) + 1
    passed_over = np.flatnonzero(~kept)
    best = passed_over[np.argsort(-informative[passed_over], kind="stable")]
    return np.concatenate([first, best])[:num_groups], len(informative)


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
    summary="a pass over the pool, thinned of questions whose groups would teach nothing; informative groups replayed a few times",
    source="Halfway's own, no paper",
    observes="the run's own pass rates, the prompts; stored groups",
    acts="before the rollout; in the batch",
    costs="saves the rollouts it replays",
)
