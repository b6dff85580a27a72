"""The rows of ``results.csv`` and ``curves.csv``, and the summary that a command line prints: plain data, stable order."""

from __future__ import annotations

import csv
import io
import math
from collections.abc import Callable, Iterable, Sequence
from statistics import median
from typing import Any

from harness.stats import COST_LEDGERS, SpeedUp
from reports import words
from reports.arms import COMPARED, Analysis, Arm, Combination, fit_of
from reports.evaluation_columns import COMPLETIONS
from reports.run_columns import Array
from reports.side_effects import damages, measures_of

Row = dict[str, Any]

#: Cost ledgers in the columns ``median_<ledger>`` of results.csv.
MEDIANS = tuple(c for c in COST_LEDGERS if c != "forward_tokens")


def result_rows(analysis: Analysis) -> list[Row]:
    """One row per combination and strategy; empty cells where there is nothing to say, ``inf`` for a missed target."""
    return [_result_row(c, a, analysis) for c in analysis.combinations for a in c.arms]


def _result_row(combination: Combination, arm: Arm, analysis: Analysis) -> Row:
    main = arm.speed_ups.get(combination.main_cost)
    row: Row = {
        "combination": combination.name,
        "strategy": arm.strategy,
        "baseline": analysis.baseline,
        "uncharged_oracle": arm.oracle,
        "n": arm.n,
        "pairs": main.n if main is not None else None,
        "reached": arm.reached,
        "reach_rate": arm.reached / arm.n if arm.n else None,
        "failed": arm.count("failed"),
        "unfinished": arm.count("unfinished"),
        "crashed": arm.count("crashed"),
        "missing": arm.count("missing"),
        "target": combination.target.accuracy,
        "target_rule": analysis.rule.words,
        "crossing": analysis.rule.crossing,
        "plateau": combination.plateau.flagged if combination.plateau is not None else None,
        "seconds_comparable": combination.seconds_comparable,
    }
    for ledger in MEDIANS:
        row[f"median_{ledger}"] = arm.median_cost(ledger)[0] if arm.outcomes.get(ledger) else None
    row["compared_on"] = combination.main_cost if main is not None else None
    row |= _speed_up_cells(main, "")
    row["time_saved_percent"] = words.saved(main) if main is not None else None
    row["verdict"] = main.verdict if main is not None else None
    for ledger in COMPARED:
        row |= _speed_up_cells(arm.speed_ups.get(ledger), f"_{ledger}")
    row |= _price_cells(arm, analysis)
    row |= _fit_cells(arm, combination.main_cost)
    row |= _side_effect_cells(arm, combination)
    row["probability_of_improvement"] = arm.improvement.value if arm.improvement is not None else None
    row["sign_test_p_holm"] = arm.p_values.get(combination.main_cost)
    row["final_accuracy_median"] = arm.final_accuracy
    row["non_degenerate_share"] = arm.step_mean("non_degenerate_share")
    row["predictor_pearson"] = arm.predictor_mean("pearson")
    row["predictor_spearman"] = arm.predictor_mean("spearman")
    ratios = [r.importance_ratio for r in arm.runs]
    row["importance_ratio_mean"] = _over([r["mean"] for r in ratios if "mean" in r], lambda v: sum(v) / len(v))
    row["importance_ratio_max"] = _over([r["max"] for r in ratios if "max" in r], max)
    row["rollout_share"] = arm.rollout_share
    row["seconds_per_step"] = arm.step_mean("seconds")
    row["one_off_seconds"] = arm.one_off_seconds
    row["oracle_rollouts"] = sum(r.oracle_rollouts for r in arm.runs)
    row["lost_seconds"] = sum(r.lost_seconds for r in arm.runs)
    return row


def _over(values: list[float], statistic: Callable[[list[float]], float]) -> float | None:
    return statistic(values) if values else None


def _speed_up_cells(found: SpeedUp | None, suffix: str) -> Row:
    """Estimate, bounds and interval; the estimate is empty where only bounds are known."""
    if found is None or found.n == 0:
        return {f"{name}{suffix}": None for name in ("speedup", "at_least", "at_most", "low", "high")}
    return {
        f"speedup{suffix}": found.estimate,
        f"at_least{suffix}": found.at_least,
        f"at_most{suffix}": found.at_most,
        f"low{suffix}": found.low,
        f"high{suffix}": found.high,
    }


def _fit_cells(arm: Arm, ledger: str) -> Row:
    """The saturating curve on the deciding ledger: where the arm heads for, and the cost at which it is half-way there."""
    fit = fit_of(arm, ledger)
    bands = {"asymptote": fit.asymptote if fit is not None else None, "half_way_cost": fit.middle if fit is not None else None}
    return {
        f"{name}{suffix}": getattr(band, field) if band is not None else None
        for name, band in bands.items()
        for suffix, field in (("", "value"), ("_low", "low"), ("_high", "high"))
    }


def _side_effect_cells(arm: Arm, combination: Combination) -> Row:
    """Medians at the end of complete runs, of what was recorded, and the names of what is surely worse than the baseline's."""
    found = [r.evaluations for r in arm.runs if r.state == "complete"]

    def middle(values: Iterable[float | None]) -> float | None:
        return _over([v for v in values if v is not None], median)

    row: Row = {"samples_per_question": middle(e.samples for e in found), "pass_at_k": middle(_last(e.pass_at_k) for e in found)}
    for key in COMPLETIONS:
        row[f"completion_{key}"] = middle([_last(e.completions.get(key)) for e in found])
    row["easy_questions"] = middle(e.easy_questions for e in found)
    row["easy_accuracy"] = middle(e.easy_accuracy for e in found)
    row["worse_than_baseline"] = "; ".join(d.measure.name for d in damages(arm, combination.baseline, measures_of(combination)))
    return row


