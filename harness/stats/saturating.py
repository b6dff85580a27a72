"""Sooner or higher: a saturating curve through the evaluations of an arm, R(C) = R₀ + (A − R₀) / (1 + (C_mid / C)^B).

A is the accuracy that the arm heads for, C_mid the cost at which half of the way is done, B how sharp the rise is (the form of
ScaleRL, arXiv 2510.13786). One crossing of one target mixes the two; these keep them apart. R₀ is the mean first accuracy. The fit is
least squares over a grid of C_mid and B, where A has a closed form, so that it is the same on every machine; intervals redraw runs.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from harness.stats.aggregate import Band
from harness.stats.curve import Array
from harness.stats.speedup import BOOTSTRAP_SEED, LEVEL, resample

_MIDDLES, _SHARPNESS = 160, np.linspace(0.6, 6.0, 28)
_DRAWS = 1000


@dataclass(frozen=True, slots=True)
class SaturatingFit:
    """The curve of one arm. asymptote: A. middle: C_mid, in the unit of the costs. sharpness: B. error: root mean square of the residuals.

    beyond: True where A is far above everything that was measured, so that it is an extrapolation.
    """

    asymptote: Band
    middle: Band
    sharpness: float
    start: float
    error: float
    beyond: bool


def fit_saturating(runs: Sequence[tuple[Array, Array]]) -> SaturatingFit | None:
    """Fit (costs, accuracies) of the runs of one arm, each pair of shape (E,) in order of cost; intervals from three runs on.

    None where there are fewer than four evaluations after the first, or nothing was gained.
    """
    runs = [(c, a) for c, a in runs if len(a) > 1]
    if sum(len(a) - 1 for _, a in runs) < 4:
        return None
    start = float(np.mean([a[0] for _, a in runs]))
    gained = float(np.mean([a[-1] for _, a in runs])) - start
    longest = max(float(c[-1]) for c, _ in runs)
    if gained <= 0 or longest <= 0:
        return None
    middles = np.geomspace(longest / 50, longest * 4, _MIDDLES)
    grid = np.array([(m, b) for m in middles for b in _SHARPNESS])
    ff, fy = (np.empty((len(runs), len(grid))) for _ in range(2))
    yy = np.array([((a - start) ** 2).sum() for _, a in runs])
    for row, (costs, accuracy) in enumerate(runs):
        shape = _rise(costs, grid)
        ff[row], fy[row] = (shape**2).sum(axis=1), shape @ (accuracy - start)
    rise, place, squares = _best(np.ones((1, len(runs))), ff, fy, yy, 1.0 - start)
    points = sum(len(a) for _, a in runs)
    highest = max(float(a.max()) for _, a in runs) - start
    bands = [Band(start + float(rise[0]), None, None), Band(float(grid[place[0], 0]), None, None)]
    if len(runs) >= 3:
        picks = resample((len(runs),), BOOTSTRAP_SEED, _DRAWS)[0]
        weights = np.stack([np.bincount(p, minlength=len(runs)) for p in picks]).astype(np.float64)
        rises, places, _ = _best(weights, ff, fy, yy, 1.0 - start)
        tail = (1 - LEVEL) / 2
        drawn = (start + rises, grid[places, 0])
        bands = [Band(b.value, *(float(q) for q in np.quantile(d, (tail, 1 - tail)))) for b, d in zip(bands, drawn, strict=True)]
    return SaturatingFit(
        bands[0], bands[1], float(grid[place[0], 1]), start, float(np.sqrt(squares[0] / points)), float(rise[0]) > 1.5 * highest
    )


def _rise(costs: Array, grid: Array) -> Array:
    """1 / (1 + (C_mid / C)^B) for every (C_mid, B) of the grid and every cost, shape (G, E); 0 at no cost."""
    with np.errstate(divide="ignore", over="ignore"):
        return np.asarray(1.0 / (1.0 + (grid[:, :1] / costs[None, :]) ** grid[:, 1:]))


def _best(weights: Array, ff: Array, fy: Array, yy: Array, most: float) -> tuple[Array, np.ndarray[tuple[int], np.dtype[np.int64]], Array]:
    """Per draw of weights, shape (D, runs): the best rise A − R₀, its place in the grid, and the sum of squares; each of shape (D,)."""
    weighted_ff, weighted_fy = weights @ ff, weights @ fy
    rise = np.clip(weighted_fy / np.maximum(weighted_ff, 1e-300), 0.0, most)
    squares = (weights @ yy)[:, None] - 2 * rise * weighted_fy + rise**2 * weighted_ff
    place = np.argmin(squares, axis=1)
    rows = np.arange(len(weights))
    return rise[rows, place], place, np.maximum(squares[rows, place], 0.0)
