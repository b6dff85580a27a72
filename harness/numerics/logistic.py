"""Binomial logistic regression with a Gaussian prior, by Newton's method (maximum a posteriori)."""

from __future__ import annotations

import numpy as np

from harness.numerics.functions import sigmoid
from harness.types import FloatArray

_ITERATIONS = 50
_TOLERANCE = 1e-8


def fit_logistic(
    features: FloatArray, pass_rates: FloatArray, rollouts: float, prior_mean: FloatArray, prior_precision: FloatArray
) -> FloatArray:
    """Coefficients w maximising Σ rollouts·[p log σ(xw) + (1−p) log(1−σ(xw))] − ½ Σ precision·(w − mean)².

    features: shape (K, D). pass_rates: shape (K,). prior_mean, prior_precision: shape (D,), precision > 0, so that the
    maximum exists and is unique even where all pass rates are 0 or 1. Step halving makes every iteration an ascent.
    """
    w = prior_mean.astype(np.float64).copy()
    value = _log_posterior(features, pass_rates, rollouts, prior_mean, prior_precision, w)
    for _ in range(_ITERATIONS):
        mean = sigmoid(features @ w)
        gradient = rollouts * (features.T @ (pass_rates - mean)) - prior_precision * (w - prior_mean)
        hessian = (features.T * (rollouts * mean * (1 - mean))) @ features + np.diag(prior_precision)
        step = np.linalg.solve(hessian, gradient)
        for _ in range(30):
            candidate = _log_posterior(features, pass_rates, rollouts, prior_mean, prior_precision, w + step)
            if candidate >= value:
                break
            step /= 2
        else:
            return w
        w, gained, value = w + step, candidate - value, candidate
        if gained < _TOLERANCE:
            break
    return w


def _log_posterior(
    features: FloatArray, pass_rates: FloatArray, rollouts: float, mean: FloatArray, precision: FloatArray, w: FloatArray
) -> float:
    score = features @ w
    likelihood = rollouts * (pass_rates * score - np.logaddexp(0, score)).sum()
    return float(likelihood - 0.5 * (precision * np.square(w - mean)).sum())
