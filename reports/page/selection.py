"""What selection and replay did on one combination."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from reports import words
from reports.arms import Analysis, Arm, Combination
from reports.figures import selection as figures
from reports.figures.style import AGE_COLOURS, PASS_RATE_COLOURS, RATIO_COLOURS, css_colour
from reports.page.parts import Cell, Drawer, Picture, Table, strategy_legend
from reports.run_columns import PASS_RATE_CLASSES, RATIO_CLASSES, STALENESS_CLASSES

CHOSEN = (
    "non-degenerate groups", "different questions", "share of the pool", "predictor Pearson", "predictor Spearman",
    "predictor mean error", "calibration error",
)  # fmt: skip
#: Height of an ordinary figure with its caption: a taller one stands beside several.
ROW_INCHES = 3.6

REPLAYED = ("replayed groups", "mean staleness", "oldest", "importance ratio", "largest |log-ratio|, fresh")


def selection_section(analysis: Analysis, combination: Combination, drawer: Drawer) -> tuple[list[Picture], list[Table]]:
    """What the selectors chose and what replay did."""
    order = analysis.strategies
    arms = [a for a in combination.arms if any(len(r.steps["step"]) for r in a.runs)]
    if not arms:
        return [], []
    tables = [
        Table(f"What {what} did, {combination.name}", [("strategy", False), *((h, True) for h in heads)], [row(a, order) for a in arms])
        for what, heads, row in (("selection", CHOSEN, _chosen_row), ("replay", REPLAYED, _replayed_row))
    ]
    pictures = _chosen(combination, arms, order, drawer)
    pictures += _predicted(combination, arms, order, drawer)
    pictures += _replayed(combination, arms, drawer)
    return pictures, tables


def _chosen(combination: Combination, arms: list[Arm], order: Sequence[str], drawer: Drawer) -> list[Picture]:
    shares = "; ".join(f"{a.strategy} {words.percent(a.step_mean('non_degenerate_share'), 0)}" for a in arms)
    useful = drawer.draw(
        "non-degenerate", f"Share of groups that carry gradient on {combination.name}", f"Lines over training steps. Means: {shares}.",
        f"Share of non-degenerate groups, mean over seeds, running mean of {figures.SMOOTHING} steps.",
        lambda legend: figures.non_degenerate(arms, order, legend=legend),
    )  # fmt: skip
    useful.legend = strategy_legend(arms, order)
    rates = drawer.draw(
        "pass-rates", f"Pass rates of the fresh groups on {combination.name}",
        "Stacked bars per strategy and quarter of training. The first and the last class carry no gradient.",
        "Pass rates of the fresh groups, four quarters of training from top to bottom. Grey ends carry no gradient.",
        lambda legend: figures.pass_rates(arms, legend=legend),
    )  # fmt: skip
    rates.legend = _fills(PASS_RATE_CLASSES, PASS_RATE_COLOURS)
    rates.rows = max(1, round(figures.pass_rates_height(len(arms)) / ROW_INCHES))
    seen = "; ".join(f"{a.strategy} {_different(a):.0f}" for a in arms)
    covered = drawer.draw(
        "coverage", f"Coverage of the pool on {combination.name}", f"Lines over training steps. Different questions at the end: {seen}.",
        "Different questions rolled out so far (mean over seeds), as a share of the pool where its size is recorded.",
        lambda legend: figures.coverage(arms, order, legend=legend),
    )  # fmt: skip
    covered.legend = strategy_legend(arms, order)
    return [useful, rates, covered]


def _predicted(combination: Combination, arms: list[Arm], order: Sequence[str], drawer: Drawer) -> list[Picture]:
    pictures = []
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
    checked = [a for a in arms if figures.calibration_error(a) is not None]
    if checked:
        errors = "; ".join(f"{a.strategy} {words.number(figures.calibration_error(a))}" for a in checked)
        picture = drawer.draw(
            "calibration", f"Calibration of the predictor on {combination.name}", f"Expected calibration error: {errors}.",
            "Reliability: observed pass rate of the questions in each tenth of the predicted one, all checks and seeds together; "
            "size of a mark: how many questions; dashed: perfect.",
            lambda legend: figures.reliability(checked, order, legend=legend),
        )  # fmt: skip
        picture.legend = strategy_legend(checked, order)
        pictures.append(picture)
    return pictures


def _replayed(combination: Combination, arms: list[Arm], drawer: Drawer) -> list[Picture]:
    pictures = []
    aged = [a for a in arms if sum(r.replayed_ages.sum() for r in a.runs)]
    if aged:
        text = "; ".join(f"{a.strategy} {words.number(a.step_mean('mean_staleness'), 1)} steps" for a in aged)
        picture = drawer.draw(
            "staleness", f"Age of the replayed groups on {combination.name}", f"Stacked bars per strategy. Means: {text}.",
            "Age of the replayed groups in training steps, all steps and seeds together.",
            lambda legend: figures.shares(
                aged, lambda r: r.replayed_ages, STALENESS_CLASSES, AGE_COLOURS, "share of replayed groups by age", legend=legend
            ),
        )  # fmt: skip
        picture.legend = _fills(STALENESS_CLASSES, AGE_COLOURS)
        pictures.append(picture)
    weighed = [a for a in arms if sum(r.ratio_classes.sum() for r in a.runs)]
    if weighed:
        text = "; ".join(f"{a.strategy} {words.percent(_near_one(a), 0)} within 5 % of 1" for a in weighed)
        picture = drawer.draw(
            "ratios", f"Importance ratios of replayed tokens on {combination.name}", f"Stacked bars per strategy. {text}.",
            "Importance ratio (policy at the start of the update over behaviour policy) of replayed tokens, before any cap.",
            lambda legend: figures.shares(
                weighed, lambda r: r.ratio_classes, RATIO_CLASSES, RATIO_COLOURS, "share of replayed tokens by ratio", legend=legend
            ),
        )  # fmt: skip
        picture.legend = _fills(RATIO_CLASSES, RATIO_COLOURS)
        pictures.append(picture)
    return pictures


def _fills(classes: Sequence[str], colours: Sequence[str]) -> list[tuple[str, str]]:
    return [(name, f"fill:{css_colour(colour)}") for name, colour in zip(classes, colours, strict=True)]


def _near_one(arm: Arm) -> float:
    counts = np.sum([r.ratio_classes for r in arm.runs], axis=0)
    return float(counts[len(counts) // 2] / counts.sum())


def _different(arm: Arm) -> float:
    return float(np.median([r.distinct_questions for r in arm.runs]))


def _chosen_row(arm: Arm, order: Sequence[str]) -> list[Cell]:
    share = arm.step_mean("non_degenerate_share")
    different, chosen = _different(arm), float(np.median([r.selected_questions for r in arm.runs]))
    pool = max((r.pool_size for r in arm.runs if r.pool_size), default=None)
    covered = different / pool if pool else None
    pearson, spearman, error = (arm.predictor_mean(name) for name in ("pearson", "spearman", "mae"))
    calibration = figures.calibration_error(arm)
    return [
        Cell(arm.strategy, arm.strategy, swatch=order.index(arm.strategy) % 8),
        Cell(words.percent(share), share),
        Cell(f"{different:.0f} in {chosen:.0f} draws" if chosen else words.NO_VALUE, different),
        Cell(words.percent(covered, 0), covered),
        Cell(words.number(pearson), pearson),
        Cell(words.number(spearman), spearman),
        Cell(words.number(error), error),
        Cell(words.number(calibration), calibration),
    ]


def _replayed_row(arm: Arm, order: Sequence[str]) -> list[Cell]:
    replayed, stale = arm.step_mean("replayed_groups"), arm.step_mean("mean_staleness")
    ratio = {k: [r.importance_ratio[k] for r in arm.runs if k in r.importance_ratio] for k in ("mean", "max")}
    text = f"{np.mean(ratio['mean']):.2f}, largest {max(ratio['max']):.1f}" if ratio["mean"] and ratio["max"] else words.NO_VALUE
    fresh = max((r.fresh_log_ratio for r in arm.runs if r.fresh_log_ratio is not None), default=None)
    oldest = max((r.staleness_max for r in arm.runs), default=0)
    return [
        Cell(arm.strategy, arm.strategy, swatch=order.index(arm.strategy) % 8),
        Cell(f"{replayed:.1f} a step" if replayed else "none", replayed or 0.0),
        Cell(words.number(stale, 1), stale),
        Cell(f"{oldest} steps" if oldest else words.NO_VALUE, float(oldest)),
        Cell(text, max(ratio["max"], default=None)),
        Cell(words.NO_VALUE if fresh is None else f"{fresh:.1e}", fresh),
    ]
