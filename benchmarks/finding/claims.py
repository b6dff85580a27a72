"""The tables of docs/frontier.md: what came out of the preregistered courses, and what every part of ``frontier`` is worth."""

from __future__ import annotations

from collections.abc import Sequence

from benchmarks.course.course import Course
from benchmarks.finding.chapter import label, ledgers, markdown, ratio
from benchmarks.finding.lean import LEAN, pooled_over_lean, ratios_of
from harness.stats import EQUAL_PRICES, paired_speed_up
from reports.arms import SECONDS, TOKENS, Arm, Combination, pairs_of
from reports.words import NO_VALUE

OWN = "frontier"


def claim_tables(courses: Sequence[Course]) -> dict[str, str]:
    """Tables in Markdown by their place in the document: ``frontier2``, ``frontier3``, ``frontier-parts``, as far as there are records."""
    makers = {"frontier2": pools_table, "frontier3": combinations_table, "frontier-parts": parts_table}
    return {course.name: makers[course.name](course) for course in courses if course.name in makers}


def pools_table(course: Course) -> str:
    """Every arm on every combination, over the lean baseline."""
    prices = _prices(course)
    heads = ["", "reached", "generated tokens", *(name for _, name in prices), "end accuracy", "GRPO's"]
    rows = []
    for combination in course.analysis.combinations:
        for arm in _own_first(combination):
            costs = [ratio(arm.speed_ups.get(ledger)) for ledger in (TOKENS, *(ledger for ledger, _ in prices))]
            rows.append(
                [
                    f"{combination.name}: {label(arm)}", f"{arm.reached} of {arm.n}", *costs,
                    _accuracy(arm.final_accuracy), _accuracy(_end(combination)),
                ]
            )  # fmt: skip
    return markdown(heads, rows)


def combinations_table(course: Course) -> str:
    """Halfway's strategy over GRPO as the paper runs it and over lean GRPO, per combination and over all."""
    prices = _prices(course)
    heads = [
        "", *(f"over GRPO, {name}" for _, name in prices), "generated tokens", "the oracle's",
        *(f"over lean GRPO, {name}" for _, name in prices), "end accuracy", "GRPO's",
    ]  # fmt: skip
    rows, pairs = [], []
    for combination in course.analysis.combinations:
        arms = {arm.strategy: arm for arm in combination.arms}
        own, lean, oracle = arms[OWN], arms[LEAN], arms["oracle"]
        pairs.append((combination, lean, own))
        over = [ratio(own.speed_ups.get(ledger)) for ledger, _ in prices]
        tokens = [ratio(arm.speed_ups.get(TOKENS)) for arm in (own, oracle)]
        over_lean = [ratio(paired_speed_up(pairs_of(lean, own, ledger))) for ledger, _ in prices]
        rows.append([combination.name, *over, *tokens, *over_lean, _accuracy(own.final_accuracy), _accuracy(_end(combination))])
    pooled = ratios_of(course)
    over = [ratio(pooled[OWN][0].get(ledger)) for ledger, _ in prices]
    tokens = [ratio(pooled[arm][0].get(TOKENS)) for arm in (OWN, "oracle")]
    rows.append(["*all*", *over, *tokens, *(ratio(pooled_over_lean(pairs, ledger)) for ledger, _ in prices), "", ""])
    return markdown(heads, rows)


def parts_table(course: Course) -> str:
    """Every arm on both pools: generated tokens, equal prices, end accuracy."""
    arms = {(c.name, arm.strategy): arm for c in course.analysis.combinations for arm in c.arms}
    names = [c.name for c in course.analysis.combinations]
    heads = ["", *(f"{name}: {what}" for name in names for what in ("generated tokens", "μ = 1", "end accuracy"))]
    rows = []
    for arm in _own_first(course.analysis.combinations[0]):
        there = [arms[name, arm.strategy] for name in names]
        cells = [(ratio(a.speed_ups.get(TOKENS)), ratio(a.speed_ups.get(EQUAL_PRICES)), _accuracy(a.final_accuracy)) for a in there]
        rows.append([label(arm), *(cell for three in cells for cell in three)])
    ends = [cell for c in course.analysis.combinations for cell in ("", "", _accuracy(_end(c)))]
    return markdown(heads, [["lean GRPO", *ends], *rows])


def _prices(course: Course) -> list[tuple[str, str]]:
    """(ledger, words) of the course's prices of a token."""
    return [(ledger, name) for ledger, name in ledgers([course]) if ledger != SECONDS]


def _own_first(combination: Combination) -> list[Arm]:
    """The compared arms, Halfway's first and the oracle last."""
    arms = [arm for arm in combination.arms if not arm.is_baseline]
    return sorted(arms, key=lambda arm: (arm.strategy != OWN, arm.oracle))


def _end(combination: Combination) -> float | None:
    return combination.baseline.final_accuracy if combination.baseline is not None else None


def _accuracy(value: float | None) -> str:
    return NO_VALUE if value is None else f"{value:.2f}".removeprefix("0")
