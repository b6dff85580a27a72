"""Outside curves (accuracy against a cost, no ledgers) under the same rules, and what stricter rules say of them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from harness.stats import Crossing, parse_target, target_from_text
from reports import words
from reports.analysis import analyse
from reports.arms import Analysis, Arm
from reports.condensed import Run
from reports.outside_curves import find_baseline, read_curves
from reports.page.build import write_report
from reports.page.parts import Cell, Table
from reports.page.published import published

#: Seed deviation of a four-benchmark mean (docs/protocol.md, “How sure”), for the plateau check of curves with one seed.
KNOWN_DEVIATION = 0.005

#: The rules that every set of outside curves is also judged by: (words, target).
STRICTER: tuple[tuple[str, Mapping[str, Any]], ...] = (
    ("final, first", {"final": True, "crossing": "first"}),
    ("final, sustained", {"final": True, "crossing": "sustained"}),
    ("90 % of gain, sustained", {"share_of_gain": 0.9, "crossing": "sustained"}),
    ("75 % of gain, sustained", {"share_of_gain": 0.75, "crossing": "sustained"}),
    ("50 % of gain, sustained", {"share_of_gain": 0.5, "crossing": "sustained"}),
)


def build_curves_report(
    csv_file: Path,
    out: Path,
    crossing: Crossing = "sustained",
    target: str | Mapping[str, Any] = "share_of_gain=0.9",
    *,
    baseline: str = "GRPO",
    cost: str | None = None,
    title: str = "",
    figures: bool = False,
) -> Path:
    """The report of curves from a CSV file, as :func:`reports.outside_curves.read_curves` takes it.

    baseline: the method to compare with, in any case. cost: the column of costs to use, where there are several. target: a mapping
    as in a suite, or ``final``, ``share_of_gain=0.9``, ``accuracy=0.5``. Writes the same files as ``write_report`` and returns the
    page's path. Raises UserError that names file and line for anything that cannot be read.
    """
    rule = {**(target_from_text(target) if isinstance(target, str) else target), "crossing": crossing}
    parse_target(rule)
    runs = read_curves(csv_file, cost)
    analysis = analyse(runs, baseline=find_baseline(runs, baseline), target=rule, assumed_deviation=KNOWN_DEVIATION)
    description = (
        f"Curves from {csv_file.name}, not from run ledgers: only accuracy against the costs in the file is known, and "
        "whether the runs are comparable cannot be checked."
    )
    return write_report(
        analysis,
        out,
        title=title or f"Time to target from {csv_file.name}",
        description=description,
        figures=figures,
        extra=stricter_table(runs, analysis),
    )


def stricter_table(runs: Sequence[Run], asked: Analysis) -> Table:
    """Time saved under several rules, a warning sign where the target lies on a plateau, and what was published."""
    readings = [
        (name, analyse(runs, baseline=asked.baseline, target=target, assumed_deviation=KNOWN_DEVIATION)) for name, target in STRICTER
    ]
    rows = []
    for index, combination in enumerate(asked.combinations):
        for position, arm in enumerate(combination.arms):
            if arm.is_baseline:
                continue
            row = [
                Cell(combination.name, combination.name),
                Cell(arm.strategy, arm.strategy, swatch=asked.strategies.index(arm.strategy) % 8),
            ]
            for _, reading in readings:
                other = reading.combinations[index]
                flagged = other.plateau is not None and other.plateau.flagged
                row.append(_saved_cell(other.arms[position], other.main_cost, flagged))
            paper = published(combination.name, arm.strategy)
            printed = (paper.time_saved_v1, paper.time_saved_v3) if paper is not None else (None, None)
            row += [Cell(words.NO_VALUE if value is None else f"{value:.1f} %", value) for value in printed]
            rows.append(row)
    heads = [("combination", False), ("strategy", False), *((name, True) for name, _ in readings)]
    heads += [("published v1", True), ("published v3", True)]
    caption = (
        "Cost saved under other rules. ⚠: the baseline is so flat at this target that one seed standard deviation "
        "(measured, or 0.5 points with one seed) moves its crossing by more than 15 % of the budget. ≥: the baseline never "
        "confirmed the target."
    )
    return Table(caption, heads, rows)


def _saved_cell(arm: Arm, ledger: str, flagged: bool) -> Cell:
    found = arm.speed_ups.get(ledger)
    if found is None:
        return Cell(words.NO_VALUE, None)
    value = words.saved(found)
    text = words.NO_VALUE if value is None else f"{value:.1f} %"
    if value is None and found.at_least > 1:
        value = 100 * (1 - 1 / found.at_least)
        text = f"≥ {value:.1f} %"
    elif value is None and 0 < found.at_most < 1:
        value = 100 * (1 - 1 / found.at_most)
        text = f"≤ {value:.1f} %"
    return Cell(f"{text} ⚠" if flagged else text, value, "warn" if flagged else "")
