"""Student's t for whole degrees of freedom: a finite sum (Abramowitz & Stegun 26.7.3, 26.7.4), so no scipy."""

from __future__ import annotations

import math
from functools import lru_cache


def student_t_cdf(t: float, df: int) -> float:
    """P(T ≤ t) for whole degrees of freedom ``df`` ≥ 1."""
    theta = math.atan(t / math.sqrt(df))
    sine, cosine = math.sin(theta), math.cos(theta)
    term, total = (1.0, 1.0) if df % 2 == 0 else (cosine, cosine)
    for k in range(2 if df % 2 == 0 else 3, df, 2):
        term *= cosine**2 * (k - 1) / k
        total += term
    area = sine * total if df % 2 == 0 else 2 / math.pi * (theta + (sine * total if df > 1 else 0.0))
    return 0.5 + area / 2


@lru_cache(maxsize=1024)  # a price curve asks for the same few of them thousands of times
def student_t_quantile(probability: float, df: int) -> float:
    """Inverse of :func:`student_t_cdf`, by bisection."""
    if not 0 < probability < 1:
        raise ValueError(f"probability is {probability}; it must lie between 0 and 1")
    low, high = -1.0, 1.0
    while student_t_cdf(low, df) > probability:
        low *= 2
    while student_t_cdf(high, df) < probability:
        high *= 2
    for _ in range(200):
        middle = (low + high) / 2
        if student_t_cdf(middle, df) < probability:
            low = middle
        else:
            high = middle
    return (low + high) / 2
