"""The README's answer in two tables: what the arms of ``mini`` save over all combinations, and what is saved in other regimes."""

from __future__ import annotations

from collections.abc import Sequence

from benchmarks.course.course import Course
from benchmarks.finding.chapter import combinations, markdown, ratio
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

#: Rows of the other regimes: (course, combination, what it is like); their baseline is lean GRPO.
REGIMES = (
    ("regimes", "base-hard", "where a base model starts: nearly every group is all wrong"),
    ("frontier2", "base-hard", "the same pool, preregistered"),
    ("frontier2", "mid", "the middle regime, preregistered"),
    ("regimes", "saturated", "a saturated model: half of the groups all right"),
    ("frontier-regimes", "saturated", "the same pool, preregistered"),
    ("regimes", "wrong-golds", "a fifth of the gold answers wrong"),
    ("frontier-regimes", "wrong-golds", "the same pool, preregistered"),
)

#: Columns of that table: arm and its name in a head.
REGIME_ARMS = (
    ("rr", "replay"), ("dots", "DOTS"), ("dots-rr", "both"), ("frontier", "Halfway's `frontier`"), ("oracle", "free labels"),
)  # fmt: skip


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


def regimes_table(courses: Sequence[Course]) -> str:
    """Markdown; cost of lean GRPO over that of an arm at equal prices, in other regimes and in preregistered courses."""
    places = {(course.name, combination.name): (course, combination) for course, combination in combinations(courses)}
    rows = []
    for name, where, called in REGIMES:
        if (name, where) not in places:
            continue
        course, combination = places[name, where]
        arms = {arm.strategy: arm.speed_ups.get(EQUAL_PRICES) for arm in combination.arms}
        n = max(found.n for found in arms.values() if found is not None)
        rule = course.analysis.rule
        rows.append([called, f"{100 * rule.value:g} % of the gain", str(n), *(ratio(arms.get(arm)) for arm, _ in REGIME_ARMS)])
    return markdown(["", "to", "n", *(head for _, head in REGIME_ARMS)], rows)
