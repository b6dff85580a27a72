"""What ``frontier`` expects of a question before it was rolled out: the run's recent groups, generalised by features or a predictor."""

from __future__ import annotations

import zlib
from collections.abc import Sequence
from typing import Any, Literal

import numpy as np

from harness.numerics.functions import sigmoid
from harness.numerics.logistic import fit_logistic
from harness.predictor.text_features import text_counts
from harness.strategy import StepContext
from harness.types import FloatArray, IntArray, PromptGroup

WINDOW = 512
_GROUP_WORTH = 2.0  # rollouts; a group of eight of one question says less about other questions than eight questions would
_BUCKETS, _TEXT_START = 64, 400
#: Ridge on the weight of a standardised feature: of a count, of a bucket of pairs (many and weak, so held back), of d embedding dimensions.
_COUNT_RIDGE, _PAIR_RIDGE, _EMBEDDING_RIDGE = 1.0, 30.0, 1 / 24
_LEAST = 0.02


class QuestionPrior:
    """π_q, refitted at every step to the last ``WINDOW`` groups (question, pass rate) of the run; no reference rollouts.

    features: ``text`` (a logistic regression on lengths, signs and hashed character pairs of the prompt), ``embeddings`` (the same on
    the pool's frozen embeddings), or ``none`` (the mean pass rate for every question). predictor: folder of a trained difficulty
    predictor, which then takes the regression's place: the window's questions are its references.
    """

    def __init__(self, features: Literal["text", "embeddings", "none"], predictor: str | None) -> None:
        self._kind, self._path = features, predictor
        self._recent: FloatArray = np.empty((0, 2))  # question id, pass rate
        self._rows: dict[int, FloatArray] = {}  # these three follow from the pool, the settings and the window
        self._predictor: Any = None
        self._fitted: tuple[FloatArray, FloatArray, FloatArray] | None = None

    def __len__(self) -> int:
        return len(self._recent)

    def observe(self, groups: Sequence[PromptGroup]) -> None:
        """Take in a step's groups."""
        seen = np.array([(g.question_id, g.pass_rate) for g in groups]).reshape(-1, 2)
        self._recent, self._fitted = np.concatenate([self._recent, seen])[-WINDOW:], None

    def means(self, ids: IntArray, ctx: StepContext) -> FloatArray:
        """π of these questions, shape (n,), within [.02, .98]; ½ before any group was seen."""
        if not len(self._recent):
            return np.full(len(ids), 0.5)
        if self._path is not None:
            return np.clip(self._predicted(ids, ctx), _LEAST, 1 - _LEAST)
        if self._kind == "none":
            return np.full(len(ids), np.clip(self._recent[:, 1].mean(), _LEAST, 1 - _LEAST))
        weights, mean, scale = self._regression(ctx)
        scores = weights[0] + (self._matrix(ids, ctx) - mean) / scale @ weights[1:]
        return np.clip(sigmoid(scores), _LEAST, 1 - _LEAST)

    def _regression(self, ctx: StepContext) -> tuple[FloatArray, FloatArray, FloatArray]:
        """Weights (intercept first), means and scales of the features over the window."""
        if self._fitted is None:
            seen = self._matrix(self._recent[:, 0].astype(np.int64), ctx)
            mean, deviation = seen.mean(axis=0), seen.std(axis=0)
            scale = np.where(deviation > 1e-9, deviation, np.inf)  # a feature that never varied says nothing
            design = np.column_stack([np.ones(len(seen)), (seen - mean) / scale])
            precision = np.concatenate([[0.1], self._ridge(seen.shape[1])])
            weights = fit_logistic(design, self._recent[:, 1], _GROUP_WORTH, np.zeros(len(precision)), precision)
            self._fitted = weights, mean, scale
        return self._fitted

    def _ridge(self, width: int) -> FloatArray:
        """Precision of the weights a priori, shape (width,); embeddings': that scores vary as much however many dimensions there are."""
        if self._kind == "embeddings":
            return np.full(width, width * _EMBEDDING_RIDGE)
        return np.repeat([_COUNT_RIDGE, _PAIR_RIDGE], [width - _BUCKETS, _BUCKETS])

    def _matrix(self, ids: IntArray, ctx: StepContext) -> FloatArray:
        missing = [i for i in dict.fromkeys(ids.tolist()) if i not in self._rows]
        if missing and self._kind == "embeddings":
            self._rows.update(zip(missing, ctx.embed(np.array(missing)).astype(np.float64), strict=True))
        elif missing:
            self._rows.update((i, text_row(ctx.pool[i].prompt)) for i in missing)
        return np.array([self._rows[i] for i in ids.tolist()])

    def _predicted(self, ids: IntArray, ctx: StepContext) -> FloatArray:
        from harness.predictor.load import load_predictor
        from harness.predictor.questions import PoolFeatures

        if self._predictor is None:
            self._predictor = load_predictor(str(self._path))
            self._predictor.prepare(PoolFeatures.of(ctx.embed(np.arange(len(ctx.pool))), [q.prompt for q in ctx.pool]))
        newest = dict(zip(self._recent[:, 0].astype(int).tolist(), self._recent[:, 1].tolist(), strict=True))
        if len(newest) < 2:
            return np.full(len(ids), 0.5)
        return np.asarray(self._predictor.predict(np.array(list(newest)), np.array(list(newest.values())), ids), dtype=np.float64)

    def state_dict(self) -> dict[str, Any]:
        """The window."""
        return {"recent": self._recent}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Take it back."""
        self._recent, self._fitted = np.array(state["recent"]), None


def text_row(prompt: str) -> FloatArray:
    """Features of a prompt: ``text_counts``, then counts of its character pairs (of the first 400 characters) in 64 hashed buckets."""
    pairs = np.zeros(_BUCKETS)
    marked = f"^{prompt[:_TEXT_START].lower()}$"
    for start in range(len(marked) - 1):
        pairs[zlib.crc32(marked[start : start + 2].encode()) % _BUCKETS] += 1
    return np.concatenate([text_counts(prompt), np.sqrt(pairs)])
