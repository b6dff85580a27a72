"""What DOTS, rollout replay and both do, with and without tuning, and what the batch size and the number of updates do."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from benchmarks.course.course import Course
from benchmarks.finding.chapter import (
    FASTER,
    MISSED,
    SLOWER,
    UNDECIDED,
    Chapter,
    Place,
    bold_note,
    combinations,
    compared,
    label,
    ledgers,
    markdown,
    markdown_of,
    ratio,
    verdict,
    where_of,
)
from harness.tuning.lock_file import LockedStudy
from reports.page.ablation import ablation_table

#: Strategies of the method under test, by name; an arm's label may be another.
PARTS = ("dots", "rr", "dots-rr")

#: Settings of the algorithm that a batch is made of.
BATCH = ("groups_per_step", "updates_per_batch")


def parts_chapter(courses: Sequence[Course]) -> Chapter | None:
    """Rows of the arms that are DOTS, RR or both, and whether the parts help each other."""
    places = [p for p in compared(courses) if _name(p) in PARTS]
    if not places:
        return None
    places.sort(key=lambda p: (p.where, PARTS.index(_name(p)), p.arm.strategy))
    axes = ledgers(courses)
    rows = [
        [
            p.where,
            f"`{_name(p)}`",
            label(p.arm),
            tuned(p),
            f"{p.arm.reached} of {p.arm.n}",
            *(ratio(p.at(k)) for k, _ in axes),
        ]
        for p in places
    ]
    heads = ["course", "strategy", "arm", "settings", "reached", *(name for _, name in axes)]
    said = [s for name in PARTS for own in (True, False) for s in _said([p for p in places if _name(p) == name], name, own, axes)]
    chapter = Chapter("DOTS, rollout replay, and both", [*(["\n".join(said)] if said else []), bold_note(), markdown(heads, rows)])
    for course in courses:
        table = ablation_table(course.analysis)
        if table is not None:
            chapter.blocks += [f"{course.name}: {table.caption}", markdown_of(table)]
    return chapter


def _said(places: Sequence[Place], name: str, own: bool, axes: Sequence[tuple[str, str]]) -> list[str]:
    """One line on the measured arms of a strategy, with settings of their own search or without; none where there is no such arm."""
    places = [p for p in places if tuned(p).startswith("tuned") == own and not p.course.simulated]
    if not places:
        return []
    parts = []
    for ledger, at in axes:
        found = [verdict(p, ledger) for p in places]
        counts = ", ".join(f"{found.count(v)} {v}" for v in (FASTER, SLOWER, UNDECIDED, MISSED) if v in found)
        parts.append(f"{'in' if at.startswith('measured') else 'at'} {at} {counts or 'not compared'}")
    settings = "tuned by a search of its own" if own else "without a search of its own"
    return [f"- `{name}`, {settings}, {len(places)} comparison{'s' if len(places) != 1 else ''}: {'; '.join(parts)}."]


def _name(place: Place) -> str:
    return str(place.arm.runs[0].spec["strategy"]["name"]) if place.arm.runs else ""


def tuned(place: Place) -> str:
    """Where the arm's settings are from: its own search, the search of another arm, or the suite's file."""
    lock, combination = place.course.lock, place.combination.name
    own = lock.study(combination, place.arm.strategy) if lock is not None else None
    if own is not None:
        return f"tuned in {len(own.trials)} trials" + ("" if own.best else "; the suite's own won")
    of = next((of for c, arm, of in place.course.facts.get("settings_of", []) if (c, arm) == (combination, place.arm.strategy)), None)
    if of is not None and lock is not None and lock.study(combination, of) is not None:
        return f"those tuned for `{of}`"
    return "the suite's own"


def batch_chapter(courses: Sequence[Course]) -> Chapter | None:
    """Per tuned arm and value of a batch setting: trials, and the objective of those that ran to the end."""
    rows = [
        [where_of(course, study.combination), f"`{study.strategy}`", name, *cells]
        for course in courses
        if course.lock is not None
        for study in course.lock.studies
        for name in BATCH
        for cells in values_of(study, name)
    ]
    if not rows:
        return None
    text = (
        "From the trials of the tuning: validation questions, tuning seeds, all other settings varied at the same time. The objective is "
        "the cost to the target in budgets of the baseline, lower is better; a pruned trial has a bound only and is counted, not averaged. "
        "Importance: share of the objective's variance that the search attributes to the setting."
    )
    heads = [
        "course",
        "arm",
        "setting",
        "importance",
        "value",
        "trials",
        "pruned",
        "reached by all seeds",
        "median objective [least, greatest]",
    ]
    return Chapter("What batch size and number of updates do", [text, markdown(heads, rows)])


def values_of(study: LockedStudy, name: str) -> list[list[str]]:
    """Cells per value that the search tried, in order; none where it was not searched."""
    parameter = next((p for p in study.parameters if p.name == name), None)
    if parameter is None:
        return []
    found = []
    seeds = max((len(t.runs) for t in study.trials), default=0)
    for value in sorted({t.settings[name] for t in study.trials if name in t.settings}, key=float):  # type: ignore[arg-type]
        trials = [t for t in study.trials if t.settings.get(name) == value]
        whole = [t.value for t in trials if t.state == "complete"]
        middle = f"{np.median(whole):.2f} [{min(whole):.2f}, {max(whole):.2f}], n = {len(whole)}" if whole else "–"
        importance = "–" if parameter.importance is None else f"{parameter.importance:.2f}"
        all_reached = sum(t.reached == seeds for t in trials)
        found.append([importance, str(value), str(len(trials)), str(len(trials) - len(whole)), f"{all_reached} of {len(trials)}", middle])
    return found


def untuned_combinations(courses: Sequence[Course]) -> list[str]:
    """Combinations of which no arm was tuned."""
    return [
        where_of(course, c.name)
        for course, c in combinations(courses)
        if course.lock is None or not any(s.combination == c.name for s in course.lock.studies)
    ]
