"""Two sides of one experiment, seed by seed: two folders of runs, two versions, two backends.

Every arm (a combination and a strategy) that both sides have becomes one comparison in the sense of :mod:`reports.analysis`: the
first side stands where a report has its baseline, so targets, censoring, pairing, intervals and the refusal to compare seconds
across machines are the same code. The target of an arm is that of its combination, resolved from the first side's baseline runs.
"""

from __future__ import annotations

import json
import math
import os
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import pairwise
from typing import Any

import numpy as np

from harness.errors import UserError, did_you_mean
from harness.stats import Band, log_deviation, paired_difference, parse_target, resolve_target
from reports.analysis import analyse
from reports.arms import SECONDS, TOKENS, Analysis, Combination
from reports.condensed import Run, facts_of
from reports.run_columns import Array

#: Between combination and strategy in the name of an arm.
JOINT = " · "

#: Parts of a run's spec that do not say how it was trained.
_LABELS = ("suite", "seed", "combination.name", "strategy.label", "target.", "budget.")


@dataclass(slots=True)
class Sides:
    """The comparison of two sides.

    names: of the first and the second. analysis: one "combination" per arm, whose strategies are the sides. differences: per arm,
    final accuracy of the second minus the first with its interval. alone: what only one side has, one sentence each. differs: (setting,
    value on the first side, value on the second). mixed: seconds of different machines are compared, because that was asked for.
    """

    names: tuple[str, str]
    analysis: Analysis
    differences: dict[str, tuple[int, Band]]
    alone: list[str]
    differs: list[tuple[str, str, str]]
    mixed: bool = False


def compare_sides(
    first: tuple[str, Sequence[Run]],
    second: tuple[str, Sequence[Run]],
    *,
    baseline: str,
    target: Mapping[str, Any],
    mix_machines: bool = False,
) -> Sides:
    """Compare (name, runs) with (name, runs) on every arm that both have.

    baseline: strategy label whose runs on the first side give the target. mix_machines: compare seconds although the runs come
    from different machines. Raises UserError where the sides have nothing in common, or the first has no such baseline.
    """
    names = (first[0], second[0])
    runs = [list(first[1]), _in_names_of(first[1], second[1])]
    if any(not side for side in runs):
        raise UserError(f"side {names[0 if not runs[0] else 1]!r} has no run with a result, so there is nothing to compare")
    labels = {r.strategy for r in runs[0]}
    if baseline not in labels:
        hint = did_you_mean(baseline, labels)
        raise UserError(f"side {names[0]!r} has no run of the baseline {baseline!r}{hint} (it has: {', '.join(sorted(labels))})")
    arms = [{_arm(r) for r in side} for side in runs]
    both = arms[0] & arms[1]
    if not both:
        held = [", ".join(sorted(side)) for side in arms]
        raise UserError(f"{names[0]!r} and {names[1]!r} have no arm in common: one has {held[0]}, the other {held[1]}")
    rule = parse_target(target)
    combinations = {r.combination for r in runs[0]}
    resolved = {c: resolve_target(rule, [r.curve for r in runs[0] if r.combination == c and r.strategy == baseline]) for c in combinations}
    relabelled = [_as_side(run, name, mix_machines) for name, side in zip(names, runs, strict=True) for run in side if _arm(run) in both]
    targets = {_arm(r): resolved[r.combination] for r in runs[0]}
    analysis = analyse(relabelled, baseline=names[0], target=target, targets=targets)
    alone = [f"only {names[i]} has {arm}" for i in (0, 1) for arm in sorted(arms[i] - arms[1 - i])]
    differences = {c.name: _final_difference(c) for c in analysis.combinations}
    shared = [[r for r in side if _arm(r) in both] for side in runs]
    mixed = mix_machines and any(len({r.machine for side in shared for r in side if _arm(r) == arm}) > 1 for arm in both)
    return Sides(names, analysis, differences, alone, what_differs(shared[0], shared[1]), mixed)


def _arm(run: Run) -> str:
    return f"{run.combination}{JOINT}{run.strategy}"


def _as_side(run: Run, side: str, mix_machines: bool) -> Run:
    curve = replace(run.curve, combination=_arm(run), strategy=side)
    # Both sides of an oracle are oracles: neither is the other's upper bound.
    spec = {**run.spec, "strategy": {**run.spec["strategy"], "uncharged_oracle": False}}
    return replace(run, combination=_arm(run), strategy=side, curve=curve, spec=spec, machine="" if mix_machines else run.machine)


def content_of(run: Run) -> str:
    """What is trained on what, whatever the combination is called and whichever engine trains."""
    combination = run.spec.get("combination", {})
    task = {k: v for k, v in combination.get("task", {}).items() if k != "version"}
    return json.dumps([combination.get("model"), task], sort_keys=True)


def _in_names_of(first: Sequence[Run], second: Sequence[Run]) -> list[Run]:
    """The second side's runs, under the first side's name of the same model and task where the names differ."""
    known = {r.combination for r in first}
    by_content: dict[str, set[str]] = {}
    for run in first:
        by_content.setdefault(content_of(run), set()).add(run.combination)
    renamed = []
    for run in second:
        same = by_content.get(content_of(run), set())
        name = next(iter(same)) if run.combination not in known and len(same) == 1 else run.combination
        renamed.append(replace(run, combination=name))
    return renamed


