"""Against the harder baseline, GRPO that leaves groups without gradient out; and the share of the oracle's headroom that is used."""

from __future__ import annotations

import math
from collections.abc import Sequence

from benchmarks.course.course import Course
from benchmarks.finding.chapter import FASTER, Chapter, Place, bold_note, combinations, label, ledgers, markdown, ratio, where_of
from harness.stats import SpeedUp, paired_speed_up, pooled_speed_up
from reports.arms import SECONDS, TOKENS, Arm, Combination, pairs_of

#: Label of the lean baseline's arm, where the baseline itself trains on every group.
LEAN = "grpo-lean"

#: A combination, its lean baseline, and an arm.
Pair = tuple[Combination, Arm, Arm]


def lean_chapter(courses: Sequence[Course]) -> Chapter | None:
    """Every arm against the lean baseline, to the same target, per combination and over all combinations of a course."""
    axes = [(ledger, name) for ledger, name in ledgers(courses) if ledger != SECONDS]
    rows = [row for course in courses for row in _rows(course, [ledger for ledger, _ in axes])]
    if not rows:
        return None
    text = (
        "Where GRPO trains on every group, a part of any gain over it comes of leaving groups without gradient out, which costs nothing. "
        f"These ratios are over `{LEAN}`, to the same target. *All*: interquartile mean of the pairs of all combinations, stratified "
        "bootstrap."
    )
    heads = ["course", "arm", "n", *(name for _, name in axes)]
    return Chapter("Against GRPO that leaves groups without gradient out", [text, bold_note(), markdown(heads, rows)])


def against_lean(course: Course) -> list[Pair]:
    """(combination, its lean baseline, an arm to compare with it), for every arm of every combination that has one."""
    leans = [(c, lean) for _, c in combinations([course]) if (lean := _arm(c, LEAN)) is not None]
    return [(c, lean, arm) for c, lean in leans for arm in c.arms if _compares(arm)]


def pooled_over_lean(pairs: Sequence[Pair], cost: str) -> SpeedUp:
    """Over the combinations of these pairs together."""
    return pooled_speed_up([pairs_of(lean, arm, cost) for _, lean, arm in pairs])


def _rows(course: Course, costs: Sequence[str]) -> list[list[str]]:
    places = against_lean(course)
    rows = []
    for name in dict.fromkeys(arm.strategy for _, _, arm in places):
        own = [(c, lean, arm) for c, lean, arm in places if arm.strategy == name]
        for c, lean, arm in own:
            found = {cost: paired_speed_up(pairs_of(lean, arm, cost)) for cost in costs}
            rows.append(_row(where_of(course, c.name), arm, found))
        if len(own) > 1:
            rows.append(_row(f"{course.name} / *all {len(own)}*", own[0][2], {cost: pooled_over_lean(own, cost) for cost in costs}))
    return rows


def _row(where: str, arm: Arm, found: dict[str, SpeedUp]) -> list[str]:
    return [where, label(arm), str(max(s.n for s in found.values())), *(ratio(s) for s in found.values())]


def _compares(arm: Arm) -> bool:
    return not arm.is_baseline and arm.strategy != LEAN


def _arm(combination: Combination, name: str) -> Arm | None:
    return next((arm for arm in combination.arms if arm.strategy == name and arm.runs), None)


def headroom_chapter(courses: Sequence[Course]) -> Chapter | None:
    """ln(arm's ratio) / ln(oracle's ratio) where the oracle is surely cheaper: over all combinations of a course, or on its only one."""
    axes = [(TOKENS, "generated tokens"), *((ledger, name) for ledger, name in ledgers(courses) if ledger != SECONDS)]
    rows = []
    for course in courses:
        arms = ratios_of(course)
        oracle = next((found for found, free in arms.values() if free), None)
        for name, (found, free) in arms.items() if oracle else ():
            shares = [_share(found.get(cost), oracle.get(cost)) for cost, _ in axes]
            if not free and any(share is not None for share in shares):
                rows.append(
                    [course.name, f"`{name}`", *("–" if share is None else f"{100 * share:.0f} %".replace("-", "−") for share in shares)]
                )
    if not rows:
        return None
    text = (
        "By logarithm: 100 % is as cheap as the oracle, whose labels are free, 0 % as dear as the baseline, less is dearer. Over all "
        "combinations of a course. "
        "A dash: the oracle is not surely cheaper than the baseline, or the arm's ratio is only bounded."
    )
    return Chapter("How much of the oracle's headroom is used", [text, markdown(["course", "arm", *(name for _, name in axes)], rows)])


def ratios_of(course: Course) -> dict[str, tuple[dict[str, SpeedUp], bool]]:
    """(ratios by ledger, whether its labels are free) of every arm, over all combinations."""
    if len(course.analysis.combinations) > 1:
        return {item.strategy: (item.speed_ups, item.oracle) for item in course.analysis.overall}
    places = [Place(course, c, arm) for c in course.analysis.combinations for arm in c.arms if not arm.is_baseline]
    return {place.arm.strategy: (place.arm.speed_ups, place.arm.oracle) for place in places}


def _share(arm: SpeedUp | None, oracle: SpeedUp | None) -> float | None:
    if arm is None or oracle is None or arm.estimate is None or oracle.estimate is None or oracle.verdict != FASTER or not arm.estimate:
        return None
    return math.log(arm.estimate) / math.log(oracle.estimate)
