"""Where a target can lie: how flat the baseline is at every usual share of its gain, and what the arms save there."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace

from benchmarks.course.course import Course
from benchmarks.finding.chapter import Chapter, combinations, markdown, ratio, where_of
from benchmarks.finding.lean import ratios_of
from harness.stats import EQUAL_PRICES
from harness.stats.target import GAIN_SHARES, PLATEAU_SHARE
from reports.words import NO_VALUE


def targets_chapter(courses: Sequence[Course]) -> Chapter | None:
    """Shift of the baseline's crossing at every share of the gain, per combination; below it the arms over all combinations."""
    at = {course.name: {share: replace(course, analysis=course.at_share(share)) for share in GAIN_SHARES} for course in courses}
    heads = ["course", "compared at", *(f"{100 * share:g} %" for share in GAIN_SHARES)]
    plateaus = [row for course in courses for row in _plateaus(course, at[course.name])]
    if not plateaus:
        return None
    flat = (
        "How far one seed standard deviation of accuracy moves the baseline's crossing, in shares of its budget, for targets at these "
        f"shares of its gain. Bold: above {100 * PLATEAU_SHARE:.0f} %, a plateau. A course is best compared at the highest share without a "
        "plateau on any of its combinations."
    )
    ratios = (
        "The same runs compared at each of these targets, over all combinations of a course, generated and trained tokens at the same "
        "price. What holds at one target alone is no finding."
    )
    saved = markdown(["course", "arm", *heads[2:]], [row for course in courses for row in _ratios(course, at[course.name])])
    return Chapter("Where the target lies", [flat, markdown(heads, plateaus), ratios, saved])


def _plateaus(course: Course, at: dict[float, Course]) -> Iterator[list[str]]:
    found = {share: {c.name: c.plateau for c in there.analysis.combinations} for share, there in at.items()}
    for _, combination in combinations([course]):
        cells = []
        for share in GAIN_SHARES:
            plateau = found[share][combination.name]
            text = NO_VALUE if plateau is None else f"{100 * plateau.shift:.0f} %"
            cells.append(f"**{text}**" if plateau is not None and plateau.flagged else text)
        yield [where_of(course, combination.name), course.analysis.rule.words, *cells]


def _ratios(course: Course, at: dict[float, Course]) -> Iterator[list[str]]:
    found = {share: ratios_of(there) for share, there in at.items()}
    for arm, (_, free) in ratios_of(course).items():
        name = f"`{arm}`" + (" (upper bound)" if free else "")
        yield [
            course.name,
            name,
            *(ratio(found[share][arm][0].get(EQUAL_PRICES)) if arm in found[share] else NO_VALUE for share in GAIN_SHARES),
        ]
