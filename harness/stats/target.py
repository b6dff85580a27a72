"""Targets, resolved from the baseline alone, and the plateau check (docs/protocol.md, "What counts as reached")."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal, get_args

import numpy as np

from harness.errors import UserError, did_you_mean
from harness.stats.curve import Array, Crossing, Curve

Kind = Literal["share_of_gain", "accuracy", "final"]

#: One seed standard deviation of accuracy may move the crossing by at most this share of the budget.
PLATEAU_SHARE = 0.15

#: Usual shares of the gain for a target (docs/protocol.md), highest first, without the whole gain.
GAIN_SHARES = (0.9, 0.75, 0.5)


@dataclass(frozen=True, slots=True)
class TargetRule:
    """What counts as the target: a share of the baseline's gain, a fixed accuracy, or its final accuracy."""

    kind: Kind = "share_of_gain"
    value: float = 0.9
    crossing: Crossing = "sustained"

    @property
    def words(self) -> str:
        """The rule as a reader sees it."""
        if self.kind == "accuracy":
            return "a fixed accuracy"
        if self.kind == "final":
            return "the baseline's final accuracy"
        return f"{100 * self.value:g} % of the baseline's gain"


@dataclass(frozen=True, slots=True)
class Target:
    """A target accuracy, or None with the reason in ``note``.

    start, final: the baseline's median accuracy at its first evaluation and its last. provisional: True while the baseline
    has unfinished runs, so that the target may still move.
    """

    accuracy: float | None
    rule: TargetRule
    start: float | None = None
    final: float | None = None
    note: str = ""
    provisional: bool = False


@dataclass(frozen=True, slots=True)
class Plateau:
    """How far one seed standard deviation moves the baseline's crossing.

    deviation: seed standard deviation of accuracy; shift: share of the baseline's budget (inf: out of it);
    flagged: True above ``PLATEAU_SHARE``. measured: False where one seed gave no deviation and a known one was assumed.
    """

    deviation: float
    shift: float
    flagged: bool
    measured: bool


def parse_target(target: Mapping[str, Any]) -> TargetRule:
    """``{"share_of_gain": 0.9}``, ``{"accuracy": 0.4}`` or ``{"final": true}``, with an optional ``"crossing"``.

    Raises UserError for anything else.
    """
    given = {k: v for k, v in target.items() if v is not None and v is not False}
    crossing = given.pop("crossing", "sustained")
    if crossing not in get_args(Crossing):
        hint = did_you_mean(str(crossing), get_args(Crossing))
        raise UserError(f"crossing is {crossing!r}; choose 'sustained' or 'first'{hint}")
    unknown = next((k for k in given if k not in get_args(Kind)), None)
    if unknown is not None:
        hint = did_you_mean(unknown, get_args(Kind))
        raise UserError(f"unknown target {unknown!r}; targets are share_of_gain, accuracy and final{hint}")
    if len(given) > 1:
        both = " and ".join(sorted(given))
        raise UserError(f"a target is one of share_of_gain, accuracy and final, not {both} together")
    kind, value = next(iter(given.items()), ("share_of_gain", 0.9))
    if kind == "final":
        return TargetRule("final", 1.0, crossing)
    if isinstance(value, bool) or not isinstance(value, (int, float)) or not np.isfinite(value):
        raise UserError(f"target {kind} is {value!r}; it must be a number")
    if kind == "share_of_gain" and not 0 < value <= 1:
        raise UserError(f"target share_of_gain is {value:g}; it must be above 0 and at most 1")
    return TargetRule("accuracy" if kind == "accuracy" else "share_of_gain", float(value), crossing)


def target_from_text(text: str) -> dict[str, Any]:
    """A target as a command line gives it: ``final``, ``share_of_gain=0.9`` or ``accuracy=0.4``.

    Raises UserError for anything else.
    """
    name, equals, value = (part.strip() for part in text.partition("="))
    if name == "final" and not equals:
        return {"final": True}
    if name in ("share_of_gain", "accuracy"):
        try:
            target = {name: float(value)}
        except ValueError:
            raise UserError(f"target {text!r}: {value!r} is not a number; write for example {name}=0.9") from None
        parse_target(target)
        return target
    hint = did_you_mean(name, get_args(Kind))
    raise UserError(f"unknown target {text!r}{hint}; write final, share_of_gain=0.9 or accuracy=0.4")


