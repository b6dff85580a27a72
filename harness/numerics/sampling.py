"""Sampling questions near a target difficulty, without replacement, in log space.

DOTS step 4: draw m of n questions with P(q) ∝ exp(−|d̂_q − α|/τ), one after the other without replacement. With
τ = 1e-3 a float32 softmax is exactly 0 beyond a gap of 0.1; adding independent Gumbel noise to the *log* weights and keeping
the m largest draws from the same distribution (Yellott 1977; Kool et al., ICML 2019) and never leaves log space.
"""

from __future__ import annotations

import numpy as np

from harness.errors import UserError
from harness.types import FloatArray, IntArray


def gumbel_top_k(log_weights: FloatArray, size: int, rng: np.random.Generator) -> IntArray:
    """Positions of ``size`` draws without replacement with P ∝ exp(log_weights), in the order in which they are drawn.

    log_weights: shape (n,), finite or −inf (drawn last); only differences matter. Selects by partition, so the cost is
    O(n + size log size). Raises ValueError for NaN weights or ``size`` outside 0 … n.
    """
    weights = np.asarray(log_weights, dtype=np.float64)
    count = len(weights)
    if not 0 <= size <= count:
        raise ValueError(f"cannot draw {size} of {count} questions without replacement")
    if np.isnan(weights).any():
        raise ValueError("log weights hold NaN")
    if size == 0:
        return np.empty(0, dtype=np.int64)
    keys = weights + rng.gumbel(size=count)
    top = np.argpartition(keys, count - size)[count - size :] if size < count else np.arange(count)
    # −inf weights all share one key; the position breaks the tie so that the result depends on the generator alone
    return top[np.lexsort((top, -keys[top]))]


def sample_near_target(
    predicted_pass_rates: FloatArray, size: int, rng: np.random.Generator, alpha: float = 0.5, tau: float = 1e-3
) -> IntArray:
    """Positions of ``size`` questions drawn without replacement with P(q) ∝ exp(−|d̂_q − α|/τ), d̂ = 1 − predicted pass rate.

    predicted_pass_rates: shape (n,), in [0, 1]. alpha: target *difficulty*. tau: temperature, > 0. Returns shape
    (size,), in drawing order. Raises UserError for a temperature ≤ 0, NaN predictions or ``size`` larger than n.
    """
    rates = np.asarray(predicted_pass_rates, dtype=np.float64)
    if not tau > 0:
        raise UserError(f"the sampling temperature tau must be positive, not {tau}")
    if size > len(rates):
        raise UserError(f"cannot select {size} questions out of {len(rates)}; lower groups_per_step or enlarge the pool")
    if np.isnan(rates).any():
        raise UserError(f"the predictor returned NaN for {int(np.isnan(rates).sum())} of {len(rates)} questions")
    return gumbel_top_k(-np.abs((1.0 - rates) - alpha) / tau, size, rng)