def _final_difference(combination: Combination) -> tuple[int, Band]:
    """(pairs, second minus first) of the last accuracy, over seeds that both sides completed."""
    values = _final_pairs(combination)
    return len(values), paired_difference(values)


def _final_pairs(combination: Combination) -> Array:
    """Second minus first of the last accuracy, one value per seed that both sides completed."""
    last = [
        {r.seed: float(r.curve.accuracy[-1]) for r in a.runs if r.state == "complete" and len(r.curve.accuracy)} for a in combination.arms
    ]
    seeds = sorted(set.intersection(*(set(side) for side in last)))
    return np.array([last[1][s] - last[0][s] for s in seeds])


@dataclass(frozen=True, slots=True)
class Replicates:
    """Scatter of one run between two of the same seed and settings: what the machine and its rounding add, without that of seeds.

    accuracy: standard deviation of the final accuracy. costs: per ledger that of the log cost to the target, None where fewer than two
    pairs are known exactly.
    """

    pairs: int
    accuracy: float
    costs: dict[str, float | None]


def replicates(sides: Sides) -> dict[str, Replicates]:
    """Per arm, where no setting and no version differs between the sides: both then ran the same thing, seed by seed.

    A difference of two equal runs scatters √2 times as far as one of them. Arms with fewer than two complete pairs are left out.
    """
    if sides.differs:
        return {}
    found = {}
    for combination in sides.analysis.combinations:
        values = _final_pairs(combination)
        if len(values) >= 2:
            deviations = {cost: log_deviation(s) for cost, s in combination.arms[1].speed_ups.items() if cost in (SECONDS, TOKENS)}
            costs = {cost: None if d is None else d / math.sqrt(2) for cost, d in deviations.items()}
            found[combination.name] = Replicates(len(values), float(np.sqrt((values**2).mean() / 2)), costs)
    return found


# -- what differs ------------------------------------------------------------------------------------------------------


def what_differs(first: Iterable[Run], second: Iterable[Run]) -> list[tuple[str, str, str]]:
    """(setting, values on the first side, values on the second) of everything that is not the same on both."""
    facts = [_facts(side) for side in (first, second)]
    found = []
    for name in dict.fromkeys([*facts[0], *facts[1]]):
        values = [sorted(side.get(name, {"–"})) for side in facts]
        if values[0] != values[1]:
            found.append((name, " and ".join(values[0]), " and ".join(values[1])))
    return found


def _facts(runs: Iterable[Run]) -> dict[str, set[str]]:
    found: dict[str, set[str]] = {}
    for run in runs:
        for name, value in _flat("", run.spec):
            if not name.startswith(_LABELS):
                per_arm = name.startswith(("strategy.", "algorithm."))
                found.setdefault(f"{run.strategy}: {name}" if per_arm else name, set()).add(value)
        environment = {k: run.environment.get(k) for k in ("fingerprint", "cpu", "cores", "gpus", "threads", "python", "platform")}
        for name, values in facts_of([run]).items():
            found.setdefault(name, set()).update(values)
        for name, value in (*_flat("environment.", environment), *_flat("version of ", run.environment.get("versions", {}))):
            found.setdefault(name, set()).add(value)
    return found


def _flat(prefix: str, value: Mapping[str, Any]) -> list[tuple[str, str]]:
    found = []
    for key, item in value.items():
        if isinstance(item, Mapping):
            found += _flat(f"{prefix}{key}.", item)
        elif item is not None:
            found.append((f"{prefix}{key}", item if isinstance(item, str) else json.dumps(item, ensure_ascii=False)))
    return found


# -- backends within one report ----------------------------------------------------------------------------------------


def backend_groups(analysis: Analysis) -> list[list[Combination]]:
    """Combinations that differ only in their backend, the groups of two and more."""
    groups: dict[str, list[Combination]] = {}
    for combination in analysis.combinations:
        run = next((r for a in combination.arms for r in a.runs), None)
        if run is not None and backend_of(combination):
            groups.setdefault(content_of(run), []).append(combination)
    return [g for g in groups.values() if len({backend_of(c) for c in g}) == len(g) > 1]


def backend_of(combination: Combination) -> str:
    """The backend of its runs."""
    return next((str(r.spec["combination"]["backend"]) for a in combination.arms for r in a.runs if "combination" in r.spec), "")


def compare_backends(analysis: Analysis, group: Sequence[Combination]) -> list[Sides]:
    """Each backend of a group beside the one before it; what cannot be compared is left out."""
    target: dict[str, Any] = {"final": True} if analysis.rule.kind == "final" else {analysis.rule.kind: analysis.rule.value}
    target["crossing"] = analysis.rule.crossing
    found = []
    for one, two in pairwise(group):
        # Both under what their names have in common: the arms are the same, only the backend differs.
        name = os.path.commonprefix([one.name, two.name]).rstrip("-_.+ ") or one.name  # noqa: RUF071 - characters are meant
        first, second = ((backend_of(c), [replace(r, combination=name) for a in c.arms for r in a.runs]) for c in (one, two))
        try:
            found.append(compare_sides(first, second, baseline=analysis.baseline, target=target))
        except UserError:  # no arm in common, or no baseline on one side: nothing to set side by side
            continue
    return found
