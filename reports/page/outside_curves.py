"""Outside curves (accuracy against hours, no ledgers) under the same rules, and what stricter rules say of them."""

from __future__ import annotations

import csv
import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from harness.errors import UserError, did_you_mean
from harness.stats import Crossing, Curve, parse_target, target_from_text
from reports import words
from reports.analysis import analyse
from reports.arms import SECONDS, Analysis, Arm
from reports.condensed import Run, bare_run, printable
from reports.page.build import write_report
from reports.page.parts import Cell, Table
from reports.page.published import published

COLUMNS = ("combination", "method", "hours", "avg_accuracy")

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
    title: str = "",
    figures: bool = False,
) -> Path:
    """The report of curves from a CSV file with the columns combination, method, hours, avg_accuracy (and maybe seed).

    Accuracies are shares, or per cent where one of them is above 1. target: a mapping as in a suite, or ``final``,
    ``share_of_gain=0.9``, ``accuracy=0.5``. Writes the same files as ``write_report`` and returns the page's path. Raises
    UserError that names file and line for anything that cannot be read.
    """
    rule = {**(target_from_text(target) if isinstance(target, str) else target), "crossing": crossing}
    parse_target(rule)
    runs = read_curves(csv_file)
    analysis = analyse(runs, baseline=baseline, target=rule, assumed_deviation=KNOWN_DEVIATION)
    description = (
        f"Curves from {csv_file.name}, not from run ledgers: only accuracy against hours is known, and whether the runs are "
        "comparable cannot be checked."
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
                row.append(_saved_cell(other.arms[position], flagged))
            paper = published(combination.name, arm.strategy)
            printed = (paper.time_saved_v1, paper.time_saved_v3) if paper is not None else (None, None)
            row += [Cell(words.NO_VALUE if value is None else f"{value:.1f} %", value) for value in printed]
            rows.append(row)
    heads = [("combination", False), ("strategy", False), *((name, True) for name, _ in readings)]
    heads += [("published v1", True), ("published v3", True)]
    caption = (
        "Training time saved under other rules. ⚠: the baseline is so flat at this target that one seed standard deviation "
        "(measured, or 0.5 points with one seed) moves its crossing by more than 15 % of the budget. ≥: the baseline never "
        "confirmed the target."
    )
    return Table(caption, heads, rows)


def _saved_cell(arm: Arm, flagged: bool) -> Cell:
    found = arm.speed_ups[SECONDS]
    value = words.saved(found)
    text = words.NO_VALUE if value is None else f"{value:.1f} %"
    if value is None and found.at_least > 1:
        value = 100 * (1 - 1 / found.at_least)
        text = f"≥ {value:.1f} %"
    elif value is None and 0 < found.at_most < 1:
        value = 100 * (1 - 1 / found.at_most)
        text = f"≤ {value:.1f} %"
    return Cell(f"{text} ⚠" if flagged else text, value, "warn" if flagged else "")


def read_curves(csv_file: Path) -> list[Run]:
    """One run per combination, method and seed, in the form that the report works with."""
    points = _read_points(csv_file)
    in_percent = max(accuracy for curve in points.values() for _, accuracy in curve) > 1
    runs = []
    for (combination, method, seed), curve in points.items():
        ordered = sorted(curve)
        hours = np.array([h for h, _ in ordered])
        accuracy = np.array([a for _, a in ordered]) / (100 if in_percent else 1)
        runs.append(bare_run(Curve(combination, method, seed, accuracy, {SECONDS: hours * 3600})))
    return runs


def _read_points(csv_file: Path) -> dict[tuple[str, str, int], list[tuple[float, float]]]:
    try:
        with open(csv_file, encoding="utf-8-sig", newline="") as file:
            reader = csv.DictReader(file)
            columns = reader.fieldnames or []
            missing = next((c for c in COLUMNS if c not in columns), None)
            if missing is not None:
                raise UserError(f"{csv_file}: no column {missing!r}{did_you_mean(missing, columns)}; curves need {', '.join(COLUMNS)}")
            points: dict[tuple[str, str, int], list[tuple[float, float]]] = {}
            for row in reader:
                key, point = _point(row, f"{csv_file}, line {reader.line_num}")
                points.setdefault(key, []).append(point)
    except OSError as error:
        raise UserError(f"cannot read {csv_file}: {error.strerror}") from error
    except (UnicodeDecodeError, csv.Error) as error:
        raise UserError(f"{csv_file} is not a CSV file in UTF-8 ({error})") from error
    if not points:
        raise UserError(f"{csv_file} holds no curves: there is no row under the header")
    return points


def _point(row: Mapping[str, str | None], where: str) -> tuple[tuple[str, str, int], tuple[float, float]]:
    numbers = []
    for name in ("hours", "avg_accuracy"):
        try:
            value = float(row[name] or "")
        except ValueError:
            value = math.nan
        if not math.isfinite(value) or value < 0:
            raise UserError(f"{where}: {name} is {row[name]!r}; it must be a number of at least 0")
        numbers.append(value)
    try:
        seed = int(row.get("seed") or 1)
    except ValueError as error:
        raise UserError(f"{where}: seed is {row.get('seed')!r}; it must be a whole number") from error
    return (printable(row["combination"] or ""), printable(row["method"] or ""), seed), (numbers[0], numbers[1])
