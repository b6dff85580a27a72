"""Two sides on the page: what is compared, seed by seed, and what differs; also backends of one suite beside each other."""

from __future__ import annotations

import json
from collections.abc import Sequence
from importlib import resources

import numpy as np

from harness.stats import Band
from reports import words
from reports.arms import SECONDS, TOKENS, Analysis, Arm, Combination
from reports.figures import curves as figures
from reports.page.parts import Cell, Drawer, Picture, Section, Table, strategy_legend
from reports.sides import Sides, backend_groups, backend_of, compare_backends, replicates

STEPS = "training_steps"

#: Said wherever seconds of different machines are compared.
MIXED = "Seconds of different machines are compared, as asked for: what they show may be the machines and not the sides."

#: Ledgers of the table of two sides.
SHOWN = (SECONDS, TOKENS, STEPS)


def cost_table(sides: Sides) -> Table:
    """Cost to the target of every arm on both sides, with the verdict."""
    a, b = sides.names
    rows = [_cost_row(c) for c in sides.analysis.combinations]
    heads = [("arm", False), ("target", True), ("verdict", False), (f"reached, {a}", True), (f"reached, {b}", True)]
    heads += [(f"speed-up in {words.COST_NAMES[c]} [95 %]", True) for c in SHOWN]
    return Table(f"Cost to reach the target: speed-up is {a}'s cost over {b}'s, seed by seed", heads, rows)


def _cost_row(combination: Combination) -> list[Cell]:
    one, two = combination.arms
    main = two.speed_ups.get(combination.main_cost)
    compared = main is not None and main.n > 0
    verdict = main.verdict if main is not None and compared else "no seed in common" if two.n else "not compared"
    cells = [
        Cell(combination.name, combination.name),
        Cell(words.percent(combination.target.accuracy), combination.target.accuracy),
        Cell(verdict, kind=verdict if verdict in ("faster", "slower") else "none"),
        *(Cell(f"{arm.reached} of {arm.n}", arm.reached / arm.n if arm.n else 0.0) for arm in (one, two)),
    ]
    for ledger in SHOWN:
        found = two.speed_ups.get(ledger)
        refused = ledger == SECONDS and not combination.seconds_comparable
        text = f"{words.speed_up(found)} {words.interval(found)}" if found is not None and found.n else words.NO_VALUE
        cells.append(Cell("refused: other machine" if refused else text, found.at_least if found is not None and found.n else None))
    return cells


def sides_section(sides: Sides, name: str = "sides") -> Section:
    """Everything that is said of two sides together."""
    section = Section(name, f"{sides.names[1]} beside {sides.names[0]}", list(sides.alone))
    if any(not c.seconds_comparable for c in sides.analysis.combinations):
        section.notes.append(
            "Seconds are not compared: the two sides ran on different machines or settings. Tokens and steps stay comparable and decide."
        )
    section.tables += [cost_table(sides), sides_table(sides)]
    if sides.mixed:
        section.notes.append(MIXED)
    if sides.differs:
        section.tables.append(differs_table(sides))
    else:
        section.notes.append("No setting and no version differs between the two sides.")
        section.notes += replicate_notes(sides)
    return section


def replicate_notes(sides: Sides) -> list[str]:
    """How far equal runs of equal seed are apart, one sentence per arm; empty where a setting or version differs."""
    notes = []
    for arm, found in replicates(sides).items():
        parts = [f"{100 * found.accuracy:.2f} points of final accuracy"]
        parts += [f"{100 * d:.1f} % of {words.COST_NAMES[cost]}" for cost, d in found.costs.items() if d is not None]
        notes.append(
            f"Noise of {arm}: the same seed twice ({found.pairs} pairs): one run scatters by {', '.join(parts)} (standard deviation) "
            "without any effect of the seed."
        )
    return notes


def construction_table(one: str, two: str) -> Table | None:
    """What differs between two backends by construction (``data/backends.json``, also in docs/backends.md); None for others."""
    rows = json.loads((resources.files("reports") / "data" / "backends.json").read_text(encoding="utf-8"))
    if one == two or not {one, two} <= set(rows[0]):
        return None
    cells = [[Cell(row["what"], row["what"]), Cell(row[one], row[one]), Cell(row[two], row[two])] for row in rows]
    return Table(f"What differs between {one} and {two} by construction", [("aspect", False), (one, False), (two, False)], cells)


