"""Outcomes over seeds as a leaderboard: means with 95 % intervals, paired with uniform selection seed by seed."""

from __future__ import annotations

import math
import warnings
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from harness.rehearsal.play import Outcome
from harness.stats import student_t_quantile
from harness.types import FloatArray


@dataclass(frozen=True, slots=True)
class Estimate:
    """A mean over n seeds with its 95 % interval (Student's t); NaN where nothing was measured."""

    mean: float
    low: float
    high: float
    n: int

    @classmethod
    def of(cls, values: Sequence[float]) -> Estimate:
        """From one value per seed; seeds without a value (NaN) do not count."""
        known = np.array([v for v in values if not math.isnan(v)])
        if len(known) == 0:
            return cls(math.nan, math.nan, math.nan, 0)
        mean = float(known.mean())
        if len(known) == 1 or not np.isfinite(known).all():
            return cls(mean, math.nan, math.nan, len(known))
        half = student_t_quantile(0.975, len(known) - 1) * float(known.std(ddof=1)) / math.sqrt(len(known))
        return cls(mean, mean - half, mean + half, len(known))


@dataclass(frozen=True, slots=True)
class Row:
    """One strategy of the leaderboard. estimates: by metric name. over_time: mean informative share per step, shape (steps,)."""

    label: str
    estimates: Mapping[str, Estimate]
    over_time: FloatArray
    upper_bound: bool = False


#: Metric → what it is, in the order of the table.
METRICS = {
    "informative": "share of the trained groups that are neither all right nor all wrong",
    "gain": "that share minus uniform selection's, same seeds",
    "variance": "mean reward variance of the trained groups (at most ¼)",
    "wasted": "generated rollouts per rollout of an informative trained group",
    "coverage": "share of the pool drawn at least once",
    "concentration": "share of the draws that fell on the 50 most drawn questions",
    "fresh_rollouts": "fresh rollouts trained on per step",
    "probe_rollouts": "probe rollouts per step",
    "filtered_rollouts": "rollouts generated per step and not trained on",
    "replayed_rollouts": "replayed rollouts per step",
    "spearman": "rank correlation of its predictions with the true rates",
    "pearson": "correlation of its predictions with the true rates",
    "calibration_error": "mean distance of predicted from true rates, over ten bins",
    "seconds": "seconds per step for selecting and replaying",
}


def summarize(label: str, outcomes: Sequence[Outcome], uniform: Sequence[Outcome], *, upper_bound: bool = False) -> Row:
    """The row of one strategy; ``uniform`` holds the baseline's outcomes of the same seeds, in the same order."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", RuntimeWarning)  # the mean of a column that a strategy never fills is NaN, as meant
        values = {name: [float(np.nanmean(o.columns[name])) for o in outcomes] for name in METRICS if name in outcomes[0].columns}
    values["coverage"] = [float(o.columns["coverage"][-1]) for o in outcomes]
    values["concentration"] = [o.concentration for o in outcomes]
    values["wasted"] = [o.wasted for o in outcomes]
    base = [float(np.mean(o.columns["informative"])) for o in uniform]
    values["gain"] = [a - b for a, b in zip(values["informative"], base, strict=True)]
    estimates = {name: Estimate.of(values[name]) for name in METRICS}
    over_time = np.mean([o.columns["informative"] for o in outcomes], axis=0)
    return Row(label, estimates, np.asarray(over_time), upper_bound)


def ranked(rows: Sequence[Row]) -> list[Row]:
    """Most informative first."""
    return sorted(rows, key=lambda row: -row.estimates["informative"].mean)
