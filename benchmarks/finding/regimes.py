"""What regime each course is in, beside real models, and how long each took."""

from __future__ import annotations

from collections.abc import Sequence

from matplotlib.figure import Figure
from matplotlib.patches import Rectangle

from benchmarks.course.course import Course
from benchmarks.finding.chapter import Chapter, combinations, markdown, where_of
from reports import words
from reports.figures.style import INK, colour_of, new_figure, percent_ticks, styled
from reports.page.regime import regime_section
from reports.regime import LEAST_HEADROOM, has_headroom, headroom, references, run_regime


def regime_chapter(courses: Sequence[Course]) -> Chapter | None:
    """One row per combination, then the starting policies that ``halfway regime`` measured, then real models."""
    found = [(c, s) for c in courses if (s := regime_section(c.analysis, c.regimes)) is not None]
    if not found:
        return None
    real = 1 + len(references()["policies"])
    heads = ["course or model", *(text for text, _ in found[0][1].tables[0].heads[1:])]
    rows = [[where_of(course, row[0].text), *(cell.text for cell in row[1:])] for course, s in found for row in s.tables[0].rows[:-real]]
    rows += [[cell.text for cell in row] for row in found[0][1].tables[0].rows[-real:]]
    chapter = Chapter("The regimes", [found[0][1].tables[0].caption.strip(), markdown(heads, rows)])
    chapter.blocks.append("\n".join(f"- {line}" for line in _headrooms(courses)))
    notes = [f"- {course.name} / {note}" for course, s in found for note in s.notes]
    if notes:
        chapter.blocks += ["Where a course is not like real training:", "\n".join(notes)]
    chapter.figures.append(
        ("regimes", "Share of all-wrong and all-right groups of every course, start to end, beside real models", _figure(courses))
    )
    return chapter


def _headrooms(courses: Sequence[Course]) -> list[str]:
    lines = []
    for course, combination in combinations(courses):
        found = headroom(combination)
        name = where_of(course, combination.name)
        if found is None:
            lines.append(f"{name}: no oracle was compared, so its headroom is not known.")
            continue
        shown = "is" if has_headroom(found) else "is **not** shown to be"
        lines.append(
            f"{name}: headroom (oracle in generated tokens) {words.speed_up(found)}, {words.interval_words(found)}, n = {found.n}; "
            f"it {shown} {LEAST_HEADROOM}× or more."
        )
    return lines


def _figure(courses: Sequence[Course]) -> Figure:
    with styled():
        figure, axes = new_figure(6.4, 4.2)
        bands = references()["bands"]
        (x0, x1), (y0, y1) = bands["all_wrong"], bands["all_right"]
        axes.add_patch(Rectangle((x0, y0), x1 - x0, y1 - y0, color=INK, alpha=0.12, lw=0, label="band of real training"))
        models = references()["policies"]
        axes.plot([m["all_wrong"] for m in models], [m["all_right"] for m in models], ls="none", marker="x", color=INK, label="real models")
        for index, (course, combination) in enumerate(combinations(courses), start=1):
            regime = run_regime(combination)
            if regime.start is None or regime.end is None:
                continue
            ends = list(zip(regime.start[1:], regime.end[1:], strict=True))
            axes.plot(*ends, color=colour_of(index), lw=1.4, marker="o", ms=3, label=where_of(course, combination.name))
            axes.plot(ends[0][1], ends[1][1], color=colour_of(index), marker=">", ms=6)
        axes.set_xlim(0, 1)
        axes.set_ylim(0, 1)
        axes.xaxis.set_major_formatter(percent_ticks())
        axes.yaxis.set_major_formatter(percent_ticks())
        axes.set_xlabel("groups that are all wrong")
        axes.set_ylabel("groups that are all right")
        axes.legend(loc="upper right")
        return figure


def time_chapter(courses: Sequence[Course]) -> Chapter | None:
    """Wall and processor time of each course and of its tuning: of the last sittings from times of files, of all from the ledgers."""
    rows = []
    for course in courses:
        # Ledgers of the tuning are not archived, so of it only the last sittings are known.
        for what, key, whole in (("runs", "time", course.run_seconds), ("tuning", "tuning_time", [])):
            took = course.facts.get(key)
            if took:
                times = [words.seconds(took[k]) for k in ("wall_seconds", "busy_seconds")]
                times.append(words.NO_VALUE if course.simulated else words.seconds(took["processor_seconds"]))  # simulated, too
                added = [words.seconds(sum(whole)), str(len(whole))] if whole else [words.NO_VALUE] * 2
                rows.append([course.name, what, str(took["runs"]), *times, *added])
    if not rows:
        return None
    text = (
        "Of the runs whose files still say when they began (those of the last sittings): wall time, from the start of the first to the end "
        "of the last; busy, of that, while at least one was under way; processor time, of training on the clock, without evaluations and "
        "start-up. Whole course: every complete run of it from its start to its end, evaluations included, added up over all sittings; two "
        "ran beside each other, so an uninterrupted course takes about half of that."
    )
    titles = ["course", "what", "runs", "wall time", "busy", "processor time", "whole course: runs added up", "complete runs"]
    return Chapter("What the courses took", [text, markdown(titles, rows)])
