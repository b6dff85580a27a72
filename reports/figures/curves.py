"""The figures of a report. Each takes condensed runs and returns a matplotlib figure; legends are the page's."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.collections import LineCollection, PolyCollection
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, MaxNLocator, NullFormatter, NullLocator

from harness.stats import Profile
from harness.types import PHASES
from reports import words
from reports.arms import Arm, Combination
from reports.figures.style import (
    INK,
    MARKERS,
    MOST_IN_FULL,
    PHASE_COLOURS,
    SMALL,
    add_legend,
    colour_of,
    dash_of,
    label_margin,
    new_figure,
    percent_ticks,
)
from reports.run_columns import Array

WIDTH, HEIGHT = 4.6, 3.0

#: Thin lines beyond this many seeds would be a blot; the median stands for all of them.
MOST_THIN_LINES = 20

AXIS_LABELS = {
    "training_seconds": "training seconds",
    "generated_tokens": "generated tokens",
    "training_steps": "training steps",
    "rollouts": "rollouts",
}


def accuracy_curves(combination: Combination, cost: str, order: Sequence[str], *, legend: bool = False) -> Figure:
    """Accuracy against one cost: seeds thin, their median thick, target dashed, crossings marked."""
    figure, axes = new_figure(WIDTH, HEIGHT)
    _draw_curves(axes, combination, cost, order)
    axes.set_ylabel("accuracy")
    if legend:
        add_legend(axes, backwards=True)
    return figure


def side_by_side(panels: Sequence[tuple[str, Combination]], cost: str, order: Sequence[str], *, legend: bool = False) -> Figure:
    """Accuracy against one cost, one panel per (title, combination), with one accuracy axis; the cost axes are their own."""
    height = HEIGHT + 0.2
    figure = Figure(figsize=(WIDTH * 0.88 * len(panels), height))
    first: Axes | None = None
    for index, (title, combination) in enumerate(panels):
        width = 1 / len(panels)
        box = ((index + 0.15) * width, 0.5 / height, 0.81 * width, 1 - 0.82 / height)
        axes = figure.add_axes(box, sharey=first)
        first = first or axes
        _draw_curves(axes, combination, cost, order)
        axes.set_title(title, fontsize=9, loc="left")
        axes.set_ylabel("accuracy" if index == 0 else "")
    if legend and first is not None:
        add_legend(first, backwards=True)
    return figure


def _draw_curves(axes: Axes, combination: Combination, cost: str, order: Sequence[str]) -> None:
    in_full = len(combination.arms) <= MOST_IN_FULL
    for arm in reversed(combination.arms):
        index = order.index(arm.strategy)
        colour, dash = colour_of(index), dash_of(index)
        runs = [r for r in arm.runs if len(r.curve.accuracy) > 1]
        # One collection, not a line each: with a thousand runs the lines would take most of a report's time.
        thin = [np.column_stack([r.curve.costs[cost], r.curve.accuracy]) for r in runs[: MOST_THIN_LINES if in_full else 0]]
        axes.add_collection(LineCollection(thin, colors=colour, linewidths=0.7, alpha=0.4, linestyles=dash))
        if runs:
            whole = [r for r in runs if r.state == "complete"] or runs  # a run cut short would cut the median short
            grid, (low, middle, high) = seed_band([r.curve.costs[cost] for r in whole], [r.curve.accuracy for r in whole])
            if len(whole) > 2 and in_full:
                axes.fill_between(grid, low, high, color=colour, alpha=0.1, lw=0)
            axes.plot(grid, middle, color=colour, lw=2.0 if in_full else 1.1, ls=dash, label=arm.strategy)
        marks = [
            (float(run.curve.costs[cost][o.index]), float(run.curve.accuracy[o.index]))
            for run, o in zip(arm.runs, arm.outcomes.get(cost, []), strict=False)
            if o.index is not None
        ]
        if marks:
            x, y = zip(*marks, strict=True)
            axes.plot(
                x, y, ls="none", marker=MARKERS[index % len(MARKERS)], ms=5 if in_full else 3.5, mfc=colour, mec="white", mew=0.6, zorder=5
            )
    target = combination.target.accuracy
    if target is not None:
        axes.axhline(target, color=INK, lw=0.9, ls=(0, (4, 3)), zorder=1)
        axes.annotate(
            f"target {words.percent(target)}", (0.0, target), xycoords=("axes fraction", "data"), xytext=(3, 3),
            textcoords="offset points", fontsize=SMALL,
        )  # fmt: skip
    axes.yaxis.set_major_formatter(percent_ticks())
    _cost_axis(axes, cost)


def seed_band(costs: Sequence[Array], accuracies: Sequence[Array], points: int = 120) -> tuple[Array, Array]:
    """(cost grid, least, median and largest accuracy over runs, shape (3, points)), straight lines between evaluations; for drawing.

    The grid ends where the shortest run ends, so that the same runs stand behind every point.
    """
    start, end = max(float(c[0]) for c in costs), min(float(c[-1]) for c in costs)
    grid = np.linspace(start, max(end, start), points)
    return grid, np.quantile([np.interp(grid, c, a) for c, a in zip(costs, accuracies, strict=True)], (0.0, 0.5, 1.0), axis=0)


def _cost_axis(axes: Axes, cost: str) -> None:
    label, divisor = AXIS_LABELS.get(cost, words.COST_NAMES.get(cost, cost)), 1.0
    if cost.endswith("_seconds") and axes.dataLim.x1 > 3 * 3600:
        label, divisor = label.replace("seconds", "hours"), 3600.0
    axes.set_xlabel(label)
    axes.xaxis.set_major_locator(ScaledLocator(divisor))
    axes.xaxis.set_major_formatter(FuncFormatter(lambda x, _: _short(x / divisor)))
    axes.margins(x=0.02)


class ScaledLocator(MaxNLocator):
    """Round ticks in a unit of ``divisor`` axis units."""

    def __init__(self, divisor: float) -> None:
        super().__init__(6)
        self._divisor = divisor

    def tick_values(self, vmin: float, vmax: float) -> Any:
        """Tick positions, in axis units."""
        return np.asarray(super().tick_values(vmin / self._divisor, vmax / self._divisor)) * self._divisor


def _short(value: float) -> str:
    for size, unit in ((1e9, "G"), (1e6, "M"), (1e3, "k")):
        if abs(value) >= size:
            return f"{value / size:g}{unit}"
    return f"{value:g}"


def phases(arms: Sequence[Arm], *, legend: bool = False) -> Figure:
    """Seconds per training step, stacked by phase, one bar per strategy."""
    labels = [shorten(a.strategy) for a in arms]
    top = 0.5 if legend else 0.08
    figure, axes = new_figure(WIDTH, 0.55 + top + 0.34 * len(arms), left=label_margin(labels), top=top)
    left = np.zeros(len(arms))
    rows = np.arange(len(arms), dtype=np.float64)
    spent = [a.phase_seconds_per_step for a in arms]
    for phase, colour in zip(PHASES, PHASE_COLOURS, strict=True):
        width = np.array([s[phase] for s in spent])
        bars(axes, rows, left, width, 0.66, colour, phase.replace("_", "-"))
        left += width
    axes.set_xlim(0, 1.04 * max(float(left.max(initial=0.0)), 1e-9))
    axes.set_yticks(range(len(arms)), labels)
    axes.set_ylim(len(arms) - 0.5, -0.5)
    axes.grid(visible=False, axis="y")
    axes.set_xlabel("seconds per training step")
    if legend:
        figure.legend(loc="upper center", ncols=4)
    return figure


def bars(axes: Axes, rows: Array, left: Array, width: Array, height: float, colour: str, label: str) -> None:
    """Horizontal bars as one collection: a hundred separate patches would take most of a report's time."""
    low, high, right = rows - height / 2, rows + height / 2, left + width
    corners = np.stack([np.stack(p, axis=-1) for p in ((left, low), (right, low), (right, high), (left, high))], axis=1)
    axes.add_collection(PolyCollection(list(corners), facecolors=colour, edgecolors="none", label=label), autolim=False)


