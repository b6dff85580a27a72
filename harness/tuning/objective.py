"""What a trial is judged by: the cost to reach the target, with a finite slope where it is missed.

Per tuning seed, in units of the baseline's budget B (the cost of its last evaluation with the suite's own settings):

* reached at cost c: ``c / B``. The crossing is the suite's rule; its place between two evaluations is interpolated, because trials
  that cross in the same interval would otherwise tie;
* missed after cost b: ``max(b / B, 1) · (1 + (target − level) / (target − start))``, where ``level`` is the highest target that the
  run would have reached under the same rule and ``start`` the baseline's first accuracy. So a near miss costs a little more
  than the budget, a run that learned nothing twice the budget, and the sampler sees a slope to follow between the two.

The objective is the mean over seeds. It is a function of the ledgers alone.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from harness.records.curves import curve_of
from harness.records.ledger import RunLog
from harness.stats import Crossing, Curve, reach
from harness.stats.curve import TOLERANCE

RULES = 1
"""Version of these rules; part of every study's fingerprint."""


@dataclass(frozen=True, slots=True)
class Yardstick:
    """What all trials of a combination are measured with: frozen from the baseline's first trial alone.

    accuracy: the target. start: the baseline's median first accuracy, below the target. budget: its median cost at the last evaluation, on
    the ledger ``cost``.
    """

    accuracy: float
    start: float
    budget: float
    cost: str
    crossing: Crossing


@dataclass(frozen=True, slots=True)
class Score:
    """One run on the yardstick, in budgets.

    value: the objective. spent: cost of the last evaluation. at_least: what the value can at best become if the run goes on.
    """

    value: float
    reached: bool
    spent: float
    at_least: float


def score(curve: Curve, yard: Yardstick) -> Score:
    """Judge a run, or the first part of one."""
    outcome = reach(curve, yard.accuracy, cost=yard.cost, rule=yard.crossing, interpolate=True)
    spent = outcome.budget / yard.budget
    if outcome.reached:
        value = outcome.cost / yard.budget
        return Score(value, True, spent, value)
    shortfall = max(yard.accuracy - level(curve, yard.crossing, yard.start), 0.0) / (yard.accuracy - yard.start)
    return Score(max(spent, 1.0) * (1.0 + shortfall), False, spent, _earliest(curve, yard) / yard.budget)


def _earliest(curve: Curve, yard: Yardstick) -> float:
    """Where a run that has not reached the target may still turn out to have crossed it: a last evaluation there awaits its next."""
    spent = curve.cost(yard.cost)
    if len(spent) > 1 and curve.accuracy[-1] >= yard.accuracy - TOLERANCE:
        return float(spent[-2])
    return float(spent[-1]) if len(spent) else 0.0


def level(curve: Curve, rule: Crossing, start: float) -> float:
    """The highest target that the run has reached under ``rule``; ``start`` where it has no such evaluation."""
    at = curve.accuracy
    if rule == "first":
        return float(at.max()) if len(at) else start
    return float(np.minimum(at[:-1], (at[:-1] + at[1:]) / 2).max()) if len(at) > 1 else start


def curve_until(log: RunLog, step: int | None = None) -> Curve:
    """The curve of a ledger, up to a training step; the ledger is left as it is."""
    points = [e for e in log.evaluations if step is None or e.step <= step]
    return curve_of(RunLog(log.path, log.run_id, log.spec, evaluations=points, complete=log.complete))


def mean_value(scores: Sequence[Score]) -> float:
    """The objective of a trial: mean over its seeds."""
    return float(np.mean([s.value for s in scores]))


def cannot_win(scores: Sequence[Score], best: float) -> bool:
    """Whether a trial that goes on can no longer be better than the best so far.

    Exact, not a forecast: a run that has not reached the target will have cost at least what it has cost already. So no trial
    is stopped for starting slowly, only for having spent the winner's cost without getting there.
    """
    return float(np.mean([s.at_least for s in scores])) >= best
