"""Where a strategy is composed of two others that were run too: what each part does alone, both together, and whether they help
or hinder each other."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np

from harness.stats import Reach, SpeedUp, paired_speed_up
from reports import words
from reports.analysis import Analysis, Arm, Combination
from reports.parts import Cell, Table

SEPARATORS = ("-", "+", "_", " + ")


def compositions(labels: Sequence[str]) -> list[tuple[str, str, str]]:
    """(first part, second part, both) for every label that joins two others: ``dots``, ``rr``, ``dots-rr``."""
    known = set(labels)
    return [
        (first, second, both)
        for both in labels
        for separator in SEPARATORS
        for first, found, second in [both.partition(separator)]
        if found and first in known and second in known and first != second
    ]


def interaction(base: Arm, parts: Sequence[Arm], ledger: str) -> SpeedUp:
    """Per seed, speed-up of both over the product of the single ones; 1 if they do not influence each other.

    ``parts``: first, second and both.

    It is cost(first)·cost(second) / (cost(baseline)·cost(both)), on the seeds where all four reached the target.
    """
    by_seed = [{r.seed: o for r, o in zip(a.runs, a.outcomes[ledger], strict=True) if o.reached} for a in (base, *parts)]
    pairs = []
    for seed in sorted(set.intersection(*(set(b) for b in by_seed))):
        costs = [b[seed].cost for b in by_seed]
        if min(costs) > 0:
            pairs.append(tuple(Reach(math.sqrt(x * y), math.inf, 0) for x, y in ((costs[1], costs[2]), (costs[0], costs[3]))))
    # The pair's ratio is the square root of the interaction; squared again below.
    found = paired_speed_up([(a, b) for a, b in pairs])
    low, high = (None if v is None else v**2 for v in (found.low, found.high))
    return SpeedUp(found.n, found.at_least**2, found.at_most**2, low, high, np.square(found.pairs))


def ablation_table(analysis: Analysis) -> Table | None:
    """One row per combination and composed strategy; None where nothing is composed."""
    rows = []
    for combination in analysis.combinations:
        arms = {a.strategy: a for a in combination.arms if a.n}
        base = combination.baseline
        for names in compositions(list(arms)):
            if base is None or analysis.baseline in names or combination.main_cost not in arms[names[2]].speed_ups:
                continue
            rows.append(_row(combination, base, [arms[n] for n in names]))
    heads = [
        ("combination", False),
        ("first alone", False),
        ("second alone", False),
        ("both", False),
        ("interaction", False),
        ("reading", False),
    ]
    caption = (
        "Each component on and off: speed-ups against the baseline, median [95 %]. Interaction: speed-up of both divided by the "
        "product of the single ones, on seeds where all four reached the target; 1 means that the parts do not influence each other."
    )
    return Table(caption, heads, rows) if rows else None


def _row(combination: Combination, base: Arm, arms: list[Arm]) -> list[Cell]:
    ledger = combination.main_cost
    cells = [Cell(combination.name, combination.name)]
    for arm in arms:
        found = arm.speed_ups[ledger]
        cells.append(Cell(f"{arm.strategy} {words.speed_up(found)} {words.interval(found)}", arm.strategy))
    joint = interaction(base, arms, ledger)
    if joint.n == 0:
        return [*cells, Cell(words.NO_VALUE), Cell("no seed on which all four reached the target")]
    reading = {"faster": "they help each other", "slower": "they hinder each other"}.get(joint.verdict, f"none shown (n = {joint.n})")
    return [*cells, Cell(f"{words.factor(joint.at_least)} {words.interval(joint)}"), Cell(reading)]
