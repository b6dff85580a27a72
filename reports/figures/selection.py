"""Figures of what selection and replay did. Each takes condensed runs and returns a matplotlib figure."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from reports.arms import Arm
from reports.condensed import Run
from reports.figures.curves import HEIGHT, WIDTH, bars, shorten
from reports.figures.style import INK, MARKERS, PASS_RATE_COLOURS, add_legend, colour_of, dash_of, label_margin, new_figure, percent_ticks
from reports.run_columns import PASS_RATE_CLASSES, STRETCHES, Array

#: Steps in the running mean of the line plots of selection; printed in their captions.
SMOOTHING = 5


def non_degenerate(arms: Sequence[Arm], order: Sequence[str], *, legend: bool = False) -> Figure:
    """Share of fresh groups that carry gradient, over training steps: mean over seeds, running mean."""
    figure, axes = new_figure(WIDTH, HEIGHT - 0.3)
    for arm in reversed(arms):
        runs = [r for r in arm.runs if len(r.steps["step"])]
        runs = [r for r in runs if r.state == "complete"] or runs
        if not runs:
            continue
        length = min(len(r.steps["step"]) for r in runs)
        share = np.mean([r.steps["non_degenerate_share"][:length] for r in runs], axis=0)
        index = order.index(arm.strategy)
        x, y = runs[0].steps["step"][:length], running_mean(share, SMOOTHING)
        axes.plot(x, y, color=colour_of(index), ls=dash_of(index), lw=1.8, label=arm.strategy)
    axes.set_ylim(0, 1.03)
    axes.yaxis.set_major_formatter(percent_ticks())
    axes.set_xlabel("training step")
    axes.set_ylabel("non-degenerate groups")
    if legend:
        add_legend(axes)
    return figure


def running_mean(values: Array, window: int) -> Array:
    """Mean of the last ``window`` values (fewer at the start), shape as given."""
    total = np.concatenate([[0.0], np.cumsum(values)])
    ends = np.arange(1, len(values) + 1)
    starts = np.maximum(ends - window, 0)
    found: Array = (total[ends] - total[starts]) / (ends - starts)
    return found


def predictor(arms: Sequence[Arm], order: Sequence[str], name: str = "pearson", *, legend: bool = False) -> Figure:
    """Correlation of predicted with observed pass rates on held-out questions, over training steps; seeds as dots."""
    figure, axes = new_figure(WIDTH, HEIGHT - 0.3)
    for arm in reversed(arms):
        index = order.index(arm.strategy)
        found: dict[float, list[float]] = {}
        for run in arm.runs:
            for step, value in zip(run.eval_steps, run.predictor.get(name, ()), strict=False):
                if math.isfinite(value):
                    found.setdefault(float(step), []).append(float(value))
        if not found:
            continue
        steps = sorted(found)
        axes.plot(
            steps,
            [float(np.mean(found[s])) for s in steps],
            color=colour_of(index),
            lw=1.8,
            ls=dash_of(index),
            label=arm.strategy,
        )
        dots = [(s, v) for s in steps for v in found[s]]
        axes.plot(
            *zip(*dots, strict=True),
            ls="none",
            marker=MARKERS[index % len(MARKERS)],
            ms=3,
            color=colour_of(index),
            alpha=0.5,
        )
    axes.axhline(0.0, color=INK, lw=0.7)
    axes.set_xlabel("training step")
    axes.set_ylabel(f"{name.capitalize()} correlation")
    if legend:
        add_legend(axes)
    return figure


def pass_rates_height(arms: int) -> float:
    """Height in inches of the bars of so many strategies; many stand closer."""
    return 0.55 + (0.52 if arms <= 8 else 0.42) * arms


def pass_rates(arms: Sequence[Arm], *, legend: bool = False) -> Figure:
    """Pass rates of the fresh groups in each quarter of training, one stacked bar per quarter and strategy."""
    labels = [shorten(a.strategy) for a in arms]
    top = 0.4 if legend else 0.08
    figure, axes = new_figure(WIDTH, pass_rates_height(len(arms)) + top, left=label_margin(labels), top=top)
    rows, found = [], []
    for index, arm in enumerate(arms):
        counts = np.sum([r.pass_rates for r in arm.runs], axis=0) if arm.runs else np.zeros((STRETCHES, len(PASS_RATE_CLASSES)))
        total = counts.sum(axis=1, keepdims=True)
        found.append(np.divide(counts, total, out=np.zeros_like(counts), where=total > 0))
        rows.append(index + (np.arange(STRETCHES) - (STRETCHES - 1) / 2) * 0.2)
    height, left = np.concatenate(rows), np.zeros(STRETCHES * len(arms))
    for k, (name, colour) in enumerate(zip(PASS_RATE_CLASSES, PASS_RATE_COLOURS, strict=True)):
        width = np.concatenate([s[:, k] for s in found])
        bars(axes, height, left, width, 0.17, colour, name)
        left = left + width
    _share_axes(axes, labels, "share of fresh groups by pass rate")
    if legend:
        figure.legend(loc="upper center", ncols=6, columnspacing=1.0)
    return figure


def coverage(arms: Sequence[Arm], order: Sequence[str], *, legend: bool = False) -> Figure:
    """Different questions selected so far, over training steps, mean over seeds; as a share where the pool's size is known."""
    sizes = [r.pool_size for a in arms for r in a.runs]
    pool = max((s for s in sizes if s), default=None) if all(sizes) else None
    figure, axes = new_figure(WIDTH, HEIGHT - 0.3)
    for arm in reversed(arms):
        runs = [r for r in arm.runs if len(r.coverage)]
        runs = [r for r in runs if r.state == "complete"] or runs
        if not runs:
            continue
        length = min(len(r.coverage) for r in runs)
        seen = np.mean([r.coverage[:length] for r in runs], axis=0) / (pool or 1)
        index = order.index(arm.strategy)
        axes.plot(runs[0].steps["step"][:length], seen, color=colour_of(index), ls=dash_of(index), lw=1.8, label=arm.strategy)
    axes.set_ylim(bottom=0)
    if pool:
        axes.yaxis.set_major_formatter(percent_ticks())
    axes.set_xlabel("training step")
    axes.set_ylabel(f"share of {pool} questions" if pool else "different questions")
    if legend:
        add_legend(axes, "upper left")
    return figure


