"""What the courses cannot show: few pairs, undetectable speed-ups, no headroom, runs that missed or are not there."""

from __future__ import annotations

from collections.abc import Sequence

from benchmarks.course.course import Course
from benchmarks.finding.chapter import Chapter, combinations, compared, label, listed
from benchmarks.finding.parts import untuned_combinations
from harness.stats import LEAST_PAIRS
from reports.page.certainty import certainty_notes
from reports.page.regime import no_headroom
from reports.words import state_words


def limits_chapter(courses: Sequence[Course]) -> Chapter | None:
    """One list per course, in the report's own sentences where it has them."""
    if not courses:
        return None
    blocks = []
    for course in courses:
        notes = [*certainty_notes(course.analysis), *filter(None, [no_headroom(course.analysis)]), *_gaps(course)]
        blocks += [
            f"**{course.name}**" + (" (simulated, not measured)" if course.simulated else ""),
            "\n".join(f"- {note}" for note in notes),
        ]
    untuned = untuned_combinations(courses)
    if untuned:
        blocks.append(f"No arm was tuned on {listed(untuned)}: what is compared there are settings as much as strategies.")
    return Chapter("What cannot be concluded", blocks)


def _gaps(course: Course) -> list[str]:
    notes = []
    begun = {combination.name for combination in course.analysis.combinations}
    later = list(dict.fromkeys(where for where, _, _ in course.facts["expected"] if where not in begun))
    if later:
        notes.append(f"Not run yet: {listed(later)}.")
    for _, combination in combinations([course]):
        name, target = combination.name, combination.target
        if target.accuracy is None:
            notes.append(f"{name}: no target, {target.note}; nothing is compared.")
        if combination.plateau is not None and combination.plateau.flagged:
            notes.append(f"{name}: plateau warning, the baseline is nearly flat at the target, so a small change of accuracy moves it far.")
        missed = [f"{label(a)} ({a.n - a.reached} of {a.n})" for a in combination.arms if a.n and a.reached < a.n]
        if missed and target.accuracy is not None:
            notes.append(f"{name}: runs that missed the target: {listed(missed)}; of these pairs only a bound is known.")
        few = [
            label(p.arm)
            for p in compared([course])
            if p.combination is combination and max(s.n for s in p.arm.speed_ups.values()) < LEAST_PAIRS
        ]
        if few:
            notes.append(f"{name}: fewer than {LEAST_PAIRS} pairs, so no verdict: {listed(few)}.")
        gaps = [f"{label(a)} ({words})" for a in combination.arms if (words := state_words(a))]
        if gaps:
            notes.append(f"{name}: not whole: {listed(gaps)}.")
    return notes
