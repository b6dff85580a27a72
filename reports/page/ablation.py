"""Where a strategy is composed of two others that were run too: each part switched on alone and beside the other, and whether
they help or hinder each other."""

from __future__ import annotations

import json
import math
from collections.abc import Sequence

from harness.stats import SpeedUp, paired_interaction, paired_speed_up
from reports import words
from reports.arms import SECONDS, Analysis, Arm, Combination, pairs_of
from reports.figures import curves as figures
from reports.page.parts import Cell, Drawer, Picture, Table

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
    """Per seed, speed-up of both over the product of the single ones; 1 if they do not influence each other on a log scale.

    ``parts``: first, second and both. It is cost(first)·cost(second) / (cost(baseline)·cost(both)), on seeds that all four have;
    a miss opens its range (:func:`harness.stats.interaction_bounds`).
    """
    by_seed = [{r.seed: o for r, o in zip(a.runs, a.outcomes[ledger], strict=True)} for a in (base, *parts)]
    seeds = sorted(set.intersection(*(set(b) for b in by_seed)))
    return paired_interaction([(by_seed[0][s], by_seed[1][s], by_seed[2][s], by_seed[3][s]) for s in seeds])


def _composed(analysis: Analysis) -> list[tuple[Combination, list[Arm]]]:
    """(combination, [baseline, first, second, both]) of everything that can be taken apart."""
    found = []
    for combination in analysis.combinations:
        arms = {a.strategy: a for a in combination.arms if a.n}
        base = combination.baseline
        for names in compositions(list(arms)):
            four = [base, *(arms[n] for n in names)] if base is not None else []
            whole = [a for a in four if a is not None and a.outcomes.get(combination.main_cost)]
            if len(whole) == 4 and analysis.baseline not in names:
                found.append((combination, whole))
    return found


def ablation_table(analysis: Analysis) -> Table | None:
    """Two rows per combination and composed strategy, one for each part; None where nothing is composed."""
    rows = []
    for combination, (base, first, second, both) in _composed(analysis):
        joint = interaction(base, [first, second, both], combination.main_cost)
        unlike = setting_differences([base, first, second, both])
        for part, other in ((first, second), (second, first)):
            rows.append([
                Cell(combination.name, combination.name),
                Cell(part.strategy, part.strategy, swatch=analysis.strategies.index(part.strategy) % 8),
                _effect(base, part, combination.main_cost),
                Cell(other.strategy, other.strategy),
                _effect(other, both, combination.main_cost),
                Cell(f"{words.speed_up(joint)} {words.interval(joint)}" if joint.n else words.NO_VALUE),
                Cell(_reading(joint)),
                Cell("; ".join(unlike) or "none", kind="warn" if unlike else ""),
            ])  # fmt: skip
    heads = [("combination", False), ("component", False), ("switched on alone", True), ("beside", False), ("switched on beside it", True),
             ("interaction", False), ("reading", False), ("other settings that differ", False)]  # fmt: skip
    caption = (
        "Each component on and off: speed-up from switching it on, median [95 %] over seeds. Interaction, on a log scale: the second "
        "speed-up over the first, which is the same for both components; "
        "1 means that they do not influence each other. Where other settings differ too, the effect is not the component's alone."
    )
    return Table(caption, heads, rows) if rows else None


def setting_differences(arms: Sequence[Arm]) -> list[str]:
    """``learning_rate: 0.001 (grpo, rr), 0.0005 (dots)`` for every setting that arms share and that is not equal in all of them."""
    values: dict[str, dict[str, list[str]]] = {}
    for arm in arms:
        spec = arm.runs[0].spec if arm.runs else {}
        settings = {**spec.get("algorithm", {}), **spec.get("strategy", {}).get("config", {})}
        for name, value in settings.items():
            values.setdefault(name, {}).setdefault(json.dumps(value), []).append(arm.strategy)
    unlike = {name: found for name, found in values.items() if len(found) > 1}
    return [f"{name}: " + ", ".join(f"{v} ({' and '.join(labels)})" for v, labels in found.items()) for name, found in unlike.items()]


def _effect(without: Arm, with_: Arm, ledger: str) -> Cell:
    found = paired_speed_up(pairs_of(without, with_, ledger))
    return Cell(f"{words.speed_up(found)} {words.interval(found)}" if found.n else words.NO_VALUE, found.at_least if found.n else None)


def _reading(joint: SpeedUp) -> str:
    if joint.n == 0:
        return "no seed that all four have"
    return {"faster": f"they help each other (n = {joint.n})", "slower": f"they hinder each other (n = {joint.n})"}.get(
        joint.verdict, f"no interaction shown (n = {joint.n})"
    )


def ablation_pictures(analysis: Analysis, drawer: Drawer) -> list[Picture]:
    """Median costs with each part on and off, where all four medians are finite."""
    pictures = []
    for index, (combination, arms) in enumerate(_composed(analysis), start=1):
        ledger = combination.main_cost
        costs = [a.median_cost(ledger)[0] for a in arms]
        if not all(math.isfinite(c) and c > 0 for c in costs):
            continue
        _, first, second, both = (a.strategy for a in arms)
        text = ", ".join(f"{a.strategy} {words.cost(c, ledger)}" for a, c in zip(arms, costs, strict=True))
        unit = "training seconds" if ledger == SECONDS else words.COST_NAMES[ledger]
        pictures.append(
            drawer.draw(
                f"parts-{index}", f"{both} taken apart on {combination.name}", f"Median {unit} to the target: {text}.",
                f"{combination.name}: median {unit} to the target with {first} and {second} on and off (log scale; parallel lines: no "
                "interaction).",
                lambda _, costs=costs, first=first, second=second, ledger=ledger: figures.on_and_off(costs, (first, second), ledger),  # type: ignore[misc]
            )
        )  # fmt: skip
    return pictures
