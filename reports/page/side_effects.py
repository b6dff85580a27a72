"""What selection may damage while it speeds up, as a table, and as a sentence beside a verdict of “faster”."""

from __future__ import annotations

import numpy as np

from reports import words
from reports.arms import Analysis, Arm, Combination
from reports.page.parts import Cell, Table
from reports.side_effects import LEAST_RELATIVE, LEAST_SHARE, Difference, Measure, damages, difference, measures_of, values_of


def side_effects_table(analysis: Analysis, combination: Combination) -> Table | None:
    """Per arm and measure the value at the end (start → end of what drifts), with the paired difference to the baseline."""
    arms = [a for a in combination.arms if any(r.state == "complete" and len(r.steps["step"]) for r in a.runs)]
    measures = measures_of(combination) if arms else []
    if len(measures) < 2:
        return None
    rows = [
        [
            Cell(arm.strategy, arm.strategy, swatch=analysis.strategies.index(arm.strategy) % 8),
            *(_cell(arm, combination.baseline, measure) for measure in measures),
        ]
        for arm in arms
    ]
    caption = (
        "What selection may damage, at the last evaluation (start → end of what drifts). In brackets: difference to the baseline on equal "
        "seeds, complete runs, 95 %; shares in points. Marked: surely worse (five pairs, interval excludes 0) by "
        f"{100 * LEAST_SHARE:.0f} point or {100 * LEAST_RELATIVE:.0f} % and more, not corrected for the number of columns."
        + _easy_words(measures)
    )
    return Table(caption, [("strategy", False), *((m.name, True) for m in measures)], rows)


def _easy_words(measures: list[Measure]) -> str:
    if not any("easy" in m.name for m in measures):
        return ""
    return (
        " Easy questions: those that the starting policy answered right in every sample, the same for every arm of a seed; a policy that "
        "merely stays the same does not keep 100 %, so read the difference."
    )


def _cell(arm: Arm, base: Arm | None, measure: Measure) -> Cell:
    own = values_of(arm, measure.end)
    if not own:
        return Cell(words.NO_VALUE)
    middle = float(np.median(list(own.values())))
    text = _shown(middle, measure)
    if measure.start is not None and (starts := values_of(arm, measure.start)):
        text = f"{_shown(float(np.median(list(starts.values()))), measure)} → {text}"
    if base is None or arm.is_baseline:
        return Cell(text, middle)
    found = difference(arm, base, measure)
    return Cell(f"{text} ({_band(found)})" if found.n else text, middle, "warn" if found.damage else "")


def _shown(value: float, measure: Measure) -> str:
    return words.percent(value) if measure.share else f"{value:.1f}" if value >= 10 else f"{value:.2f}"


def _band(found: Difference) -> str:
    """``-12.0 [-17.0, -7.0]``: points of a share, else the measure's own unit."""
    scale, digits = (100.0, 1) if found.measure.share else (1.0, 1 if abs(found.middle) >= 10 else 2)
    low, high = found.band.low, found.band.high
    text = "no interval" if low is None or high is None else f"[{scale * low:.{digits}f}, {scale * high:.{digits}f}]"
    return f"{scale * found.band.value:+.{digits}f} {text}"


def damage_sentence(arm: Arm, combination: Combination) -> str:
    """``Side effects: final accuracy on other-domain -12.0 points [-17.0, -7.0].`` of an arm that is faster; else empty."""
    verdict = arm.speed_ups.get(combination.main_cost)
    if verdict is None or verdict.verdict != "faster":
        return ""
    found = damages(arm, combination.baseline, measures_of(combination))
    if not found:
        return ""
    listed = "; ".join(f"{d.measure.name} {_band(d)}{' (points)' if d.measure.share else ''}" for d in found)
    return f"Faster, but worse in this: {listed}."
