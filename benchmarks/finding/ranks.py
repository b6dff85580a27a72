"""Whether courses rank arms alike: Spearman's correlation of their ratios, with an interval over arms and a permutation test."""

from __future__ import annotations

import itertools
import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TypeGuard

import numpy as np
import numpy.typing as npt

from benchmarks.course.course import Course
from benchmarks.finding.chapter import Chapter, compared, ledgers, markdown, where_of
from harness.stats import BOOTSTRAP_SEED, DRAWS, SpeedUp

Array = npt.NDArray[np.float64]

#: Fewer common arms have no rank correlation worth a number; below ``LEAST_FOR_INTERVAL`` it gets no interval.
LEAST_ARMS, LEAST_FOR_INTERVAL = 3, 5

#: Up to this many arms every permutation is tried.
_ALL_PERMUTATIONS = 7


@dataclass(frozen=True, slots=True)
class RankCorrelation:
    """n: arms, or what ``of`` says. low, high: 95 % percentile bootstrap over them, None below five. p: two-sided permutation test."""

    n: int
    value: float
    low: float | None
    high: float | None
    p: float
    of: str = "arms"

    @property
    def text(self) -> str:
        interval = "no interval" if self.low is None or self.high is None else f"[{self.low:.2f}, {self.high:.2f}]"
        return f"{self.value:+.2f} {interval}, n = {self.n} {self.of}, p = {self.p:.2f}"


def ranks_of(values: Array) -> Array:
    """Ranks from 0 along the last axis, ties at their mean; shape as given."""
    left, right = values[..., :, None], values[..., None, :]
    return np.asarray((left > right).sum(axis=-1) + ((left == right).sum(axis=-1) - 1) / 2, np.float64)


def spearman(first: Array, second: Array) -> Array:
    """Correlation of the ranks along the last axis; NaN where one of them is constant."""
    a, b = (r - r.mean(axis=-1, keepdims=True) for r in (ranks_of(first), ranks_of(second)))
    with np.errstate(invalid="ignore", divide="ignore"):
        return np.asarray((a * b).sum(axis=-1) / np.sqrt((a * a).sum(axis=-1) * (b * b).sum(axis=-1)))


def rank_correlation(first: Sequence[float], second: Sequence[float], *, draws: int = DRAWS, of: str = "arms") -> RankCorrelation | None:
    """Of two rows of values, one per arm; None for fewer than three arms or a constant row."""
    a, b = np.array(first, dtype=np.float64), np.array(second, dtype=np.float64)
    n = len(a)
    value = float(spearman(a, b)) if n >= LEAST_ARMS else math.nan
    if math.isnan(value):
        return None
    rng = np.random.default_rng(BOOTSTRAP_SEED)
    everything = n <= _ALL_PERMUTATIONS
    orders = np.array(list(itertools.permutations(range(n)))) if everything else rng.permuted(np.tile(np.arange(n), (draws, 1)), axis=1)
    extreme = int((np.abs(spearman(np.broadcast_to(a, orders.shape), b[orders])) >= abs(value) - 1e-12).sum())
    p = extreme / len(orders) if everything else (extreme + 1) / (len(orders) + 1)
    if n < LEAST_FOR_INTERVAL:
        return RankCorrelation(n, value, None, None, p, of)
    picks = rng.integers(0, n, size=(draws, n))
    again = spearman(a[picks], b[picks])
    low, high = np.quantile(again[np.isfinite(again)], [0.025, 0.975])
    return RankCorrelation(n, value, float(low), float(high), p, of)


def known(found: SpeedUp | None) -> TypeGuard[SpeedUp]:
    """Whether an arm can be ranked by it: misses on both sides leave no bound."""
    return found is not None and found.n > 0 and (found.at_least > 0 or math.isfinite(found.at_most))


def place_of(found: SpeedUp) -> float:
    """What an arm is ranked by: the log ratio, or the bound that is :func:`known` where runs missed."""
    low, high = math.log(max(found.at_least, 1e-300)), math.log(max(min(found.at_most, 1e300), 1e-300))
    if found.at_least == 0:
        return high
    return low if math.isinf(found.at_most) else (low + high) / 2


def _ratios(course: Course, combination: str, ledger: str) -> dict[str, float]:
    return {
        p.arm.strategy: place_of(found) for p in compared([course]) if p.combination.name == combination and known(found := p.at(ledger))
    }


_Row = tuple[str, str, list[RankCorrelation | None]]


def _rows(courses: Sequence[Course], axes: Sequence[tuple[str, str]], *, simulated: bool) -> list[_Row]:
    """One row per pair of combinations: two measured ones, or a simulated and a measured one."""
    places = [(course, c.name) for course in courses for c in course.analysis.combinations]
    rows: list[_Row] = []
    for (first, a), (second, b) in itertools.combinations(places, 2):
        kinds = {first.simulated, second.simulated}
        if kinds != ({True, False} if simulated else {False}):
            continue
        cells: list[RankCorrelation | None] = []
        for ledger, _ in axes:
            of_first, of_second = _ratios(first, a, ledger), _ratios(second, b, ledger)
            common = sorted(set(of_first) & set(of_second))
            cells.append(rank_correlation([of_first[k] for k in common], [of_second[k] for k in common]))
        if any(cells):
            rows.append((where_of(first, a), where_of(second, b), cells))
    return rows


def _cells(rows: Sequence[_Row]) -> list[list[str]]:
    """The rows as text, and the median of each column where there are several."""
    cells = [[first, second, *("–" if c is None else c.text for c in found)] for first, second, found in rows]
    if len(rows) > 1:
        columns = [[c.value for c in column if c is not None] for column in zip(*(found for _, _, found in rows), strict=True)]
        cells.append([f"median of {len(rows)} pairs", "", *(f"{np.median(c):+.2f}" if c else "–" for c in columns)])
    return cells


_TEXT = (
    "Spearman's correlation of the arms' ratios over the arms that both have, with a 95 % interval (percentile bootstrap over arms, from "
    "five arms on) and the p-value of a permutation test. An arm that missed the target is ranked by the bound that is known, "
    "and left out where there is none. The interval is one over arms: what the seeds leave uncertain of each ratio comes on top."
)


def ranks_chapter(courses: Sequence[Course]) -> Chapter | None:
    """Between measured courses."""
    return _chapter("Do courses rank the arms alike?", courses, simulated=False)


def simulator_chapter(courses: Sequence[Course]) -> Chapter | None:
    """Between a simulated and a measured course."""
    return _chapter("Does the simulator rank the arms as measured?", courses, simulated=True)


def _chapter(title: str, courses: Sequence[Course], *, simulated: bool) -> Chapter | None:
    # Seconds of a simulated run are not a cost of anything.
    axes = [(ledger, name) for ledger, name in ledgers(courses) if not (simulated and name.startswith("measured"))]
    rows = _rows(courses, axes, simulated=simulated)
    return Chapter(title, [_TEXT, markdown(["course", "against", *(name for _, name in axes)], _cells(rows))]) if rows else None