def _last(values: Array | None) -> float | None:
    return None if values is None else float(values[-1])


def _price_cells(arm: Arm, analysis: Analysis) -> Row:
    """Speed-up, interval and verdict at every price (columns ``…_price_5``), and the break-even price with its interval."""
    row: Row = {}
    for prices in analysis.prices:
        found = arm.speed_ups.get(prices.ledger)
        suffix = f"_{prices.ledger.replace(':', '_')}"
        row |= _speed_up_cells(found, suffix)
        row[f"verdict{suffix}"] = found.verdict if found is not None and found.n else None
    curve = arm.price_curve
    between = curve.undecided if curve is not None else None
    row["break_even_price"] = curve.break_even if curve is not None else None
    row["break_even_low"], row["break_even_high"] = between if between is not None else (None, None)
    row["cheaper"] = curve.cheaper if curve is not None else None
    return row


def curves_csv(analysis: Analysis) -> str:
    """One row per evaluation of each run, with every cost up to there; written by column, there can be very many."""
    runs = analysis.runs
    costs = [c for c in COST_LEDGERS if any(c in r.curve.costs for r in runs)]
    drifting = [k for k in COMPLETIONS if any(k in r.evaluations.completions for r in runs)]
    with_k = any(r.evaluations.pass_at_k is not None for r in runs)
    diagnostics = [k for k in ("pearson", "spearman", "mae") if any(k in r.predictor for r in runs)]
    names = ["combination", "strategy", "seed", "run_id", "state", "step", "accuracy", *costs]
    names += [f"predictor_{k}" for k in diagnostics] + [f"completion_{k}" for k in drifting] + ["pass_at_k"] * with_k
    lines = [",".join(names)]
    for run in runs:
        points = len(run.curve.accuracy)
        label = io.StringIO()
        csv.writer(label, lineterminator="").writerow([_cell(v) for v in (run.combination, run.strategy, run.seed, run.run_id, run.state)])
        columns = [[label.getvalue()] * points, [str(int(s)) for s in run.eval_steps], _numbers(run.curve.accuracy)]
        columns += [_numbers(run.curve.costs[c]) if c in run.curve.costs else [""] * points for c in costs]
        columns += [_numbers(run.predictor[k]) if k in run.predictor else [""] * points for k in diagnostics]
        columns += [_optional(run.evaluations.completions.get(k), points) for k in drifting]
        columns += [_optional(run.evaluations.pass_at_k, points)] * with_k
        lines += [",".join(row) for row in zip(*columns, strict=True)]
    return "\r\n".join([*lines, ""])


def _optional(values: Array | None, points: int) -> list[str]:
    return [""] * points if values is None else _numbers(values)


def _numbers(values: Array) -> list[str]:
    return ["" if v != v else f"{v:.10g}" for v in values.tolist()]


def to_csv(rows: Iterable[Row]) -> str:
    """RFC 4180 text with the union of the rows' columns, in order of appearance."""
    rows = list(rows)
    columns = list(dict.fromkeys(name for row in rows for name in row))
    buffer = io.StringIO()
    writer = csv.writer(buffer, lineterminator="\r\n")
    writer.writerow(columns)
    writer.writerows([_cell(row.get(name)) for name in columns] for row in rows)
    return buffer.getvalue()


def _cell(value: Any) -> str:
    if value is None or (isinstance(value, float) and math.isnan(value)):
        return ""
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, float):
        return "inf" if math.isinf(value) else f"{value:.10g}"
    if isinstance(value, int):
        return str(value)
    text = str(value)
    # A spreadsheet would run a label that starts like a formula.
    return f"'{text}" if text[:1] in ("=", "+", "-", "@", "\t", "\r") else text


def summary_rows(analysis: Analysis) -> list[Row]:
    """What a command line prints after ``run``: one row of plain data per combination and strategy.

    Keys: combination, strategy, runs, reached, target, time_to_target (words), final_accuracy, non_degenerate_share,
    predictor_pearson, rollout_share, speedup (words), interval (words), verdict.
    """
    return [_summary_row(c, a) for c in analysis.combinations for a in c.arms]


def _summary_row(combination: Combination, arm: Arm) -> Row:
    found = arm.speed_ups.get(combination.main_cost)
    verdict = "baseline" if arm.is_baseline else found.verdict if found is not None and found.n else "not compared"
    state = words.state_words(arm)
    return {
        "combination": combination.name,
        "strategy": arm.strategy,
        "runs": f"{arm.n} ({state})" if state else str(arm.n),
        "reached": f"{arm.reached}/{arm.n}",
        "target": combination.target.accuracy,
        "time_to_target": words.cost_or_bound(*arm.median_cost(combination.main_cost), combination.main_cost) if arm.n else words.NO_VALUE,
        "final_accuracy": arm.final_accuracy,
        "non_degenerate_share": arm.step_mean("non_degenerate_share"),
        "predictor_pearson": arm.predictor_mean("pearson"),
        "rollout_share": arm.rollout_share,
        "speedup": words.speed_up(found) if found is not None and found.n else words.NO_VALUE,
        "interval": words.interval(found) if found is not None and found.n else words.NO_VALUE,
        "verdict": verdict + (" (upper bound, labels not charged)" if arm.oracle else ""),
    }


def verdicts(analysis: Analysis) -> Sequence[str]:
    """Every sentence of the verdict, overall first."""
    found = [words.overall_sentence(o, analysis) for o in analysis.overall] if len(analysis.combinations) > 1 else []
    for combination in analysis.combinations:
        found += [words.verdict_sentence(combination, a, analysis.baseline) for a in combination.arms if not a.is_baseline]
    return found
