"""What every arm saves, at measured seconds and at prices of a token; what follows is chosen by the verdicts alone."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from matplotlib.figure import Figure

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
    listed,
    markdown,
    ratio,
    verdict,
    where_of,
)
from benchmarks.finding.ranks import LEAST_FOR_INTERVAL, known, place_of, rank_correlation
from harness.stats import SpeedUp
from reports import words
from reports.figures.style import INK, colour_of, styled
from reports.regime import run_regime


def summary_chapter(courses: Sequence[Course]) -> Chapter | None:
    """One sentence per price on measured courses: which arms are faster, where, and how many are not."""
    courses = [c for c in courses if not c.simulated]
    places = compared(courses)
    if not places:
        return None
    sentences = [sentence for ledger, name in ledgers(courses) if (sentence := conclusion(places, ledger, name))]
    return Chapter("In short", ["\n".join(f"- {s}" for s in sentences)])


def conclusion(places: Sequence[Place], ledger: str, name: str) -> str:
    """``At μ = 1, of 5 arms on 1 combination 2 are faster (…), …``; upper bounds left out; empty where nothing was compared."""
    charged = [p for p in places if not p.arm.oracle]
    found: dict[str, list[Place]] = {}
    for place in charged:
        found.setdefault(verdict(place, ledger) or "", []).append(place)
    found.pop("", None)
    known = sum(map(len, found.values()))
    if not known:
        return ""
    where = len({p.where for group in found.values() for p in group})
    at = "In" if name.startswith("measured") else "At"
    parts = []
    for kind, text in (
        (FASTER, "faster than the baseline"),
        (SLOWER, "slower"),
        (UNDECIDED, "undecided"),
        (MISSED, "without a run at the target"),
    ):
        group = found.get(kind, [])
        named = f" ({listed(_counted(group))})" if group and kind in (FASTER, SLOWER, MISSED) else ""
        parts.append(f"{len(group)} {text}{named}")
    return f"{at} {name}, of {known} comparisons on {where} combination{'s' if where != 1 else ''}: {', '.join(parts)}."


def _counted(places: Sequence[Place]) -> list[str]:
    """Names of arms, with the number of combinations where there are several."""
    counts: dict[str, int] = {}
    for place in places:
        counts[place.arm.strategy] = counts.get(place.arm.strategy, 0) + 1
    return [f"`{name}`" + (f" on {n}" if n > 1 else "") for name, n in sorted(counts.items(), key=lambda item: (-item[1], item[0]))]


def speed_up_chapter(courses: Sequence[Course]) -> Chapter | None:
    """Combinations × arms: the ratio on the clock and at every price."""
    places = compared(courses)
    if not places:
        return None
    axes = ledgers(courses)
    rows = [
        [p.where, label(p.arm), _pairs(p), f"{p.arm.reached} of {p.arm.n}", *(ratio(p.at(ledger)) for ledger, _ in axes)] for p in places
    ]
    chapter = Chapter("What every arm saves", [bold_note(), markdown(["course", "arm", "n", "reached", *(name for _, name in axes)], rows)])
    chapter.blocks += _pooled(courses, axes)
    chapter.figures.append(("speed-ups", "Ratio of every arm with its interval, on the clock and at every price", _figure(places, axes)))
    return chapter


def _pooled(courses: Sequence[Course], axes: Sequence[tuple[str, str]]) -> list[str]:
    """Every arm across the combinations of a course that has several: the interquartile mean of all pairs."""
    rows = [
        [course.name, f"`{item.strategy}`" + (" (upper bound)" if item.oracle else ""), str(item.combinations)]
        + [ratio(item.speed_ups.get(ledger)) + (f", n = {found.n}" if (found := item.speed_ups.get(ledger)) else "") for ledger, _ in axes]
        for course in courses
        if len(course.analysis.combinations) > 1
        for item in course.analysis.overall
    ]
    if not rows:
        return []
    text = "Across the combinations of a course (interquartile mean of the pairs, stratified bootstrap):"
    return [text, markdown(["course", "arm", "combinations", *(name for _, name in axes)], rows)]


def _pairs(place: Place) -> str:
    return str(max(s.n for s in place.arm.speed_ups.values()))


def break_even_chapter(courses: Sequence[Course]) -> Chapter | None:
    """The price of a generated token at which an arm costs as much as the baseline."""
    rows = [
        [p.where, label(p.arm), str(p.arm.price_curve.n), words.break_even(p.arm)]
        for p in compared(courses)
        if p.arm.price_curve is not None and p.arm.price_curve.n
    ]
    if not rows:
        return None
    text = (
        "μ is the price of a generated token in trained tokens. In brackets: the prices between which no verdict holds. "
        "Unknown: runs missed the target, so that only bounds are known."
    )
    return Chapter("At which price an arm breaks even", [text, markdown(["course", "arm", "n", "break-even μ [95 %]"], rows)])


def savings_chapter(courses: Sequence[Course]) -> Chapter | None:
    """Per combination, with its regime, and per price: what is faster, slower, undecided, and what missed."""
    rows = []
    for course, combination in combinations(courses):
        places = [p for p in compared([course]) if p.combination is combination and not p.arm.oracle]
        start = run_regime(combination).start
        shares = ["–"] * 2 if start is None else [f"{start[1]:.2f} / {start[2]:.2f}", f"{1 - start[1] - start[2]:.2f}"]
        for ledger, name in ledgers(courses):
            kinds = {k: [f"`{p.arm.strategy}`" for p in places if verdict(p, ledger) == k] for k in (FASTER, SLOWER, UNDECIDED, MISSED)}
            if any(kinds.values()):
                rows.append([where_of(course, combination.name), *shares, name, *(", ".join(found) or "–" for found in kinds.values())])
    if not rows:
        return None
    heads = ["course", "all wrong / all right at the start", "informative", "at", FASTER, SLOWER, UNDECIDED, MISSED]
    chapter = Chapter("What saves at which price in which regime", [markdown(heads, rows)])
    lines = _along_the_regime(courses)
    if lines:
        chapter.blocks += [
            "Over measured combinations, does an arm save more where fewer groups are informative?",
            "\n".join(lines),
        ]
    return chapter


def _along_the_regime(courses: Sequence[Course]) -> list[str]:
    """Per arm and price the rank correlation, over combinations, of the informative share at the start with the ratio."""
    found: dict[str, list[tuple[float, Place]]] = {}
    for place in compared(c for c in courses if not c.simulated):
        start = run_regime(place.combination).start
        if start is not None and not place.arm.oracle:
            found.setdefault(place.arm.strategy, []).append((1 - start[1] - start[2], place))
    lines = []
    for strategy, entries in sorted(found.items()):
        for ledger, name in ledgers(courses):
            points = [(share, place_of(s)) for share, place in entries if known(s := place.at(ledger))]
            if len(points) >= LEAST_FOR_INTERVAL:
                correlation = rank_correlation([x for x, _ in points], [y for _, y in points], of="combinations")
                if correlation is not None:
                    lines.append(f"- `{strategy}`, {name}: rank correlation of the informative share with the ratio {correlation.text}.")
    return lines


def _figure(places: Sequence[Place], axes_of: Sequence[tuple[str, str]]) -> Figure:
    with styled():
        height = 0.9 + 0.2 * len(places)
        figure = Figure(figsize=(2.6 + 1.9 * len(axes_of), height))
        panels = figure.subplots(1, len(axes_of), sharey=True, squeeze=False)[0]
        wheres = list(dict.fromkeys(p.where for p in places))
        for axes, (ledger, name) in zip(panels, axes_of, strict=True):
            axes.axvline(1.0, color=INK, lw=0.8)
            for row, place in enumerate(places):
                _bar(axes, row, place.at(ledger), colour_of(1 + wheres.index(place.where)))
            axes.set_xscale("log")
            axes.set_xticks([0.25, 0.5, 1, 2, 4], ["¼", "½", "1", "2", "4"])
            axes.minorticks_off()
            axes.set_xlim(0.2, 6)
            axes.set_xlabel(f"ratio, {name}")
        panels[0].set_yticks(range(len(places)), [f"{p.where}: {p.arm.strategy}" for p in places], fontsize=7)
        panels[0].set_ylim(len(places) - 0.4, -0.6)
        figure.subplots_adjust(left=2.3 / (2.6 + 1.9 * len(axes_of)), right=0.98, bottom=0.55 / height, top=1 - 0.1 / height, wspace=0.12)
        return figure


def _bar(axes: object, row: int, found: SpeedUp | None, colour: str) -> None:
    if found is None or not found.n:
        return
    low, high = (found.low or found.at_least, found.high or found.at_most)
    axes.plot([max(low, 1e-3), min(high, 1e3)], [row, row], color=colour, lw=1.6)  # type: ignore[attr-defined]
    if found.exact:
        axes.plot(found.at_least, row, "o" if found.verdict in (FASTER, SLOWER) else "|", color=colour, ms=5)  # type: ignore[attr-defined]
    elif np.isfinite(found.at_most):
        axes.plot(found.at_most, row, "<", color=colour, ms=4)  # type: ignore[attr-defined]
