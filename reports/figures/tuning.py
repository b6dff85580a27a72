"""Figures of a tuning study: importance of settings, objective over each setting."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, LogLocator, MaxNLocator, NullFormatter

from harness.tuning.lock_file import LockedParameter, LockedStudy, LockedTrial
from reports.figures.style import INK, MARKERS, colour_of, label_margin, new_figure, percent_ticks

PANEL_WIDTH, PANEL_HEIGHT = 2.5, 2.4


def place_of(order: Sequence[str], strategy: str) -> int:
    """The position that fixes a strategy's colour and dash; unknown strategies come last."""
    return order.index(strategy) if strategy in order else len(order)


def setting_text(value: Any) -> str:
    """The value of a setting as a label."""
    return "none" if value is None else f"{value:g}" if isinstance(value, float) else str(value)


def importance_figure(studies: Sequence[LockedStudy], order: Sequence[str], *, legend: bool = False) -> Figure:
    """One row per setting, one mark per strategy at the share that the setting explains."""
    names = list(dict.fromkeys(p.name for s in studies for p in s.parameters))
    figure, axes = new_figure(4.6, 0.8 + 0.34 * len(names), left=label_margin(names))
    for study in studies:
        index = place_of(order, study.strategy)
        shown = [(p.importance, names.index(p.name)) for p in study.parameters if p.importance is not None]
        if shown:
            x, y = zip(*shown, strict=True)
            axes.plot(
                x, y, ls="none", marker=MARKERS[index % len(MARKERS)], ms=7, mfc=colour_of(index), mec="white", mew=0.6,
                label=study.strategy, clip_on=False, zorder=3,
            )  # fmt: skip
    axes.set_yticks(range(len(names)), names)
    axes.set_ylim(len(names) - 0.5, -0.5)
    axes.set_xlim(0, 1)
    axes.xaxis.set_major_formatter(percent_ticks())
    axes.set_xlabel("share of the variation explained")
    if legend:
        axes.legend(loc="lower right")
    return figure


def slice_figure(study: LockedStudy, index: int) -> Figure:
    """Objective over every setting, one panel each, in rows of three."""
    columns = min(3, len(study.parameters))
    rows = -(-len(study.parameters) // columns)
    width, height = 0.35 + columns * PANEL_WIDTH, rows * PANEL_HEIGHT
    figure = Figure(figsize=(width, height))
    top = max([1.0, *(t.value for t in study.trials)]) * 1.06
    for number, parameter in enumerate(study.parameters):
        row, column = divmod(number, columns)
        box = (
            (0.6 + column * PANEL_WIDTH) / width,
            1 - ((row + 1) * PANEL_HEIGHT - 0.55) / height,
            (PANEL_WIDTH - 0.5) / width,
            (PANEL_HEIGHT - 0.75) / height,
        )
        axes = figure.add_axes(box)
        _draw_slice(axes, study, parameter, colour_of(index))
        axes.set_ylim(0, top)
        axes.set_xlabel(parameter.name)
        if column == 0:
            axes.set_ylabel("objective")
    return figure


def _draw_slice(axes: Any, study: LockedStudy, parameter: LockedParameter, colour: str) -> None:
    choices = parameter.range.get("choices")
    place = _categories(axes, choices) if isinstance(choices, list) else _scale(axes, parameter)
    axes.axhline(study.own.value, color=INK, lw=0.8, ls=(0, (4, 3)), zorder=1)
    for trial in study.trials:
        axes.plot([place(trial.settings[parameter.name])], [trial.value], ls="none", zorder=3, clip_on=False, **_mark(study, trial, colour))


def _mark(study: LockedStudy, trial: LockedTrial, colour: str) -> dict[str, Any]:
    if trial.number == study.best:
        return {"marker": "*", "ms": 12, "mfc": colour, "mec": INK, "mew": 0.7}
    if trial.number == 0:
        return {"marker": "D", "ms": 6.5, "mfc": colour, "mec": INK, "mew": 0.7}
    if trial.state == "pruned":
        return {"marker": "^", "ms": 6, "mfc": "none", "mec": colour, "mew": 1.2}
    return {"marker": "o", "ms": 6, "mfc": colour, "mec": "white", "mew": 0.6}


def _categories(axes: Any, choices: Sequence[Any]) -> Any:
    numbers = all(isinstance(c, (int, float)) and not isinstance(c, bool) for c in choices)
    ordered = sorted(choices) if numbers else list(choices)  # the suite's own value may have been added behind the others
    axes.set_xticks(range(len(ordered)), [setting_text(c) for c in ordered])
    axes.set_xlim(-0.5, len(ordered) - 0.5)
    return ordered.index


def _scale(axes: Any, parameter: LockedParameter) -> Any:
    low, high = float(parameter.range["low"]), float(parameter.range["high"])  # type: ignore[arg-type]
    if parameter.range.get("log"):
        axes.set_xscale("log")
        axes.xaxis.set_major_locator(LogLocator(10, subs=(1.0, 3.0) if high / low < 100 else (1.0,)))
        axes.xaxis.set_minor_formatter(NullFormatter())
        edge = (high / low) ** 0.04
        axes.set_xlim(low / edge, high * edge)
    else:
        axes.xaxis.set_major_locator(MaxNLocator(5))
        axes.set_xlim(low - 0.04 * (high - low), high + 0.04 * (high - low))
    axes.xaxis.set_major_formatter(FuncFormatter(lambda x, _: f"{x:g}"))
    return lambda value: value
