"""The tuning section: what was searched, what was found, what mattered, and what the search cost. Drawn from the lock file alone."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, LogLocator, MaxNLocator, NullFormatter, PercentFormatter

from harness.tuning.lock import Lock, LockedParameter, LockedStudy, LockedTrial
from reports import words
from reports.parts import Cell, Drawer, Picture, Section, Table
from reports.style import INK, MARKERS, colour_of, dash_of, label_margin, new_figure

PANEL_WIDTH, PANEL_HEIGHT = 2.5, 2.4


def tuning_section(lock: Lock, order: Sequence[str], drawer: Drawer) -> Section:
    """The section of the page; ``order`` are the report's strategies, whose colours are used.

    One table row per study, the importance of every setting per combination, and the trials of every study over each setting.
    """
    studies = sorted(lock.studies, key=lambda s: _place(order, s.strategy))
    names = [t.combination for t in lock.targets]
    pictures = [p for name in names for p in _combination_pictures(name, [s for s in studies if s.combination == name], order, drawer)]
    table = _table(lock, [s for name in names for s in studies if s.combination == name], order)
    return Section("tuning", "Tuning", _notes(lock), pictures, [table])


def _place(order: Sequence[str], strategy: str) -> int:
    return order.index(strategy) if strategy in order else len(order)


def _notes(lock: Lock) -> list[str]:
    seeds = ", ".join(map(str, lock.seeds))
    cost = words.COST_NAMES.get(lock.cost, lock.cost)
    notes = [
        "The settings of every strategy, the baseline included, were searched with the same number of trials on the same shared space, "
        f"plus the ranges that a strategy declares itself. A trial's objective is its {cost} to the target ({lock.target}), on "
        f"{lock.evaluation} questions, mean of the tuning seeds {seeds}; none of the runs reported on this page took part. Unit: what the "
        "baseline with the suite's own settings spends in all its steps. A miss costs at least 1, and more the further it stayed below.",
        "A trial was looked at half-way and given up there only if it had already cost as much as the best one needed to reach the target.",
        "The best of several trials is flattered by chance; the runs above, on other seeds and questions, say what tuning was worth.",
    ]
    for target in lock.targets:
        text = f"{target.combination}: target {words.percent(target.accuracy)} on {lock.evaluation} questions, frozen before the search "
        text += f"(the baseline went from {words.percent(target.start)} to {words.percent(target.final)})."
        if target.plateau:
            text += " The baseline is flat there, so the crossing moves much from seed to seed."
        notes.append(text)
    return notes


def _table(lock: Lock, studies: Sequence[LockedStudy], order: Sequence[str]) -> Table:
    heads = [
        ("combination", False), ("strategy", False), ("trials (given up)", True), ("own settings", True), ("tuned", True),
        ("change", True), ("reached", True), ("settings found", False), ("search cost", True), ("pays back after", True),
    ]  # fmt: skip
    rows = []
    for study in studies:
        own, best = study.own.value, study.winner.value
        pruned = sum(t.state == "pruned" for t in study.trials)
        rows.append(
            [
                Cell(study.combination, study.combination),
                Cell(study.strategy, study.strategy, swatch=_place(order, study.strategy) % 8),
                Cell(f"{len(study.trials)} ({pruned})", float(len(study.trials))),
                Cell(words.number(own), own),
                Cell(words.number(best), best),
                Cell(f"{100 * (best / own - 1):+.0f} %" if own > 0 else words.NO_VALUE, best / own if own > 0 else None),
                Cell(f"{study.winner.reached} of {len(lock.seeds)}", float(study.winner.reached)),
                Cell(_found(study), kind="code"),
                Cell(f"{study.cost:.1f} ({words.seconds(study.training_seconds)})", study.cost),
                _pay_back(study),
            ]
        )
    return Table("Settings found, and the objective of the suite's own settings and of the best trial", heads, rows)


def _found(study: LockedStudy) -> str:
    own, best = study.own.settings, study.winner.settings
    changed = [f"{name} = {_told(best[name])}" for name in best if best[name] != own[name]]
    return ", ".join(changed) or "the suite's own"


def _told(value: Any) -> str:
    return "none" if value is None else f"{value:g}" if isinstance(value, float) else str(value)


def _pay_back(study: LockedStudy) -> Cell:
    """Runs after which the search is paid for by what a run saves, as far as the tuning seeds tell."""
    saved = study.own.value - study.winner.value
    if saved <= 0:
        return Cell("never: nothing better found", math.inf)
    runs = math.ceil(study.cost / saved)
    return Cell(f"{runs} run{'s' if runs > 1 else ''}", float(runs))


def _combination_pictures(name: str, studies: Sequence[LockedStudy], order: Sequence[str], drawer: Drawer) -> list[Picture]:
    pictures = []
    if any(p.importance is not None for s in studies for p in s.parameters):
        picture = drawer.draw(
            f"importance-{name}",
            f"What mattered in tuning on {name}",
            "; ".join(f"{s.strategy}: " + ", ".join(f"{p.name} {words.percent(p.importance, 0)}" for p in s.parameters) for s in studies),
            f"Share of the variation between trials that each setting explains alone, {name}: adjusted R² of the trials' ranks on a "
            "quadratic in the setting, or on its choices. A rough guide with so few trials; shares need not add up to 100 %.",
            lambda legend: importance_figure(studies, order, legend=legend),
        )
        picture.legend = [
            (
                s.strategy,
                f"s{_place(order, s.strategy) % 8} d{('-', '--', '-.', ':').index(dash_of(_place(order, s.strategy)))}",
            )
            for s in studies
        ]
        pictures.append(picture)
    return pictures + [_slice_picture(study, order, drawer) for study in studies if study.parameters]


def _slice_picture(study: LockedStudy, order: Sequence[str], drawer: Drawer) -> Picture:
    picture = drawer.draw(
        f"trials-{study.combination}-{study.strategy}",
        f"Trials of {study.strategy} on {study.combination}",
        f"Objective of {len(study.trials)} trials over each setting. Own settings {study.own.value:.2f}, best trial "
        f"{study.winner.value:.2f} with {_found(study)}.",
        f"Trials of {study.strategy} on {study.combination}: objective (baseline budgets to the target, lower is better) over each "
        "setting. Diamond: the suite's own settings; star: the best trial; open triangle: given up half-way, as it could no longer win.",
        lambda legend: slice_figure(study, _place(order, study.strategy)),  # noqa: ARG005
    )
    picture.wide = len(study.parameters) > 2
    return picture


def importance_figure(studies: Sequence[LockedStudy], order: Sequence[str], *, legend: bool = False) -> Figure:
    """One row per setting, one mark per strategy at the share that the setting explains."""
    names = list(dict.fromkeys(p.name for s in studies for p in s.parameters))
    figure, axes = new_figure(4.6, 0.8 + 0.34 * len(names), left=label_margin(names))
    for study in studies:
        index = _place(order, study.strategy)
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
    axes.xaxis.set_major_formatter(PercentFormatter(1.0, decimals=0, symbol=" %"))
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
    axes.set_xticks(range(len(ordered)), [_told(c) for c in ordered])
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