def shorten(label: str, longest: int = 22) -> str:
    """Labels beyond the room beside a bar lose their middle."""
    half = (longest - 1) // 2
    return label if len(label) <= longest else f"{label[:half]}…{label[-half:]}"


def forest(combinations: Sequence[Combination], order: Sequence[str]) -> Figure:
    """Speed-up of every strategy on every combination with its 95 % interval, on a log axis; right of 1 is cheaper."""
    rows = [(c, a) for c in combinations for a in c.arms if not a.is_baseline and c.main_cost in a.speed_ups and a.speed_ups[c.main_cost].n]
    one_strategy = len({a.strategy for _, a in rows}) == 1
    labels = [
        shorten(a.strategy if len(combinations) == 1 else c.name if one_strategy else f"{a.strategy} · {c.name}", 28) for c, a in rows
    ]
    figure, axes = new_figure(WIDTH, 0.7 + 0.32 * max(len(rows), 1), left=label_margin(labels))
    found = [a.speed_ups[c.main_cost] for c, a in rows]
    # What is open on a side goes to the edge of the figure, which the known numbers alone decide.
    known = [b for f in found for b in (f.low, f.high, f.at_least, f.at_most) if b is not None and 0 < b < math.inf]
    ticks = _log_ticks(max(min([1.0, *known]), 0.1), min(max([1.0, *known]), 10.0))
    for row, ((_, arm), ratio) in enumerate(zip(rows, found, strict=True)):
        colour = colour_of(order.index(arm.strategy))
        marker = MARKERS[order.index(arm.strategy) % len(MARKERS)]
        bounds = (ratio.low, ratio.high) if ratio.low is not None and ratio.high is not None else (ratio.at_least, ratio.at_most)
        low, high = (min(max(b, ticks[0]), ticks[-1]) for b in bounds)
        axes.plot([low, high], [row, row], color=colour, lw=1.6, solid_capstyle="butt")
        for bound, at, arrow in ((bounds[0], low, "<"), (bounds[1], high, ">")):
            if bound == 0 or math.isinf(bound):
                axes.plot([at], [row], marker=arrow, color=colour, ms=6, clip_on=False)
        if ratio.estimate is not None and ratio.estimate > 0:
            axes.plot([min(max(ratio.estimate, ticks[0]), ticks[-1])], [row], marker=marker, ms=6, color=colour, mec="white", mew=0.6)
    axes.axvline(1.0, color=INK, lw=0.9)
    axes.set_xscale("log")
    axes.set_xlim(ticks[0], ticks[-1])
    axes.set_xticks(ticks, [f"{t:g}×" for t in ticks])
    axes.xaxis.set_minor_locator(NullLocator())
    axes.xaxis.set_minor_formatter(NullFormatter())
    axes.set_yticks(range(len(rows)), labels)
    axes.set_ylim(len(rows) - 0.5, -0.5)
    axes.tick_params(axis="y", pad=6)  # room for the arrows
    axes.grid(visible=False, axis="y")
    axes.set_xlabel("speed-up")
    return figure


