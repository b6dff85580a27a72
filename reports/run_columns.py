"""From a run's step records to numpy columns and histograms: what :mod:`reports.condensed` keeps of them."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from itertools import chain, pairwise
from operator import attrgetter, itemgetter
from typing import Any

import numpy as np
import numpy.typing as npt

from harness.records.ledger import RunLog
from harness.types import PHASES, RATIO_EDGES, StepRecord

Array = npt.NDArray[np.float64]

#: Training is cut into this many equal stretches of steps for pictures of how selection changes.
STRETCHES = 4

#: Pass-rate classes of a group: none, up to a quarter, … , all. The first and the last are degenerate.
PASS_RATE_CLASSES = ("0", "up to ¼", "up to ½", "up to ¾", "below 1", "1")

#: Ages of replayed groups, in training steps: up to each of these, and more.
STALENESS_EDGES = (1, 2, 4, 8, 16, 32)
STALENESS_CLASSES = ("1", "2", "3-4", "5-8", "9-16", "17-32", "more")

#: Importance ratios of replayed tokens, between ``harness.types.RATIO_EDGES``.
RATIO_CLASSES = (f"below {RATIO_EDGES[0]:g}", *(f"{a:g}-{b:g}" for a, b in pairwise(RATIO_EDGES)), f"{RATIO_EDGES[-1]:g} and more")

#: Tenths of the predicted pass rate in a reliability curve.
RELIABILITY_BINS = 10

#: How a statistic of the importance ratio is carried from steps to runs; of all others it is the mean.
_EXTREMES = {"max": np.max, "min": np.min}

STEP_COLUMNS = (
    "step",
    "seconds",
    "loss",
    "mean_reward",
    "mean_completion_tokens",
    "non_degenerate_share",
    "dropped_groups",
    "updates",
    "fresh_groups",
    "replayed_groups",
    "mean_staleness",
    "mean_pass_rate",
    "all_wrong",
    "all_right",
)


#: The columns that are read as they stand, in one go: a report reads half a million steps.
_measured = attrgetter(*STEP_COLUMNS[:8])
_all_phases = itemgetter(*PHASES)


def _phases(seconds: Mapping[str, float]) -> tuple[float, ...]:
    try:
        found: tuple[float, ...] = _all_phases(seconds)
    except KeyError:
        found = tuple(seconds.get(p, 0.0) for p in PHASES)
    return found


def _outcomes(pass_rates: Sequence[float]) -> tuple[float, float, float]:
    """Mean pass rate of a step's fresh groups, and the shares that are all wrong and all right; NaN where there are none."""
    n = len(pass_rates)
    if not n:
        return np.nan, np.nan, np.nan
    return sum(pass_rates) / n, sum(r <= 0 for r in pass_rates) / n, sum(r >= 1 for r in pass_rates) / n


def step_columns(steps: list[StepRecord]) -> dict[str, Array]:
    """``STEP_COLUMNS`` and one ``seconds_<phase>`` per phase, each of shape (T,)."""
    rows = [
        (
            *_measured(s),
            len(s.question_ids),
            len(s.replayed_question_ids),
            sum(s.staleness) / len(s.staleness) if s.staleness else np.nan,
            *_outcomes(s.pass_rates),
            *_phases(s.phases),
        )
        for s in steps
    ]
    names = (*STEP_COLUMNS, *(f"seconds_{p}" for p in PHASES))
    table = np.array(rows, dtype=np.float64).reshape(len(rows), len(names))
    return {name: np.ascontiguousarray(table[:, i]) for i, name in enumerate(names)}


def pass_rate_counts(steps: list[StepRecord]) -> Array:
    """Fresh groups per stretch of training and pass-rate class, shape (STRETCHES, 6)."""
    shape = (STRETCHES, len(PASS_RATE_CLASSES))
    rates = np.fromiter(_flat(s.pass_rates for s in steps), dtype=np.float64)
    lengths = np.array([len(s.pass_rates) for s in steps])
    if not len(rates):
        return np.zeros(shape)
    stretch = np.repeat(np.arange(len(steps)) * STRETCHES // len(steps), lengths)
    cells = np.bincount(stretch * shape[1] + pass_rate_class(rates), minlength=shape[0] * shape[1])
    return cells.reshape(shape).astype(np.float64)


def pass_rate_class(rates: Array) -> npt.NDArray[np.int64]:
    """Index into ``PASS_RATE_CLASSES``, shape as given."""
    classes = np.ceil(np.clip(rates, 0, 1) * 4).astype(np.int64)
    classes[rates >= 1] = len(PASS_RATE_CLASSES) - 1
    return classes


def _flat(parts: Iterable[Sequence[Any]]) -> Iterator[Any]:
    return chain.from_iterable(parts)


def age_counts(steps: list[StepRecord]) -> Array:
    """Replayed groups per class of staleness, shape (7,)."""
    ages = np.fromiter(_flat(s.staleness for s in steps), dtype=np.int64)
    return np.bincount(np.searchsorted(STALENESS_EDGES, ages), minlength=len(STALENESS_CLASSES)).astype(np.float64)


def ratio_counts(steps: list[StepRecord]) -> Array:
    """Replayed tokens per class of importance ratio, shape (7,); zeros where it was not recorded."""
    counts = [s.importance_ratio["classes"] for s in steps if "classes" in s.importance_ratio]
    return np.asarray(np.array(counts, dtype=np.float64).reshape(-1, len(RATIO_CLASSES)).sum(axis=0), np.float64)


def reliability_sums(log: RunLog) -> Array:
    """Per tenth of the predicted pass rate: questions, sum predicted, sum observed; shape (10, 3)."""
    sums = np.zeros((RELIABILITY_BINS, 3))
    for point in log.evaluations:
        for count, predicted, observed in point.predictor.get("reliability", ()):
            sums[min(int(predicted * RELIABILITY_BINS), RELIABILITY_BINS - 1)] += count, count * predicted, count * observed
    return sums


def distinct_so_far(steps: list[StepRecord]) -> Array:
    """Number of different questions selected up to each step, shape (T,)."""
    ids = np.fromiter(_flat(s.question_ids for s in steps), dtype=np.int64)
    step_of = np.repeat(np.arange(len(steps)), [len(s.question_ids) for s in steps])
    first = np.full(ids.max(initial=-1) + 1, -1)
    first[ids[::-1]] = step_of[::-1]  # of several, the last to be written stays: the earliest step
    return np.cumsum(np.bincount(first[first >= 0], minlength=len(steps))).astype(np.float64)


def predictor_columns(log: RunLog) -> dict[str, Array]:
    """Per diagnostic of the predictor one value per evaluation, shape (E,), NaN where it was not measured."""
    names = dict.fromkeys(name for p in log.evaluations for name in p.predictor if name != "reliability")
    missing = float("nan")
    return {
        name: np.array([missing if p.predictor.get(name) is None else p.predictor[name] for p in log.evaluations], dtype=np.float64)
        for name in names
    }


def importance_ratio_statistics(steps: list[StepRecord]) -> dict[str, float]:
    """Each statistic of the importance ratio over the whole run: extremes stay extremes, the rest are means over steps."""
    names = dict.fromkeys(name for s in steps for name in s.importance_ratio if name != "classes")
    found = {}
    for name in names:
        values = np.array([s.importance_ratio[name] for s in steps if name in s.importance_ratio], dtype=np.float64)
        found[name] = float(_EXTREMES.get(name, np.mean)(values))
    return found
