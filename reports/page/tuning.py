"""The tuning section: what was searched, what was found, what mattered, and what the search cost. Drawn from the lock file alone."""

from __future__ import annotations

import math
from collections.abc import Sequence

from harness.tuning.lock_file import LockedStudy, TuningLock
from reports import words
from reports.figures.style import dash_of
from reports.figures.tuning import importance_figure, place_of, setting_text, slice_figure
from reports.page.parts import Cell, Drawer, Picture, Section, Table


def tuning_section(lock: TuningLock, order: Sequence[str], drawer: Drawer) -> Section:
    """The section of the page; ``order`` are the report's strategies, whose colours are used.

    One table row per study, the importance of every setting per combination, and the trials of every study over each setting.
    """
    studies = sorted(lock.studies, key=lambda s: place_of(order, s.strategy))
    names = [t.combination for t in lock.targets]
    pictures = [p for name in names for p in _combination_pictures(name, [s for s in studies if s.combination == name], order, drawer)]
    table = _table(lock, [s for name in names for s in studies if s.combination == name], order)
    tables = [table, *([repeats] if (repeats := _repeats_table(lock, studies, order)) is not None else [])]
    return Section("tuning", "Tuning", _notes(lock), pictures, tables)


def _notes(lock: TuningLock) -> list[str]:
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
    times = max((len(study.repeats) for study in lock.studies), default=0)
    if times:
        notes.append(
            f"Every search was made {times} times with sampler seeds of its own. The objective “tuned” is the median over the searches, "
            "and the settings of that search are used, not those of the luckiest; the search cost is that of all."
        )
    for target in lock.targets:
        text = f"{target.combination}: target {words.percent(target.accuracy)} on {lock.evaluation} questions, frozen before the search "
        text += f"(the baseline went from {words.percent(target.start)} to {words.percent(target.final)})."
        if target.plateau:
            text += " The baseline is flat there, so the crossing moves much from seed to seed."
        notes.append(text)
    return notes


def _table(lock: TuningLock, studies: Sequence[LockedStudy], order: Sequence[str]) -> Table:
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
                Cell(study.strategy, study.strategy, swatch=place_of(order, study.strategy) % 8),
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


def _repeats_table(lock: TuningLock, studies: Sequence[LockedStudy], order: Sequence[str]) -> Table | None:
    """What every search found, where there were several."""
    rows = [
        [
            Cell(study.combination, study.combination),
            Cell(study.strategy, study.strategy, swatch=place_of(order, study.strategy) % 8),
            Cell(f"{index + 1}{', the median: used' if index == study.median else ''}", float(index)),
            Cell(words.number(repeat.value), repeat.value),
            Cell(f"{repeat.reached} of {len(lock.seeds)}", float(repeat.reached)),
            Cell(", ".join(f"{name} = {setting_text(value)}" for name, value in repeat.settings.items()) or "none to tune", kind="code"),
        ]
        for study in studies
        for index, repeat in enumerate(study.repeats)
    ]
    heads = [("combination", False), ("strategy", False), ("search", True), ("tuned", True), ("reached", True), ("settings", False)]
    return (
        Table("Every search with the settings it chose: how far the result depends on the luck of the sampler", heads, rows)
        if rows
        else None
    )


def _found(study: LockedStudy) -> str:
    own, best = study.own.settings, study.winner.settings
    changed = [f"{name} = {setting_text(best[name])}" for name in best if best[name] != own[name]]
    return ", ".join(changed) or "the suite's own"


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
                f"s{place_of(order, s.strategy) % 8} d{('-', '--', '-.', ':').index(dash_of(place_of(order, s.strategy)))}",
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
        lambda legend: slice_figure(study, place_of(order, study.strategy)),  # noqa: ARG005
    )
    picture.wide = len(study.parameters) > 2
    return picture
