"""The regime of a suite: how hard its questions are for the policy, how that drifts, and what perfect selection could gain.

A comparison of selection and replay says something only where groups without gradient are common, learning is slow and an oracle
beats the baseline. The reference values (``data/regimes.json``) are those of real models and of a real run.
"""

from __future__ import annotations

import json
import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from importlib import resources
from typing import Any

import numpy as np

from harness.stats import LEAST_PAIRS, SpeedUp
from reports.arms import TOKENS, Arm, Combination
from reports.condensed import Run
from reports.persistence import Persistence, persistence
from reports.run_columns import Array

#: Upper ends of the classes of pass rates; 0 and 1 are classes of their own.
_EDGES = (0.1, 0.25, 0.5, 0.75, 0.9)

#: Groups at the start and at the end of a run that its regime is read from.
GROUPS_READ = 64

#: Least speed-up in generated tokens of an oracle from which on a suite can show what selection is worth.
LEAST_HEADROOM = 1.3


@dataclass(frozen=True, slots=True)
class StartRegime:
    """How hard questions are for a policy. Shares of groups of ``group_size``; histogram: shares of questions, shape (8,)."""

    questions: int
    group_size: int
    mean: float
    all_wrong: float
    all_right: float
    histogram: Array

    @property
    def informative(self) -> float:
        """Share of groups that are neither all wrong nor all right."""
        return 1.0 - self.all_wrong - self.all_right


def start_regime(pass_rates: Array, rollouts: int, group_size: int) -> StartRegime:
    """From the pass rates of n questions, shape (n,), each of ``rollouts`` ≥ ``group_size`` samples.

    The shares of degenerate groups are unbiased: C(k − c, G)/C(k, G) is the probability that G of the k samples of a question with c
    right ones are all wrong (Chen et al. 2021, the estimator of pass@k).
    """
    right = np.rint(pass_rates * rollouts).astype(int)
    groups = math.comb(rollouts, group_size)
    wrong = float(np.mean([math.comb(rollouts - c, group_size) / groups for c in right]))
    all_right = float(np.mean([math.comb(c, group_size) / groups for c in right]))
    return StartRegime(len(right), group_size, float(np.mean(pass_rates)), wrong, all_right, histogram_of(pass_rates))


def histogram_of(pass_rates: Array) -> Array:
    """Shares of questions per class: 0, up to .1, .25, .5, .75, .9, below 1, 1; shape (8,)."""
    classes = 1 + np.searchsorted(_EDGES, pass_rates - 1e-9)
    classes[pass_rates <= 0] = 0
    classes[pass_rates >= 1] = 7
    return np.bincount(classes, minlength=8)[:8] / max(len(pass_rates), 1)


@dataclass(frozen=True, slots=True)
class RunRegime:
    """What the baseline's runs on one combination show; None where it was not recorded.

    start, end: (mean pass rate, share all wrong, share all right) over the first and the last groups of the baseline. visits: draws per
    question of the pool. noise: seed deviation of accuracy over the median gain. persistence:
    how questions' pass rates at the start and at the end of the runs correlate. headroom: speed-up of the oracle in generated tokens.
    drift_error, informative_errors: standard errors over the runs of the drift, and of the informative shares at start and end; None
    below two runs.
    """

    start: tuple[float, float, float] | None
    end: tuple[float, float, float] | None
    visits: float | None
    rollout_share: float | None
    noise: float | None
    headroom: SpeedUp | None
    persistence: Persistence | None = None
    drift_error: float | None = None
    informative_errors: tuple[float, float] | None = None

    @property
    def drift(self) -> float | None:
        """Change of the mean pass rate over the run."""
        return self.end[0] - self.start[0] if self.start is not None and self.end is not None else None


def run_regime(combination: Combination) -> RunRegime:
    """Read the regime of a combination from its runs."""
    base = combination.baseline
    runs = base.runs if base is not None else []
    ends = [_ends(r) for r in runs if len(r.steps["step"])]
    start, end = (_middle([e[i] for e in ends]) for i in (0, 1)) if ends else (None, None)
    visits = [r.selected_questions / r.pool_size for r in runs if r.pool_size]
    return RunRegime(
        start, end, float(np.median(visits)) if visits else None, base.rollout_share if base is not None else None,
        _noise(combination), headroom(combination), persistence(r.revisits for r in runs), *_errors(ends),
    )  # fmt: skip


def _ends(run: Run) -> list[tuple[float, float, float]]:
    groups = run.steps["fresh_groups"]
    per_step = max(float(groups.mean()), 1.0)
    steps = min(max(math.ceil(GROUPS_READ / per_step), 1), max(len(groups) // 2, 1))
    columns = [run.steps[name] for name in ("mean_pass_rate", "all_wrong", "all_right")]
    return [tuple(float(np.nanmean(c[part])) for c in columns) for part in (slice(0, steps), slice(-steps, None))]  # type: ignore[misc]


def _middle(found: Sequence[tuple[float, float, float]]) -> tuple[float, float, float]:
    first, second, third = np.median(np.array(found), axis=0)
    return float(first), float(second), float(third)


def _errors(ends: Sequence[Sequence[tuple[float, float, float]]]) -> tuple[float | None, tuple[float, float] | None]:
    """Standard errors over runs, from (start, end) of each: of the change of the mean pass rate, and of both informative shares."""
    if len(ends) < 2:
        return None, None
    found = np.array(ends)  # run, start or end, (mean pass rate, all wrong, all right)
    root = math.sqrt(len(ends))
    drift = float(np.std(found[:, 1, 0] - found[:, 0, 0], ddof=1)) / root
    first, last = np.std(found[:, :, 1] + found[:, :, 2], axis=0, ddof=1) / root
    return drift, (float(first), float(last))


def _noise(combination: Combination) -> float | None:
    plateau, target = combination.plateau, combination.target
    if plateau is None or target.start is None or target.final is None or target.final <= target.start:
        return None
    return plateau.deviation / (target.final - target.start)


def oracle_of(combination: Combination) -> Arm | None:
    """The arm that knows true pass rates for free, if the combination has one."""
    return next((a for a in combination.arms if a.oracle and not a.is_baseline), None)


def headroom(combination: Combination) -> SpeedUp | None:
    """Speed-up of the oracle over the baseline in generated tokens; None without an oracle or a pair."""
    arm = oracle_of(combination)
    found = arm.speed_ups.get(TOKENS) if arm is not None else None
    return found if found is not None and found.n else None


def has_headroom(found: SpeedUp) -> bool:
    """Whether an oracle shows that selection can gain something: at least ``LEAST_HEADROOM``, and faster by the verdict's rule."""
    return found.n >= LEAST_PAIRS and found.verdict == "faster" and found.at_least >= LEAST_HEADROOM


@cache
def references() -> dict[str, Any]:
    """``data/regimes.json``: real models, a real run, and the bands that follow from them."""
    found: dict[str, Any] = json.loads((resources.files("reports") / "data" / "regimes.json").read_text(encoding="utf-8"))
    return found