def resolve_target(rule: TargetRule, baseline: Sequence[Curve]) -> Target:
    """Turn a rule into an accuracy with the baseline's runs of one combination, and nothing else.

    start is the median over seeds of the first evaluation, gain the median over seeds of last − first; the target is
    start + share·gain. An accuracy at or below the start is no target: every run would reach it at no cost. Complete runs alone
    decide; while there is none, the unfinished ones give a provisional target.
    """
    done = [c for c in baseline if c.complete and len(c.accuracy)]
    used = done or [c for c in baseline if len(c.accuracy)]
    provisional = len(done) < len(baseline)
    if not used:
        accuracy = rule.value if rule.kind == "accuracy" else None
        note = "" if accuracy is not None else "no baseline run has an evaluation yet"
        return Target(accuracy, rule, note=note, provisional=rule.kind != "accuracy")
    start = float(np.median([c.accuracy[0] for c in used]))
    final = float(np.median([c.accuracy[-1] for c in used]))
    if rule.kind in ("accuracy", "final"):
        goal, provisional = (rule.value, False) if rule.kind == "accuracy" else (final, provisional)
        if goal > start:
            return Target(goal, rule, start, final, provisional=provisional)
        note = (
            f"the target ({100 * goal:.1f} %) is not above the baseline's first evaluation ({100 * start:.1f} %), so it is reached "
            "before any training"
        )
        return Target(None, rule, start, final, note, provisional)
    gain = float(np.median([c.accuracy[-1] - c.accuracy[0] for c in used]))
    if gain <= 0:
        note = "the baseline did not improve on its first evaluation, so a share of its gain is no target"
        return Target(None, rule, start, final, note, provisional)
    return Target(start + rule.value * gain, rule, start, final, provisional=provisional)


def check_plateau(
    baseline: Sequence[Curve],
    target: float | None,
    *,
    cost: str = "training_seconds",
    assumed_deviation: float | None = None,
) -> Plateau | None:
    """Whether the baseline is too flat at the target for the crossing to mean anything.

    The seed deviation is pooled over evaluations. On the baseline's median curve (running maximum, straight lines
    between evaluations) the crossing of target ± one deviation is compared with that of the target; the larger of the
    two shifts, as a share of the budget, counts. A target + deviation that is never reached shifts the crossing by at
    least the rest of the budget. None where there is nothing to check (no target, not reached, no deviation known).
    """
    used = [c for c in baseline if len(c.accuracy)]
    if target is None or not used:
        return None
    points = min(len(c.accuracy) for c in used)
    accuracies = np.stack([c.accuracy[:points] for c in used])
    measured = len(used) > 1
    if not measured and assumed_deviation is None:
        return None
    deviation = float(np.sqrt(accuracies.var(axis=0, ddof=1).mean())) if measured else float(assumed_deviation or 0.0)
    curve = np.maximum.accumulate(np.median(accuracies, axis=0))
    costs = np.median(np.stack([c.cost(cost)[:points] for c in used]), axis=0)
    budget = float(costs[-1])
    at = _cost_at(curve, costs, target)
    if at is None or budget <= 0:
        return None
    before, after = _cost_at(curve, costs, target - deviation), _cost_at(curve, costs, target + deviation)
    backward = at - (before if before is not None else at)
    forward = (after if after is not None else budget) - at
    shift = max(backward, forward) / budget
    return Plateau(deviation, shift, shift > PLATEAU_SHARE, measured)


def steep_shares(baseline: Sequence[Curve], *, cost: str = "training_seconds", assumed_deviation: float | None = None) -> tuple[float, ...]:
    """Those of ``GAIN_SHARES`` at which the baseline is not on a plateau, highest first."""
    targets = {share: resolve_target(TargetRule("share_of_gain", share), baseline) for share in GAIN_SHARES}
    checked = {s: check_plateau(baseline, t.accuracy, cost=cost, assumed_deviation=assumed_deviation) for s, t in targets.items()}
    return tuple(share for share, plateau in checked.items() if plateau is not None and not plateau.flagged)


def _cost_at(rising: Array, costs: Array, level: float) -> float | None:
    """Where a non-decreasing curve first reaches ``level``, on straight lines; None if it does not."""
    index = int(np.searchsorted(rising, level - 1e-9))
    if index == len(rising):
        return None
    if index == 0:
        return float(costs[0])
    low, high = float(rising[index - 1]), float(rising[index])
    share = min(max((level - low) / (high - low), 0.0), 1.0)
    return float(costs[index - 1] + share * (costs[index] - costs[index - 1]))
