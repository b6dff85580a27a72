"""Sooner and higher kept apart: where each arm heads for, and at what cost it is half-way there."""

from __future__ import annotations

from harness.stats import Band, SaturatingFit
from reports import words
from reports.arms import Analysis, Combination, fit_of
from reports.page.parts import Cell, Table


def sooner_or_higher_table(analysis: Analysis, combination: Combination) -> Table | None:
    """One row per arm with a fit; None where no arm has one."""
    ledger = combination.main_cost
    fits = [(arm, fit) for arm in combination.arms if (fit := fit_of(arm, ledger)) is not None]
    if not fits:
        return None
    rows = [
        [
            Cell(arm.strategy, arm.strategy, swatch=analysis.strategies.index(arm.strategy) % 8),
            Cell(_accuracy(fit) + (" (extrapolated)" if fit.beyond else ""), fit.asymptote.value, "warn" if fit.beyond else ""),
            Cell(_cost(fit.middle, ledger), fit.middle.value),
            Cell(words.number(fit.sharpness, 1), fit.sharpness),
            Cell(f"{100 * fit.error:.1f} points", fit.error),
        ]
        for arm, fit in fits
    ]
    heads = [("strategy", False), ("heads for accuracy A [95 %]", True), (f"half-way at {words.COST_NAMES[ledger]} [95 %]", True),
             ("sharpness B", True), ("error of the fit", True)]  # fmt: skip
    caption = (
        "Sooner or higher: R(C) = R₀ + (A − R₀) / (1 + (C_mid/C)^B) through all evaluations of the complete runs, intervals from redrawing "
        "runs. A larger A is a higher end, a smaller C_mid an earlier rise; a crossing of one target mixes the two. A is an extrapolation "
        "where the runs end far below it."
    )
    return Table(caption, heads, rows)


def _accuracy(fit: SaturatingFit) -> str:
    low, high = fit.asymptote.low, fit.asymptote.high
    brackets = f" [{100 * low:.1f}, {100 * high:.1f}]" if low is not None and high is not None else ""
    return f"{words.percent(fit.asymptote.value)}{brackets}"


def _cost(band: Band, ledger: str) -> str:
    brackets = (
        f" [{words.cost(band.low, ledger)}, {words.cost(band.high, ledger)}]" if band.low is not None and band.high is not None else ""
    )
    return f"{words.cost(band.value, ledger)}{brackets}"