def reliability(arms: Sequence[Arm], order: Sequence[str], *, legend: bool = False) -> Figure:
    """Observed against predicted pass rate, per tenth of the prediction, all checks of all seeds together; the diagonal is perfect."""
    figure, axes = new_figure(WIDTH, HEIGHT - 0.1)
    axes.plot([0, 1], [0, 1], color=INK, lw=0.8, ls=(0, (4, 3)), zorder=1)
    for arm in reversed(arms):
        index = order.index(arm.strategy)
        predicted, observed, count = reliability_of(arm)
        size = 14 + 70 * count / count.max()
        axes.plot(predicted, observed, color=colour_of(index), lw=1.6, ls=dash_of(index), label=arm.strategy)
        axes.scatter(predicted, observed, s=size, marker=MARKERS[index % len(MARKERS)], color=colour_of(index), edgecolors="white", lw=0.6)
    for axis in (axes.xaxis, axes.yaxis):
        axis.set_major_formatter(percent_ticks())
    axes.set_xlim(-0.03, 1.03)
    axes.set_ylim(-0.03, 1.03)
    axes.set_xlabel("predicted pass rate")
    axes.set_ylabel("observed pass rate")
    if legend:
        add_legend(axes, "upper left")
    return figure


def reliability_of(arm: Arm) -> tuple[Array, Array, Array]:
    """(mean predicted, mean observed, questions) per tenth of the prediction that holds any, each of shape (k,)."""
    sums = np.sum([r.reliability for r in arm.runs], axis=0)
    sums = sums[sums[:, 0] > 0]
    return sums[:, 1] / sums[:, 0], sums[:, 2] / sums[:, 0], sums[:, 0]


def calibration_error(arm: Arm) -> float | None:
    """Expected calibration error: mean |observed - predicted| over tenths, weighted by their questions (Guo et al. 2017)."""
    predicted, observed, count = reliability_of(arm)
    return float((np.abs(observed - predicted) * count).sum() / count.sum()) if len(count) else None


def shares(
    arms: Sequence[Arm], counts: Callable[[Run], Array], classes: Sequence[str], colours: Sequence[str], label: str, *, legend: bool = False
) -> Figure:
    """One stacked bar per strategy: the share of each class, all runs together."""
    labels = [shorten(a.strategy) for a in arms]
    top = 0.5 if legend else 0.08
    figure, axes = new_figure(WIDTH, 0.55 + top + 0.34 * len(arms), left=label_margin(labels), top=top)
    total = np.array([np.sum([counts(r) for r in a.runs], axis=0) for a in arms])
    share = total / total.sum(axis=1, keepdims=True)
    left = np.zeros(len(arms))
    for k, (name, colour) in enumerate(zip(classes, colours, strict=True)):
        bars(axes, np.arange(len(arms), dtype=np.float64), left, share[:, k], 0.66, colour, name)
        left += share[:, k]
    _share_axes(axes, labels, label)
    if legend:
        figure.legend(loc="upper center", ncols=4)
    return figure


def _share_axes(axes: Axes, labels: Sequence[str], label: str) -> None:
    axes.set_yticks(range(len(labels)), labels)
    axes.set_ylim(len(labels) - 0.5, -0.5)
    axes.grid(visible=False, axis="y")
    axes.set_xlim(0, 1)
    axes.xaxis.set_major_formatter(percent_ticks())
    axes.set_xlabel(label)
