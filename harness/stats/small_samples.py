"""What few seeds can and cannot show: exact sign test, Holm, minimum detectable difference and speed-up."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np

from harness.stats.speedup import LEAST_PAIRS, SpeedUp
from harness.stats.student_t import student_t_quantile


def sign_test(speed_up: SpeedUp) -> float:
    """Two-sided exact sign test that pairs fall on either side of 1 equally often.

    Pairs that are open (a miss on both sides) or exactly 1 count against the majority. Its smallest value is 2·2^-n:
    with three pairs no result can be below 0.25.
    """
    n = speed_up.n
    if n == 0:
        return 1.0
    wins = int((speed_up.pairs[:, 0] > 1).sum())
    losses = int((speed_up.pairs[:, 1] < 1).sum())
    most = max(wins, losses)
    tail = sum(math.comb(n, k) for k in range(most, n + 1)) / 2.0**n
    return float(min(1.0, 2 * tail))


def holm(p_values: Sequence[float]) -> list[float]:
    """Holm–Bonferroni adjusted p-values, in the order given."""
    order = sorted(range(len(p_values)), key=lambda i: p_values[i])
    adjusted = [0.0] * len(p_values)
    running = 0.0
    for rank, index in enumerate(order):
        running = max(running, min(1.0, (len(p_values) - rank) * p_values[index]))
        adjusted[index] = running
    return adjusted


def minimum_detectable_difference(deviation: float, n: int, *, power: float = 0.8, level: float = 0.95) -> float:
    """Smallest difference of mean accuracy that two groups of n seeds show with the given power.

    (t_{1−α/2} + t_{power}) · s · √(2/n) with 2n − 2 degrees of freedom; +inf for fewer than two seeds.
    """
    if n < 2:
        return math.inf
    df = 2 * n - 2
    return (student_t_quantile(1 - (1 - level) / 2, df) + student_t_quantile(power, df)) * deviation * math.sqrt(2 / n)


def minimum_detectable_speed_up(log_deviation: float, n: int, *, power: float = 0.8, level: float = 0.95) -> float:
    """Smallest speed-up that n pairs show with the given power, for pairs whose log ratios have that deviation.

    +inf below ``LEAST_PAIRS`` pairs, where no verdict is given whatever the ratios are.
    """
    if n < LEAST_PAIRS:
        return math.inf
    steps = student_t_quantile(1 - (1 - level) / 2, n - 1) + student_t_quantile(power, n - 1)
    exponent = steps * log_deviation / math.sqrt(n)
    return math.exp(exponent) if exponent < 700 else math.inf


def log_deviation(speed_up: SpeedUp) -> float | None:
    """Standard deviation of the pairs' log ratios, or None where fewer than two are known exactly."""
    exact = speed_up.pairs[np.isclose(speed_up.pairs[:, 0], speed_up.pairs[:, 1], rtol=1e-12, atol=0.0)]
    exact = exact[(exact[:, 0] > 0) & np.isfinite(exact[:, 0])]
    return float(np.log(exact[:, 0]).std(ddof=1)) if len(exact) >= 2 else None


def evidence(n: int) -> str:
    """How far n paired seeds carry (docs/protocol.md, "How sure"): five to screen, ten or more to claim."""
    if n < LEAST_PAIRS:
        return "fewer than five seeds: a first look, from which no verdict follows"
    return "enough to screen, not to claim (ten or more seeds)" if n < 10 else "enough seeds to claim"
