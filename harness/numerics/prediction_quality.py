"""How good predicted pass rates are: correlation, error, calibration, and what a selection near ½ gets out of them."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from harness.types import FloatArray

#: A question is informative for a group of 8 if its pass rate lies in here.
INFORMATIVE = (0.125, 0.875)
_LEAST_DEVIATION = 1e-12


@dataclass(frozen=True, slots=True)
class PredictionQuality:
    """Quality of one prediction on n questions.

    pearson, spearman: NaN where either side is constant. top_b_precision: share of the B questions predicted nearest ½ whose
    true pass rate lies in [.125, .875]; random_precision: the same share in the pool; best_precision: what knowing the
    truth would give.
    """

    n: int
    pearson: float
    spearman: float
    mae: float
    top_b: int
    top_b_precision: float
    random_precision: float
    best_precision: float

    def to_json(self) -> dict[str, float]:
        """Plain scalars."""
        return asdict(self)


def prediction_quality(predicted: FloatArray, true: FloatArray, top_b: int | None = None) -> PredictionQuality:
    """Compare predicted with true pass rates, both of shape (n,), n ≥ 2. top_b: default n/8, at least 1."""
    predicted, true = np.asarray(predicted, dtype=np.float64), np.asarray(true, dtype=np.float64)
    if predicted.shape != true.shape or predicted.ndim != 1 or len(true) < 2:
        raise ValueError(f"predictions {predicted.shape} and truth {true.shape} must be two equal vectors of at least 2")
    chosen = min(top_b or max(1, len(true) // 8), len(true))
    informative = (true >= INFORMATIVE[0]) & (true <= INFORMATIVE[1])
    nearest = np.argsort(np.abs(predicted - 0.5), kind="stable")[:chosen]
    return PredictionQuality(
        n=len(true),
        pearson=_correlation(predicted, true),
        spearman=_correlation(ranks(predicted), ranks(true)),
        mae=float(np.abs(predicted - true).mean()),
        top_b=chosen,
        top_b_precision=float(informative[nearest].mean()),
        random_precision=float(informative.mean()),
        best_precision=min(1.0, float(informative.sum()) / chosen),
    )


def diagnostics(predicted: FloatArray, observed: FloatArray) -> dict[str, Any]:
    """What an evaluation record holds of predicted and observed pass rates, both of shape (n,), n ≥ 1.

    n, mae; pearson and spearman where n > 2 and neither side is constant; reliability: [questions, mean prediction, mean observation] of
    each tenth of the predictions that is not empty.
    """
    quality: dict[str, Any] = {"n": float(len(predicted)), "mae": float(np.abs(predicted - observed).mean())}
    if len(predicted) > 2 and min(predicted.std(), observed.std()) > _LEAST_DEVIATION:
        quality["pearson"] = _correlation(predicted, observed)
        quality["spearman"] = _correlation(ranks(predicted), ranks(observed))
    quality["reliability"] = [[b["n"], b["predicted"], b["true"]] for b in calibration_curve(predicted, observed)]
    return quality


def ranks(values: FloatArray) -> FloatArray:
    """Ranks from 1, ties at their mean, shape (n,)."""
    _, inverse, counts = np.unique(values, return_inverse=True, return_counts=True)
    last = np.cumsum(counts)
    return np.asarray((last - (counts - 1) / 2)[inverse], dtype=np.float64)


def _correlation(x: FloatArray, y: FloatArray) -> float:
    """Pearson correlation of two vectors; NaN where one is constant but for rounding."""
    if min(x.std(), y.std()) < _LEAST_DEVIATION:
        return float("nan")
    return float(np.corrcoef(x, y)[0, 1])


def calibration_curve(predicted: FloatArray, true: FloatArray, bins: int = 10) -> list[dict[str, float]]:
    """Mean prediction and mean truth per equal-width bin of the prediction; empty bins are left out.

    predicted, true: shape (n,). Predictions outside [0, 1] count in the first or last bin.
    """
    which = np.clip((np.asarray(predicted) * bins).astype(int), 0, bins - 1)
    return [
        {"predicted": float(predicted[which == b].mean()), "true": float(true[which == b].mean()), "n": float((which == b).sum())}
        for b in range(bins)
        if (which == b).any()
    ]
