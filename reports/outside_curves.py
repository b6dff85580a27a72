"""Curves measured elsewhere, from a CSV file: accuracy against hours, tokens or steps, in the form that a report works with."""

from __future__ import annotations

import csv
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from harness.errors import UserError, did_you_mean
from harness.stats import COST_LEDGERS, Curve
from reports.condensed import Run, bare_run, printable

#: Cost columns by name: the ledger that they fill, and how many of its units one of theirs is.
COST_COLUMNS: Mapping[str, tuple[str, float]] = {
    "hours": ("training_seconds", 3600.0),
    "seconds": ("training_seconds", 1.0),
    "tokens": ("generated_tokens", 1.0),
    "steps": ("training_steps", 1.0),
    **{ledger: (ledger, 1.0) for ledger in COST_LEDGERS},
}

#: Names that a column may have; the first is the one that a message asks for. Those of Halfway's own curves.csv are among them.
_COMBINATION, _METHOD, _ACCURACY = ("combination",), ("method", "strategy"), ("avg_accuracy", "accuracy")


@dataclass(frozen=True, slots=True)
class _Columns:
    """Which column holds what; costs: per ledger, (column, factor)."""

    combination: str
    method: str
    accuracy: str
    costs: Mapping[str, tuple[str, float]]


def read_curves(csv_file: Path, cost: str | None = None) -> list[Run]:
    """One run per combination, method and seed; accuracies are shares, or per cent where one of them is above 1.

    cost: the column of the cost to use, where there are several; by default all of them. Raises UserError that names file and line.
    """
    columns, rows = _read(csv_file, cost)
    first = next(iter(columns.costs))
    points: dict[tuple[str, str, int], dict[float, tuple[int, float, dict[str, float]]]] = {}
    for line, row in rows:
        key, accuracy, costs = _point(row, columns, f"{csv_file}, line {line}")
        curve = points.setdefault(key, {})
        if costs[first] in curve:
            other = curve[costs[first]][0]
            name = f"{key[1]} on {key[0]}, seed {key[2]}"
            raise UserError(
                f"{csv_file}, line {line}: a second evaluation of {name} at the cost of line {other}; remove one, or add a column seed"
            )
        curve[costs[first]] = (line, accuracy, costs)
    if not points:
        raise UserError(f"{csv_file} holds no curves: there is no row under the header")
    in_percent = max(accuracy for curve in points.values() for _, accuracy, _ in curve.values()) > 1
    runs = []
    for (combination, method, seed), curve in points.items():
        ordered = [curve[at] for at in sorted(curve)]
        accuracies = np.array([a for _, a, _ in ordered]) / (100 if in_percent else 1)
        ledgers = {ledger: np.array([costs[ledger] for _, _, costs in ordered]) for ledger in columns.costs}
        runs.append(bare_run(Curve(combination, method, seed, accuracies, ledgers)))
    return runs


def find_baseline(runs: Sequence[Run], name: str) -> str:
    """The method called ``name``, whatever its case. Raises UserError with the methods there are."""
    methods = list(dict.fromkeys(run.strategy for run in runs))
    found = [m for m in methods if m.lower() == name.lower()]
    if name in methods or len(found) == 1:
        return name if name in methods else found[0]
    hint = did_you_mean(name, methods)
    raise UserError(f"the baseline {name!r} has no curve{hint} (methods: {', '.join(methods)}); choose one with --baseline")


def _read(csv_file: Path, cost: str | None) -> tuple[_Columns, list[tuple[int, Mapping[str, str | None]]]]:
    try:
        with open(csv_file, encoding="utf-8-sig", newline="") as file:
            reader = csv.DictReader(file)
            columns = _columns(csv_file, list(reader.fieldnames or []), cost)
            rows: list[tuple[int, Mapping[str, str | None]]] = []
            for row in reader:
                if None in row:
                    raise UserError(
                        f"{csv_file}, line {reader.line_num}: more values than the header has columns; is there a decimal comma? "
                        "Write 1.5, not 1,5"
                    )
                rows.append((reader.line_num, row))
            return columns, rows
    except OSError as error:
        raise UserError(f"cannot read {csv_file}: {error.strerror}") from error
    except (UnicodeDecodeError, csv.Error) as error:
        raise UserError(f"{csv_file} is not a CSV file in UTF-8 ({error})") from error


def _columns(csv_file: Path, names: list[str], cost: str | None) -> _Columns:
    if len(names) == 1 and ";" in names[0]:
        raise UserError(f"{csv_file}, line 1: the columns are separated by semicolons; save the file with commas and decimal points")
    found = [next((n for n in wanted if n in names), None) for wanted in (_COMBINATION, _METHOD, _ACCURACY)]
    costs = {COST_COLUMNS[n][0]: (n, COST_COLUMNS[n][1]) for n in names if n in COST_COLUMNS and cost in (None, n)}
    if cost is not None and not costs:
        raise UserError(f"{csv_file}: no column {cost!r} of a cost{did_you_mean(cost, names)} (known: {', '.join(COST_COLUMNS)})")
    for wanted, column in zip((_COMBINATION, _METHOD, _ACCURACY), found, strict=True):
        if column is None:
            hint = did_you_mean(wanted[0], names)
            raise UserError(
                f"{csv_file}: no column {wanted[0]!r}{hint}; curves need combination, method, avg_accuracy and a cost such as hours"
            )
    if not costs:
        raise UserError(f"{csv_file}: no column 'hours'{did_you_mean('hours', names)}, nor another cost ({', '.join(COST_COLUMNS)})")
    return _Columns(str(found[0]), str(found[1]), str(found[2]), costs)


def _point(row: Mapping[str, str | None], columns: _Columns, where: str) -> tuple[tuple[str, str, int], float, dict[str, float]]:
    accuracy = _number(row, columns.accuracy, where)
    costs = {ledger: _number(row, column, where) * factor for ledger, (column, factor) in columns.costs.items()}
    try:
        seed = int(row.get("seed") or 1)
    except ValueError as error:
        raise UserError(f"{where}: seed is {row.get('seed')!r}; it must be a whole number") from error
    return (printable(row[columns.combination] or ""), printable(row[columns.method] or ""), seed), accuracy, costs


def _number(row: Mapping[str, str | None], name: str, where: str) -> float:
    text = row[name]
    try:
        value = float(text or "")
    except ValueError:
        value = math.nan
    if math.isfinite(value) and value >= 0:
        return value
    if text and "," in text:
        raise UserError(f"{where}: {name} is {text!r} with a decimal comma; write a decimal point")
    raise UserError(f"{where}: {name} is {text!r}; it must be a number of at least 0")