def _log_ticks(low: float, high: float) -> list[float]:
    """At most seven round ratios that enclose low to high, 1 among them."""
    for steps in (
        (0.7, 0.8, 0.9, 1.0, 1.1, 1.25, 1.4),
        (0.5, 0.7, 0.85, 1.0, 1.2, 1.5, 2.0),
        (0.25, 0.5, 1.0, 1.5, 2.0, 3.0, 4.0),
        (0.1, 0.3, 1.0, 3.0, 10.0),
    ):
        if steps[0] <= low and high <= steps[-1]:
            break
    first = max(i for i, s in enumerate(steps) if s <= min(low, 0.999) or i == 0)
    last = min(i for i, s in enumerate(steps) if s >= max(high, 1.001) or i == len(steps) - 1)
    return list(steps[first : last + 1])


def profile(found: Profile, labels: Sequence[str], order: Sequence[str], *, legend: bool = False) -> Figure:
    """Dolan and Moré's performance profile, with its band where there are few enough."""
    figure, axes = new_figure(WIDTH, HEIGHT)
    for row, label in enumerate(labels):
        index = order.index(label)
        colour = colour_of(index)
        if len(labels) <= MOST_IN_FULL:
            axes.fill_between(found.factors, found.low[row], found.high[row], step="post", color=colour, alpha=0.15, lw=0)
        axes.step(found.factors, found.shares[row], where="post", color=colour, lw=1.8, ls=dash_of(index), label=label)
    axes.set_ylim(0, 1.02)
    axes.set_xlim(found.factors[0], found.factors[-1])
    axes.yaxis.set_major_formatter(percent_ticks())
    axes.set_xlabel("cost within this factor of the cheapest")
    axes.set_ylabel("share of problems")
    if legend:
        add_legend(axes)
    return figure


def reached_over_cost(
    curves: Sequence[tuple[str, Array, Array, float]], cost: str, order: Sequence[str], *, legend: bool = False
) -> Figure:
    """Share of runs at the target by cost: (label, costs, shares, end of the budget) per strategy."""
    figure, axes = new_figure(WIDTH, HEIGHT - 0.3)
    for label, events, shares, end in curves:
        index = order.index(label)
        x, y = (
            np.concatenate([[0.0], events, [max(end, *events, 0.0)]]),
            np.concatenate([[0.0], shares, shares[-1:] if len(shares) else [0.0]]),
        )
        axes.step(x, y, where="post", color=colour_of(index), lw=1.8, ls=dash_of(index), label=label)
    axes.set_ylim(0, 1.02)
    axes.yaxis.set_major_formatter(percent_ticks())
    _cost_axis(axes, cost)
    axes.set_ylabel("runs at target")
    if legend:
        add_legend(axes)
    return figure


def on_and_off(costs: Sequence[float], names: tuple[str, str], cost: str) -> Figure:
    """Median cost to the target with neither part, the first, the second, both; on a log axis parallel lines mean no interaction."""
    figure, axes = new_figure(WIDTH, HEIGHT - 0.3)
    for index, (pair, label) in enumerate((((0, 1), f"without {names[1]}"), ((2, 3), f"with {names[1]}"))):
        values = [costs[i] for i in pair]
        axes.plot([0, 1], values, color=colour_of(index), marker=MARKERS[index], ms=6, lw=1.8, ls=("-", "--")[index], label=label)
        axes.annotate(label, (1, values[1]), xytext=(7, 0), textcoords="offset points", va="center", fontsize=SMALL, color=colour_of(index))
    axes.set_xlim(-0.15, 1.75)
    axes.set_xticks([0, 1], [f"without {shorten(names[0])}", f"with {shorten(names[0])}"])
    axes.set_yscale("log")
    low, high = min(costs), max(costs)
    axes.set_ylim(low * 0.85, high * 1.15)
    axes.set_yticks(sorted({low, math.sqrt(low * high), high}), [_round_cost(v) for v in sorted({low, math.sqrt(low * high), high})])
    axes.yaxis.set_minor_locator(NullLocator())
    axes.set_ylabel(AXIS_LABELS.get(cost, cost))
    return figure


def _round_cost(value: float) -> str:
    return f"{value:.0f}" if 10 <= value < 1000 else _short(float(f"{value:.2g}"))
