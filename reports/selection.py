"""What selection and replay did on one combination."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from reports import figures, words
from reports.analysis import Analysis, Arm, Combination
from reports.parts import Cell, Drawer, Picture, Table, strategy_legend
from reports.records import PASS_RATE_CLASSES
from reports.style import PASS_RATE_COLOURS, css_colour


def selection_section(analysis: Analysis, combination: Combination, drawer: Drawer) -> tuple[list[Picture], Table]:
    """What the selectors chose and what replay did."""
    order = analysis.strategies
    arms = [a for a in combination.arms if any(len(r.steps["step"]) for r in a.runs)]
    rows = [_selection_row(a, order) for a in arms]
    heads = [
        "non-degenerate groups",
        "predictor Pearson",
        "predictor Spearman",
        "predictor mean error",
        "different questions",
        "replayed groups",
        "mean staleness",
        "oldest",
        "importance ratio",
        "largest |log-ratio|, fresh",
    ]
    table = Table(f"What selection and replay did, {combination.name}", [("strategy", False), *((h, True) for h in heads)], rows)
    pictures = []
    if arms:
        shares = "; ".join(f"{a.strategy} {words.percent(a.step_mean('non_degenerate_share'), 0)}" for a in arms)
        picture = drawer.draw(
            "non-degenerate", f"Share of groups that carry gradient on {combination.name}", f"Lines over training steps. Means: {shares}.",
            f"Share of non-degenerate groups, mean over seeds, running mean of {figures.SMOOTHING} steps.",
            lambda legend: figures.non_degenerate(arms, order, legend=legend),
        )  # fmt: skip
        picture.legend = strategy_legend(arms, order)
        pictures.append(picture)
        picture = drawer.draw(
            "pass-rates", f"Pass rates of the fresh groups on {combination.name}",
            "Stacked bars per strategy and quarter of training. The first and the last class carry no gradient.",
            "Pass rates of the fresh groups, four quarters of training from top to bottom. Grey ends carry no gradient.",
            lambda legend: figures.pass_rates(arms, legend=legend),
        )  # fmt: skip
        picture.legend = [(n, f"fill:{css_colour(c)}") for n, c in zip(PASS_RATE_CLASSES, PASS_RATE_COLOURS, strict=True)]
        pictures.append(picture)
    predicting = [a for a in arms if a.predictor_mean("pearson") is not None]
    if predicting:
        means = "; ".join(f"{a.strategy} {words.number(a.predictor_mean('pearson'))}" for a in predicting)
        picture = drawer.draw(
            "predictor", f"Predicted against observed pass rates on {combination.name}", f"Lines over steps. Means: {means}.",
            "Pearson correlation of predicted with observed pass rates on questions the predictor never saw; lines: mean over seeds.",
            lambda legend: figures.predictor(predicting, order, legend=legend),
        )  # fmt: skip
        picture.legend = strategy_legend(predicting, order)
        pictures.append(picture)
    return pictures, table


def _selection_row(arm: Arm, order: Sequence[str]) -> list[Cell]:
    share = arm.step_mean("non_degenerate_share")
    pearson, spearman, error = (arm.predictor_mean(name) for name in ("pearson", "spearman", "mae"))
    different = float(np.median([r.distinct_questions for r in arm.runs]))
    chosen = float(np.median([r.selected_questions for r in arm.runs]))
    replayed, stale = arm.step_mean("replayed_groups"), arm.step_mean("mean_staleness")
    ratio = {k: [r.importance_ratio[k] for r in arm.runs if k in r.importance_ratio] for k in ("mean", "max")}
    told = f"{np.mean(ratio['mean']):.2f}, largest {max(ratio['max']):.1f}" if ratio["mean"] and ratio["max"] else words.NO_VALUE
    fresh = max((r.fresh_log_ratio for r in arm.runs if r.fresh_log_ratio is not None), default=None)
    oldest = max((r.staleness_max for r in arm.runs), default=0)
    return [
        Cell(arm.strategy, arm.strategy, swatch=order.index(arm.strategy) % 8),
        Cell(words.percent(share), share),
        Cell(words.number(pearson), pearson),
        Cell(words.number(spearman), spearman),
        Cell(words.number(error), error),
        Cell(f"{different:.0f} in {chosen:.0f} draws" if chosen else words.NO_VALUE, different),
        Cell(f"{replayed:.1f} a step" if replayed else "none", replayed or 0.0),
        Cell(words.number(stale, 1), stale),
        Cell(f"{oldest} steps" if oldest else words.NO_VALUE, float(oldest)),
        Cell(told, max(ratio["max"], default=None)),
        Cell(words.NO_VALUE if fresh is None else f"{fresh:.1e}", fresh),
    ]
