"""The README's answer in one table: what the arms of ``mini`` save over all combinations, and Halfway's strategy on ``frontier3``."""

from __future__ import annotations

from collections.abc import Sequence

from benchmarks.course.course import Course
from benchmarks.finding.chapter import markdown, ratio
from benchmarks.finding.lean import LEAN, against_lean, pooled_over_lean, ratios_of
from harness.stats import EQUAL_PRICES, TokenPrices

#: Where generation is as dear as measurements on clusters say (μ = 5 to 7).
DEAR = TokenPrices(5).ledger

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
        "Halfway's own [`frontier`](docs/frontier.md), preregistered, ten other seeds, on the combinations as they were then",
    ),
)


def answer_table(courses: Sequence[Course]) -> str:
    """Markdown; a row appears where its course is among ``courses``."""
    by_name = {course.name: course for course in courses}
    rows = []
    for name, arm, called in ROWS:
        if name in by_name and (over_baseline := ratios_of(by_name[name]).get(arm)):
            pairs = [pair for pair in against_lean(by_name[name]) if pair[2].strategy == arm]
            over_lean = ratio(pooled_over_lean(pairs, EQUAL_PRICES), bold=False) if pairs else ""
            rows.append([called, *(ratio(over_baseline[0].get(ledger), bold=False) for ledger in (EQUAL_PRICES, DEAR)), over_lean])
    return markdown(["", "over GRPO as the paper runs it", "the same where generation is five times as dear", "over lean GRPO"], rows)
