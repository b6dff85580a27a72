"""``reports/data/courses.csv``: what ``halfway recommend`` knows, from measured courses."""

from __future__ import annotations

import csv
import io
import math
from collections.abc import Iterable
from dataclasses import asdict, fields

from benchmarks.course.course import Course
from harness.stats import SpeedUp, TokenPrices
from reports.analysis import analyse
from reports.arms import Combination
from reports.recommendation import TABLE_PRICES, CourseRow
from reports.regime import has_headroom, headroom, run_regime


def table_of(courses: Iterable[Course]) -> str:
    """The table as CSV; simulated courses, ablations and upper bounds are left out: nobody should be told to try them."""
    rows = [row for course in courses if not course.simulated and not is_ablation(course) for row in rows_of(course)]
    buffer = io.StringIO()
    writer = csv.DictWriter(buffer, [f.name for f in fields(CourseRow)], lineterminator="\n")
    writer.writeheader()
    for row in rows:
        writer.writerow({key: _cell(value) for key, value in asdict(row).items()})
    return buffer.getvalue()


def is_ablation(course: Course) -> bool:
    """Whether strategies ran without parts of theirs."""
    return any(run.spec["strategy"]["config"].get("without") for run in course.analysis.runs)


def _cell(value: object) -> object:
    if isinstance(value, float):
        return "" if math.isnan(value) else f"{value:.6g}"
    return value


def rows_of(course: Course) -> list[CourseRow]:
    """One row per combination whose start is known, compared arm and price of ``TABLE_PRICES``."""
    prices = [TokenPrices(p, course.facts["forward_price"]) for p in TABLE_PRICES]
    target, baseline = course.facts["target"], course.analysis.baseline
    again = analyse(course.analysis.runs, baseline=baseline, target=target, prices=prices)
    rows = []
    for combination in again.combinations:
        regime = _regime(course, combination)
        for arm in combination.arms:
            for price in prices:
                found = arm.speed_ups.get(price.ledger)
                if regime is None or arm.is_baseline or arm.oracle or found is None or not found.n:
                    continue
                low, high = _ends(found)
                rows.append(CourseRow(
                    course=course.name, combination=combination.name, **regime, arm=arm.strategy, baseline=baseline, n=found.n,
                    reached=arm.reached, price=price.generated, at_least=found.at_least, at_most=found.at_most, low=low, high=high,
                    verdict=found.verdict if found.verdict in ("faster", "slower") else "undecided",
                ))  # fmt: skip
    return rows


def _ends(found: SpeedUp) -> tuple[float, float]:
    """Of the interval, NaN without one."""
    low, high = (math.nan if end is None else end for end in (found.low, found.high))
    return low, high


def _regime(course: Course, combination: Combination) -> dict[str, float] | None:
    """The start as ``halfway regime`` measured it, else as the first groups of the baseline show it, and the headroom."""
    measured, seen = course.regimes.get(combination.name), run_regime(combination)
    if measured is not None:
        mean, wrong, right = measured.mean, measured.all_wrong, measured.all_right
    elif seen.start is not None:
        mean, wrong, right = seen.start
    else:
        return None
    base = combination.baseline
    found = headroom(combination)
    shown = [math.nan] * 3 if found is None else [found.at_least, *_ends(found)]
    return {
        "group_size": int(base.runs[0].spec["algorithm"]["group_size"]) if base is not None and base.runs else 0,
        "mean_pass_rate": mean, "all_wrong": wrong, "all_right": right, "informative": 1 - wrong - right,
        "headroom": shown[0], "headroom_low": shown[1], "headroom_high": shown[2],
        "headroom_shown": found is not None and has_headroom(found),
    }  # fmt: skip
