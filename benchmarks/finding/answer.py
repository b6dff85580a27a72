"""The README's answer in one table: what the arms of ``mini`` save over all combinations, and Halfway's strategy on ``frontier3``."""

from __future__ import annotations

from collections.abc import Sequence

from benchmarks.course.course import Course
from benchmarks.finding.chapter import markdown, ratio
from benchmarks.finding.lean import LEAN, arm_of
from harness.stats import SpeedUp, pooled_speed_up
from reports.arms import pairs_of

#: Where a generated token costs as much as a trained one.
EQUAL = "price:1"

#: Rows: (course, arm, what a reader of the README calls it).
ROWS = (
    ("mini", LEAN, "lean GRPO: groups without gradient left out of the loss, which costs nothing (GRPO's tuned settings)"),
    ("mini", "oracle", "free labels of difficulty (an oracle)"),
    ("mini", "rr", "rollout replay"),
    ("mini", "dots", "difficulty targeting (DOTS)"),
    ("mini", "dots-rr", "both"),
    (
        "frontier3",
        "frontier",
        "Halfway's own [`frontier`](docs/frontier.md), preregistered, ten other seeds, two of the combinations as they were before",
    ),
)


def answer_table(courses: Sequence[Course]) -> str:
    """Markdown; a row appears where its course is among ``courses``."""
    by_name = {course.name: course for course in courses}
    rows = []
    for name, arm, called in ROWS:
        course = by_name.get(name)
        overall = next((item for item in course.analysis.overall if item.strategy == arm), None) if course is not None else None
        if course is None or overall is None:
            continue
        lean = None if arm == LEAN else _over_lean(course, arm)
        rows.append([called, ratio(overall.speed_ups.get(EQUAL), bold=False), ratio(lean, bold=False) if lean is not None else ""])
    return markdown(["", "over GRPO as the paper runs it", "over lean GRPO"], rows)


def _over_lean(course: Course, arm: str) -> SpeedUp | None:
    pairs = [
        pairs_of(lean, own, EQUAL)
        for combination in course.analysis.combinations
        if (lean := arm_of(combination, LEAN)) is not None and (own := arm_of(combination, arm)) is not None
    ]
    return pooled_speed_up(pairs) if pairs else None
