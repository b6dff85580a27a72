"""Selection against coverage: how narrowly an arm draws, how much of it is informative, and what that gains in steps."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from matplotlib.figure import Figure

from benchmarks.course.course import Course
from benchmarks.finding.chapter import Chapter, Place, combinations, compared, label, markdown, ratio, where_of
from benchmarks.finding.ranks import known, place_of, rank_correlation
from harness.rehearsal.play import MOST_DRAWN
from reports import words
from reports.arms import Arm
from reports.figures.style import INK, add_legend, colour_of, new_figure, percent_ticks, styled

STEPS = "training_steps"


def selection_chapter(courses: Sequence[Course]) -> Chapter | None:
    """One row per arm, the baseline first."""
    rows = [
        [where_of(course, combination.name), label(arm), str(arm.n), *_cells(course, combination.name, arm)]
        for course, combination in combinations(courses)
        for arm in combination.arms
        if any(len(r.steps["step"]) for r in arm.runs)
    ]
    if not rows:
        return None
    heads = [
        "course",
        "arm",
        "n",
        f"draws on the {MOST_DRAWN} most drawn",
        "different questions",
        "of the pool",
        "informative groups",
        "groups a step",
        "ratio in steps",
    ]
    text = (
        f"Medians over runs, in brackets the least and the greatest run. A selector that draws uniformly puts little on its {MOST_DRAWN} "
        "most drawn questions. Fewer draws put more on them by chance, as with replay, which draws only what is rolled out: compare arms "
        "with as many draws. Where tuning changed the groups of a step, a step is not the baseline's: such arms are left out of the "
        "correlations and the figure."
    )
    chapter = Chapter("Selection against coverage", [text, markdown(heads, rows)])
    lines = _correlations(courses)
    if lines:
        chapter.blocks += ["Over the arms of a combination, upper bounds included:", "\n".join(f"- {line}" for line in lines)]
    places = in_steps(courses)
    if places:
        chapter.figures.append(("selection", "Share of informative groups against the ratio in steps", _figure(places)))
    return chapter


def _cells(course: Course, combination: str, arm: Arm) -> list[str]:
    shares = course.most_drawn.get((combination, arm.strategy), [])
    narrow = f"{100 * np.median(shares):.0f} % [{100 * min(shares):.0f}, {100 * max(shares):.0f}]" if shares else words.NO_VALUE
    different = float(np.median([r.distinct_questions for r in arm.runs]))
    pool = max((r.pool_size for r in arm.runs if r.pool_size), default=None)
    return [
        narrow,
        f"{different:.0f} in {np.median([r.selected_questions for r in arm.runs]):.0f} draws",
        words.percent(different / pool if pool else None, 0),
        words.percent(arm.step_mean("non_degenerate_share"), 0),
        "–" if batch_of(arm) is None else f"{batch_of(arm)}",
        "baseline" if arm.is_baseline else ratio(arm.speed_ups.get(STEPS)),
    ]


def batch_of(arm: Arm | None) -> int | None:
    """Groups of a step, as the arm's settings say."""
    found = arm.runs[0].spec.get("algorithm", {}).get("groups_per_step") if arm is not None and arm.runs else None
    return None if found is None else int(found)


def in_steps(courses: Sequence[Course]) -> list[Place]:
    """Arms that were compared in steps of the baseline's size."""
    return [p for p in compared(courses) if known(p.at(STEPS)) and batch_of(p.arm) == batch_of(p.combination.baseline)]


def _correlations(courses: Sequence[Course]) -> list[str]:
    lines = []
    for course, combination in combinations(courses):
        places = [p for p in in_steps([course]) if p.combination is combination]
        gains = [place_of(p.arm.speed_ups[STEPS]) for p in places]
        narrow = [float(np.median(course.most_drawn.get((combination.name, p.arm.strategy), [0.0]))) for p in places]
        informative = [p.arm.step_mean("non_degenerate_share") or 0.0 for p in places]
        for name, values in (("informative share", informative), (f"share of the {MOST_DRAWN} most drawn", narrow)):
            found = rank_correlation(values, gains)
            if found is not None:
                lines.append(f"{where_of(course, combination.name)}: rank correlation of the {name} with the ratio in steps {found.text}.")
    return lines


def _figure(places: Sequence[Place]) -> Figure:
    with styled():
        figure, axes = new_figure(6.4, 3.8)
        axes.axhline(1.0, color=INK, lw=0.8)
        for index, where in enumerate(dict.fromkeys(p.where for p in places), start=1):
            here = [p for p in places if p.where == where]
            x = [p.arm.step_mean("non_degenerate_share") or 0.0 for p in here]
            y = [float(np.exp(place_of(p.arm.speed_ups[STEPS]))) for p in here]
            axes.plot(x, y, ls="none", marker="o", color=colour_of(index), label=where)
            for place, left, up in zip(here, x, y, strict=True):
                axes.annotate(place.arm.strategy, (left, up), xytext=(3, 3), textcoords="offset points", fontsize=7)
        axes.xaxis.set_major_formatter(percent_ticks())
        axes.set_xlabel("informative groups")
        axes.set_ylabel("ratio in steps")
        add_legend(axes)
        return figure
