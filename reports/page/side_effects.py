"""What selection may damage while it speeds up: longer completions, accuracy on every evaluation set, also those that do not decide."""

from __future__ import annotations

import numpy as np

from harness.stats import paired_difference
from reports import words
from reports.arms import Analysis, Arm, Combination
from reports.condensed import Run
from reports.page.parts import Cell, Table
from reports.page.sides import points

#: Steps at each end of a run over which the length of completions is averaged.
STEPS_READ = 5


def side_effects_table(analysis: Analysis, combination: Combination) -> Table | None:
    """Per arm the length of completions at the start and the end, and per evaluation set the final accuracy against the baseline."""
    arms = [a for a in combination.arms if any(len(r.steps["step"]) for r in a.runs)]
    sets = list(dict.fromkeys(name for a in arms for r in a.runs for name in r.final_accuracies))
    if not arms or not sets:
        return None
    rows = [
        [
            Cell(arm.strategy, arm.strategy, swatch=analysis.strategies.index(arm.strategy) % 8),
            _length_cell(arm),
            *(_accuracy_cell(arm, combination.baseline, name) for name in sets),
        ]
        for arm in arms
    ]
    deciding = {name for a in arms for r in a.runs for name in r.spec.get("evaluation", {}).get("sets", [])}
    heads = [("strategy", False), ("tokens per completion, start → end", True)]
    heads += [(f"final accuracy on {name}{'' if name in deciding else ' (does not decide)'}", True) for name in sets]
    caption = (
        "What selection may damage: length of the fresh completions over the first and the last five steps, and the last accuracy on every "
        "evaluation set, also those named by “also”. In brackets: points against the baseline on equal seeds, complete runs, 95 %."
    )
    return Table(caption, heads, rows)


def _length_cell(arm: Arm) -> Cell:
    ends = [_ends(r) for r in arm.runs if len(r.steps["step"])]
    start, end = (float(np.median([e[i] for e in ends])) for i in (0, 1))
    return Cell(f"{start:.1f} → {end:.1f}", end)


def _ends(run: Run) -> tuple[float, float]:
    lengths = run.steps["mean_completion_tokens"]
    return float(lengths[:STEPS_READ].mean()), float(lengths[-STEPS_READ:].mean())


def _accuracy_cell(arm: Arm, base: Arm | None, name: str) -> Cell:
    own = _final(arm, name)
    if not own:
        return Cell(words.NO_VALUE)
    middle = float(np.median(list(own.values())))
    if base is None or arm.is_baseline:
        return Cell(words.percent(middle), middle)
    others = _final(base, name)
    seeds = sorted(own.keys() & others.keys())
    difference = paired_difference(np.array([own[s] - others[s] for s in seeds]))
    return Cell(f"{words.percent(middle)} ({points(difference)})" if seeds else words.percent(middle), middle)


def _final(arm: Arm, name: str) -> dict[int, float]:
    return {r.seed: r.final_accuracies[name] for r in arm.runs if r.state == "complete" and name in r.final_accuracies}
