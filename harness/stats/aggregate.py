"""Across combinations: probability of improvement, performance profiles, shares of runs at the target (docs/protocol.md, "How sure")."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from harness.stats.curve import Array
from harness.stats.speedup import BOOTSTRAP_SEED, DRAWS, LEVEL, resample
from harness.stats.student_t import student_t_quantile

Picks = npt.NDArray[np.int64]


@dataclass(frozen=True, slots=True)
class Band:
    """A value with its 95 % bootstrap interval (None where there are too few runs for one)."""

    value: float
    low: float | None
    high: float | None


@dataclass(frozen=True, slots=True, eq=False)
class Profile:
    """A Dolan–Moré performance profile.

    factors: shape (T,), at least 1. shares, low, high: shape (S, T): share of problems that each strategy solved within
    that factor of the cheapest strategy, and its 95 % band.
    """

    factors: Array
    shares: Array
    low: Array
    high: Array


def probability_of_improvement(strata: Sequence[tuple[Array, Array]], *, seed: int = BOOTSTRAP_SEED, draws: int = DRAWS) -> Band:
    """Probability that a run of the strategy costs less than a run of the baseline (Agarwal et al. 2021, rliable).

    ``strata``: per combination (baseline costs, strategy costs), +inf for misses; ties, two misses included, count
    half. Mean over combinations, runs redrawn within each.
    """
    strata = [(np.sort(b), np.sort(s)) for b, s in strata if len(b) and len(s)]
    if not strata:
        return Band(0.5, None, None)
    wins = [(s[None, :] < b[:, None]) + 0.5 * (s[None, :] == b[:, None]) for b, s in strata]
    value = float(np.mean([w.mean() for w in wins]))
    if min(min(w.shape) for w in wins) < 2:
        return Band(value, None, None)
    rows = resample(tuple(w.shape[0] for w in wins), seed, draws)
    columns = resample(tuple(w.shape[1] for w in wins), seed + 1, draws)
    drawn = np.mean([_mean_of(w, r, c) for w, r, c in zip(wins, rows, columns, strict=True)], axis=0)
    tail = (1 - LEVEL) / 2
    return Band(value, float(np.quantile(drawn, tail)), float(np.quantile(drawn, 1 - tail)))


def _mean_of(wins: Array, rows: Picks, columns: Picks) -> Array:
    """Mean of the redrawn win matrix, through counts: shape (draws,), without a (draws, B, S) array."""

    def counts(picks: Picks, size: int) -> Array:
        flat = (np.arange(len(picks))[:, None] * size + picks).ravel()
        found: Array = np.bincount(flat, minlength=len(picks) * size).reshape(len(picks), size) / picks.shape[1]
        return found

    return np.asarray(((counts(rows, wins.shape[0]) @ wins) * counts(columns, wins.shape[1])).sum(axis=1), np.float64)


def paired_difference(values: Array) -> Band:
    """Mean of paired differences, shape (n,), with Student's t interval; NaN for none, no interval below three."""
    if not len(values):
        return Band(float("nan"), None, None)
    n = len(values)
    ordered = np.sort(values)  # so that the result does not depend on which seed carries which label
    value = float(ordered.mean())
    if n < 3:
        return Band(value, None, None)
    margin = student_t_quantile(1 - (1 - LEVEL) / 2, n - 1) * float(ordered.std(ddof=1)) / math.sqrt(n)
    return Band(value, value - margin, value + margin)


def performance_profile(costs: Array, strata: Sequence[int], factors: Array, *, seed: int = BOOTSTRAP_SEED, draws: int = 1000) -> Profile:
    """Dolan & Moré (2002): for each strategy the share of problems solved within a factor of the best.

    costs: shape (P, S), +inf for misses; a problem is one seed of one combination. strata: combination of each problem,
    shape (P,). A problem that nobody solved counts against everybody. The band redraws seeds within combinations.
    """
    best = costs.min(axis=1, keepdims=True)
    solved = np.isfinite(costs)
    ratio = np.full(costs.shape, np.inf)
    np.divide(costs, best, out=ratio, where=solved & (best > 0))
    ratio[solved & (costs == best)] = 1.0
    within = ratio[:, :, None] <= factors[None, None, :] + 1e-12
    shares = within.mean(axis=0) if len(costs) else np.zeros((costs.shape[1], len(factors)))
    groups = [np.flatnonzero(np.asarray(strata) == s) for s in sorted(set(strata))]
    weights = np.zeros((draws, len(costs)))
    for members, picks in zip(groups, resample(tuple(len(g) for g in groups), seed, draws), strict=True):
        np.add.at(weights, (np.arange(draws)[:, None], members[picks]), 1.0 / max(len(costs), 1))
    drawn = np.tensordot(weights, within.astype(np.float64), axes=(1, 0))
    tail = (1 - LEVEL) / 2
    low, high = (np.quantile(drawn, q, axis=0) for q in (tail, 1 - tail))
    return Profile(factors, shares, np.minimum(low, shares), np.maximum(high, shares))


def reached_share(costs: Array) -> tuple[Array, Array]:
    """Share of all runs that had reached the target by each cost.

    costs: shape (n,), +inf for runs that missed, failed or are unfinished: they count as not there, so that the last share is
    the reach rate. Returns (cost, share) of the steps, both of shape (k,), where k is the number of different crossing costs.
    """
    events, counts = np.unique(costs[np.isfinite(costs)], return_counts=True)
    return events, np.cumsum(counts) / max(len(costs), 1)
