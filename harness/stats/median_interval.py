"""An interval for a median from few values that holds its level, where a bootstrap of few values does not.

* n ≥ 6: the order statistics that the sign test leaves (Conover 1999, section 3.2). No assumption about the distribution, and
  the level is exact or higher: from the smallest to the largest value for n = 6, 7 and 8, one place further in from n = 9 on.
* n = 5: from the smallest to the largest value holds the median in 93.75 % of cases only. There the interval is the wider, on each
  side, of that range and Student's t around the mean; a value known only as a bound leaves that side open.
* n < 5: the range of the values, with the coverage that it has: 75 % for n = 3, 87.5 % for n = 4.
"""

from __future__ import annotations

import math

import numpy as np
import numpy.typing as npt

from harness.stats.student_t import student_t_quantile

#: The only number of values at which Student's t fills the gap to the level.
_STUDENT_AT = 5


def median_interval(bounds: npt.NDArray[np.float64], level: float) -> tuple[float, float, float]:
    """(low, high, coverage) of the median of n values, each known between two bounds.

    bounds: shape (n, 2) with n ≥ 2, lower and upper bound of each value, infinities allowed.
    """
    n = len(bounds)
    lower, upper = np.sort(bounds[:, 0]), np.sort(bounds[:, 1])
    inside = _places_inside(n, level)
    low, high = float(lower[inside]), float(upper[n - 1 - inside])
    if n == _STUDENT_AT:
        margin = student_t_quantile(1 - (1 - level) / 2, n - 1) / math.sqrt(n)
        low = min(low, float(lower.mean() - margin * lower.std(ddof=1))) if np.isfinite(lower).all() else -math.inf
        high = max(high, float(upper.mean() + margin * upper.std(ddof=1))) if np.isfinite(upper).all() else math.inf
        return low, high, level
    return low, high, min(1 - 2 * _tail(n, inside), level) if n < _STUDENT_AT else level


def _places_inside(n: int, level: float) -> int:
    """How many values may be left out on each side so that the rest still holds the median at the level."""
    inside = 0
    while 2 * _tail(n, inside + 1) <= 1 - level:
        inside += 1
    return inside


def _tail(n: int, places: int) -> float:
    """P(at most ``places`` of n fair coins show heads)."""
    return float(sum(math.comb(n, k) for k in range(places + 1)) / 2.0**n)
