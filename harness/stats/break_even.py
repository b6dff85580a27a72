"""Speed-up as a function of the price of a generated token, and the price at which a strategy breaks even."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

import numpy as np

from harness.stats.curve import Array
from harness.stats.median_interval import median_interval
from harness.stats.speedup import LEVEL, pooled_ratio

#: Prices at which the curve is worked out, in trained tokens; between them it is interpolated.
PRICES = np.geomspace(0.01, 100.0, 161)

#: Every so many of ``PRICES`` the curve over several combinations is worked out: there every price needs a bootstrap of its own.
_POOLED_EVERY = 4

#: Draws of that bootstrap.
_POOLED_DRAWS = 2000


class TokensSpent(NamedTuple):
    """What one run spent until it crossed the target, or in all if it missed: generated tokens, and the rest in trained tokens."""

    generated: float
    rest: float
    reached: bool


@dataclass(frozen=True, slots=True, eq=False)
class PriceCurve:
    """Speed-up of paired runs over ``prices``, each array of their shape: the median, or over several combinations their pooled ratio.

    at_least, at_most: bounds of the estimate, equal where no pair that decides it is censored. low, high: the interval of
    :func:`harness.stats.median_interval.median_interval`, None below three pairs, or of the bootstrap in
    :mod:`harness.stats.speedup`. n: number of pairs. prices: ``PRICES`` or some of them.
    """

    n: int
    at_least: Array
    at_most: Array
    low: Array | None
    high: Array | None
    prices: Array = field(default_factory=lambda: PRICES)

    @property
    def break_even(self) -> float | None:
        """The price at which the estimate is 1; None where it is not 1 at any price, at several, or only known within bounds."""
        if not np.allclose(self.at_least, self.at_most, rtol=1e-12, atol=0.0):
            return None
        logs = np.log(self.at_least)
        crossings = np.flatnonzero(np.diff(np.sign(logs)) != 0)
        if len(crossings) != 1:
            return None
        return self._between(int(crossings[0]), logs)

    @property
    def undecided(self) -> tuple[float, float] | None:
        """The prices between which the interval contains 1 (0 and ∞ where it does so at the end); None where it never does.

        At every other price the verdict holds. It is the confidence interval of the break-even price, by inversion of the test.
        """
        if self.low is None or self.high is None:
            return 0.0, math.inf
        inside = np.flatnonzero((self.low <= 1) & (self.high >= 1))
        if not len(inside):
            return None
        first, last = int(inside[0]), int(inside[-1])
        return (
            0.0 if first == 0 else self._edge(first - 1, outside=first - 1),
            math.inf if last == len(self.prices) - 1 else self._edge(last, outside=last + 1),
        )

    def _edge(self, left: int, outside: int) -> float:
        """Where, between grid point ``left`` and the next, the bound that decides at ``outside`` is 1."""
        assert self.low is not None
        assert self.high is not None
        bound = self.low if self.low[outside] > 1 else self.high
        with np.errstate(divide="ignore"):
            return self._between(left, np.log(bound))

    def _between(self, left: int, logs: Array) -> float:
        """The price at which a log ratio is 0, on a straight line over log price between two points of the grid."""
        low, high = float(logs[left]), float(logs[left + 1])
        if not (math.isfinite(low) and math.isfinite(high)) or low == high:
            return float(self.prices[left] if high == low else self.prices[left + 1])
        share = -low / (high - low)
        return float(np.exp((1 - share) * np.log(self.prices[left]) + share * np.log(self.prices[left + 1])))

    @property
    def cheaper(self) -> str:
        """Where the estimate says the strategy is cheaper: ``above``, ``below``, ``everywhere``, ``nowhere`` or ``unknown``."""
        first, last = (_side(float(self.at_least[i]), float(self.at_most[i])) for i in (0, -1))
        return {(1, 1): "everywhere", (-1, -1): "nowhere", (-1, 1): "above", (1, -1): "below"}.get((first, last), "unknown")


def _side(at_least: float, at_most: float) -> int:
    return 1 if at_least > 1 else -1 if at_most < 1 else 0


def price_curve(pairs: Sequence[tuple[TokensSpent, TokensSpent]]) -> PriceCurve:
    """The curve of (baseline, strategy) pairs of one combination; a miss bounds its pair as in :mod:`harness.stats.speedup`."""
    n = len(pairs)
    if n == 0:
        return PriceCurve(0, np.zeros(len(PRICES)), np.full(len(PRICES), np.inf), None, None)
    lower, upper = (np.stack([_log_bounds(*pair)[side] for pair in pairs]) for side in (0, 1))
    at_least, at_most = (np.exp(_median(bounds)) for bounds in (lower, upper))
    if n < 3:
        return PriceCurve(n, at_least, at_most, None, None)
    ends = np.array([median_interval(np.column_stack([lower[:, i], upper[:, i]]), LEVEL)[:2] for i in range(len(PRICES))])
    return PriceCurve(n, at_least, at_most, np.exp(ends[:, 0]), np.exp(ends[:, 1]))


def pooled_price_curve(strata: Sequence[Sequence[tuple[TokensSpent, TokensSpent]]]) -> PriceCurve:
    """The curve of (baseline, strategy) pairs of several combinations, pooled at every price as :func:`pooled_speed_up` does.

    Of one combination it is :func:`price_curve`.
    """
    strata = [pairs for pairs in strata if pairs]
    if len(strata) <= 1:
        return price_curve(strata[0] if strata else [])
    bounds = [np.stack([np.stack(_log_bounds(*pair), axis=1) for pair in pairs], axis=1) for pairs in strata]
    places = range(0, len(PRICES), _POOLED_EVERY)
    found = [pooled_ratio([b[i] for b in bounds], draws=_POOLED_DRAWS) for i in places]
    at_least, at_most = (np.array([getattr(f, side) for f in found]) for side in ("at_least", "at_most"))
    ends = [(f.low, f.high) for f in found if f.low is not None and f.high is not None]
    low, high = np.array(ends).T if len(ends) == len(found) else (None, None)
    return PriceCurve(found[0].n, at_least, at_most, low, high, PRICES[::_POOLED_EVERY])


def _log_bounds(baseline: TokensSpent, strategy: TokensSpent) -> tuple[Array, Array]:
    """Bounds of the log ratio at every price, each of shape (161,)."""
    never = np.full(len(PRICES), np.inf)
    with np.errstate(divide="ignore"):
        costs = [np.log(PRICES * run.generated + run.rest) for run in (baseline, strategy)]
    ratio = costs[0] - costs[1] if all(np.isfinite(c).all() for c in costs) else np.zeros(len(PRICES))
    if baseline.reached and strategy.reached:
        return ratio, ratio
    return (ratio if strategy.reached else -never), (ratio if baseline.reached else never)


def _median(values: Array) -> Array:
    ordered, n = np.sort(values, axis=0), len(values)
    return np.asarray((ordered[(n - 1) // 2] + ordered[n // 2]) / 2)