def backend_sections(analysis: Analysis, drawer: Drawer) -> list[Section]:
    """One section per group of combinations that differ only in their backend."""
    sections = []
    for index, group in enumerate(backend_groups(analysis), start=1):
        names = " and ".join(backend_of(c) for c in group)
        section = Section(f"backends-{index}", f"The same on {names}: {', '.join(c.name for c in group)}")
        section.notes.append(
            "Equal strategies on combinations that differ only in the backend, seed by seed; the target is the one of the first backend's "
            "baseline. Backends sample different rollouts from the same weights, so equal seeds are alike, not identical."
        )
        section.pictures = _panels(analysis, group, drawer, index)
        for number, sides in enumerate(compare_backends(analysis, group), start=1):
            part = sides_section(sides, name=f"backends-{index}-{number}")
            section.notes += part.notes
            section.tables += part.tables
            if table := construction_table(*sides.names):
                section.tables.append(table)
        sections.append(section)
    return sections


def _panels(analysis: Analysis, group: Sequence[Combination], drawer: Drawer, index: int) -> list[Picture]:
    arms: dict[str, Arm] = {}
    for combination in group:
        for arm in combination.arms:
            if arm.n:
                arms.setdefault(arm.strategy, arm)
    panels = [(backend_of(c), c) for c in group]
    pictures = []
    for cost in (STEPS, SECONDS):
        ends = "; ".join(f"{backend_of(c)}: {a.strategy} ends at {words.percent(a.final_accuracy)}" for c in group for a in c.arms if a.n)
        picture = drawer.draw(
            f"backends-{index}-{cost}", f"Accuracy against {words.COST_NAMES[cost]} on each backend", ends + ".",
            f"Accuracy against {words.COST_NAMES[cost]}, one panel per backend with the same accuracy axis; each panel has its own target.",
            lambda legend, cost=cost: figures.side_by_side(panels, cost, analysis.strategies, legend=legend),  # type: ignore[misc]
        )  # fmt: skip
        picture.legend = strategy_legend(list(arms.values()), analysis.strategies)
        picture.wide = True
        pictures.append(picture)
    return pictures


def sides_table(sides: Sides) -> Table:
    """Final accuracy and speed of every arm on both sides."""
    a, b = sides.names
    rows = []
    for combination in sides.analysis.combinations:
        one, two = combination.arms
        n, difference = sides.differences[combination.name]
        seconds = [arm.step_mean("seconds") for arm in (one, two)]
        tokens = [arm.step_mean("mean_completion_tokens") for arm in (one, two)]
        rows.append([
            Cell(combination.name, combination.name),
            Cell(str(n), float(n)),
            *(Cell(words.percent(arm.final_accuracy), arm.final_accuracy) for arm in (one, two)),
            Cell(points(difference), difference.value if n else None),
            *(Cell(words.number(value, 3), value) for value in seconds),
            *(Cell(words.number(value, 1), value) for value in tokens),
        ])  # fmt: skip
    heads = [("arm", False), ("complete pairs", True), (f"final accuracy, {a}", True), (f"final accuracy, {b}", True),
             ("difference in points [95 %]", True), (f"seconds per step, {a}", True), (f"seconds per step, {b}", True),
             (f"tokens per rollout, {a}", True), (f"tokens per rollout, {b}", True)]  # fmt: skip
    return Table(f"{b} beside {a}: final accuracy (second minus first, same seeds) and speed", heads, rows)


def points(difference: Band) -> str:
    """``+0.4 [-0.2, 1.1]`` in points of accuracy."""
    if np.isnan(difference.value):
        return words.NO_VALUE
    low, high = difference.low, difference.high
    text = "no interval" if low is None or high is None else f"[{100 * low:.1f}, {100 * high:.1f}]"
    return f"{100 * difference.value:+.1f} {text}"


def differs_table(sides: Sides) -> Table:
    """Every setting and version that is not the same on both sides."""
    heads = [("setting", False), (sides.names[0], False), (sides.names[1], False)]
    rows = [[Cell(name, name, "code"), Cell(one, one, "code"), Cell(two, two, "code")] for name, one, two in sides.differs]
    return Table(f"What differs between {sides.names[0]} and {sides.names[1]}", heads, rows)
