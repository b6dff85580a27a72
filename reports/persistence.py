"""Whether a question that is hard at the start of a run is hard at its end: what any memory of pass rates lives on."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import chain

import numpy as np

from harness.types import StepRecord
from reports.run_columns import Array

#: Fewer questions that were visited at both ends say nothing.
LEAST_REVISITED = 30


def revisited(steps: Sequence[StepRecord], group_size: int) -> Array:
    """Questions with a fresh group in both the first and the last third of the steps, shape (4, k).

    Rows: mean pass rate at the start and at the end, and the variance of each that comes from sampling groups of ``group_size``.
    """
    third = len(steps) // 3
    if third == 0 or group_size < 2:
        return np.empty((4, 0))
    ends = [_means(part, group_size) for part in (steps[:third], steps[-third:])]
    both, first, last = np.intersect1d(ends[0][0], ends[1][0], assume_unique=True, return_indices=True)
    if not len(both):
        return np.empty((4, 0))
    return np.stack([ends[0][1][first], ends[1][1][last], ends[0][2][first], ends[1][2][last]])


def _means(steps: Sequence[StepRecord], group_size: int) -> tuple[Array, Array, Array]:
    """(question ids, mean pass rates, variances of these means by sampling), each of shape (q,)."""
    ids = np.fromiter(chain.from_iterable(s.question_ids for s in steps), dtype=np.int64)
    rates = np.fromiter(chain.from_iterable(s.pass_rates for s in steps), dtype=np.float64)
    known, place = np.unique(ids, return_inverse=True)
    visits = np.bincount(place, minlength=len(known))
    noise = rates * (1 - rates) / (group_size - 1)  # unbiased for the variance of one group's mean
    means = np.bincount(place, rates, len(known)) / visits
    return known.astype(np.float64), means, np.bincount(place, noise, len(known)) / visits**2


@dataclass(frozen=True, slots=True)
class Persistence:
    """Correlation of start and end over n questions of all runs; corrected: for the sampling of the groups, None where it drowns all."""

    n: int
    correlation: float
    corrected: float | None


def persistence(parts: Iterable[Array]) -> Persistence | None:
    """Of the :func:`revisited` questions of several runs; None for fewer than ``LEAST_REVISITED``, or rates that are all alike.

    The correction divides by the root of both ends' reliability, 1 − sampling variance/variance (Spearman 1904), and stops at 1.
    """
    table = np.concatenate([np.empty((4, 0)), *parts], axis=1)
    n = table.shape[1]
    if n < LEAST_REVISITED:
        return None
    spread = table[:2].var(axis=1, ddof=1)
    if not (spread > 0).all():
        return None
    correlation = float(np.corrcoef(table[0], table[1])[0, 1])
    reliable = 1 - table[2:].mean(axis=1) / spread
    if not (reliable > 0.1).all():
        return Persistence(n, correlation, None)
    corrected = correlation / math.sqrt(float(reliable.prod()))
    return Persistence(n, correlation, min(max(corrected, -1.0), 1.0))
