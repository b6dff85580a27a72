"""One section of the page per combination: time to target, accuracy, where the time goes."""

from __future__ import annotations

import math

import numpy as np

from harness.stats import (
    PLATEAU_SHARE,
    reached_share,
)
from harness.types import PHASES
from reports import words
from reports.arms import COMPARED, CPU_SECONDS, SECONDS, TOKENS, Analysis, Arm, Combination
from reports.figures import curves as figures
from reports.figures.style import MOST_IN_FULL, PHASE_COLOURS, css_colour
from reports.page.parts import Cell, Drawer, Picture, Table, strategy_legend
from reports.phase_costs import break_even_rollout_share, busy_shares

#: Processor time below this share of training time is worth a warning (one thread, no accelerator).
BUSY_BELOW = 0.9


def target_notes(analysis: Analysis, combination: Combination) -> list[str]:
    """Where the target comes from and what is wrong with it."""
    target, notes = combination.target, []
    if target.accuracy is not None:
        where = f"Target {words.percent(target.accuracy)} accuracy: {analysis.rule.words}"
        if target.start is not None and target.final is not None:
            where += f" ({words.percent(target.start)} at the first evaluation, {words.percent(target.final)} at the last, medians)"
        rule = "the next evaluation must confirm it" if analysis.rule.crossing == "sustained" else "the first evaluation there counts"
        notes.append(f"{where}; crossing rule “{analysis.rule.crossing}”: {rule}.")
    if target.note:
        notes.append(f"No comparison is possible: {target.note}." if target.accuracy is None else f"Careful: {target.note}.")
    if target.provisional:
        notes.append("The target is provisional: not all baseline runs are complete.")
    plateau = combination.plateau
    if plateau is not None and plateau.flagged:
        moved = "out of the budget" if math.isinf(plateau.shift) else f"by {100 * plateau.shift:.0f} % of the budget"
        notes.append(
            f"Plateau warning: one seed standard deviation ({100 * plateau.deviation:.1f} points"
            f"{'' if plateau.measured else ', assumed'}) moves the baseline's crossing {moved}, more than "
            f"{100 * PLATEAU_SHARE:.0f} %. Time to this target says little.{words.steeper_target([combination], analysis.rule)}"
        )
    if not combination.seconds_comparable:
        notes.append(
            "Seconds are not compared: the runs come from different machines or settings (see Environment). Tokens, rollouts "
            "and steps stay comparable and decide here."
        )
    shares = busy_shares(combination)
    if shares is not None and shares[0] < BUSY_BELOW:
        notes.append(
            f"The machine was busy: of the training time, only {words.percent(shares[0], 0)} to {words.percent(shares[1], 0)} was "
            "processor time, depending on the run, so training seconds also measure what else was running. Compare CPU time (in “All cost "
            "ledgers”), or run fewer at once."
        )
    return notes


def time_to_target_table(analysis: Analysis, combination: Combination) -> Table:
    """Verdict, reach rate, speed-ups and median costs of every strategy."""
    known = [c for c in (SECONDS, TOKENS) if all(a.outcomes.get(c) for a in combination.arms if a.n)]
    ledgers = known or [combination.main_cost]
    short = {combination.main_cost: words.COST_NAMES[combination.main_cost], SECONDS: "time", TOKENS: "tokens"}
    heads = [("strategy", False), ("verdict", False), ("reached", True)]
    heads += [(f"speed-up in {short[c]} [95 %]", True) for c in ledgers]
    heads += [(f"median {short[c]}", True) for c in ledgers] + [("sign test p (Holm)", True)]
    rows = []
    for arm in combination.arms:
        p = arm.p_values.get(combination.main_cost)
        rows.append(
            [
                Cell(arm.strategy, arm.strategy, swatch=analysis.strategies.index(arm.strategy) % 8),
                _verdict_cell(combination, arm),
                _reach_cell(arm),
                *(_speed_up_cell(arm, c, combination.seconds_comparable or c != SECONDS) for c in ledgers),
                *(_median_cell(arm, c) for c in ledgers),
                Cell(words.NO_VALUE if p is None else f"{p:.2g}", p),
            ]
        )
    return Table(f"Cost to reach the target on {combination.name}", heads, rows)


def _verdict_cell(combination: Combination, arm: Arm) -> Cell:
    found = arm.speed_ups.get(combination.main_cost)
    if arm.is_baseline or found is None or found.n == 0:
        return Cell("baseline" if arm.is_baseline else "not compared")
    label = found.verdict + (", upper bound" if arm.oracle else "")
    return Cell(label, kind=found.verdict if found.verdict in ("faster", "slower") else "none")


def _median_cell(arm: Arm, ledger: str) -> Cell:
    if not arm.n or not arm.outcomes.get(ledger):
        return Cell(words.NO_VALUE, None)
    median, least = arm.median_cost(ledger)
    if not any(o.budget for o in arm.outcomes[ledger]):  # nothing of this kind was ever spent: no bound either
        return Cell("none", 0.0)
    return Cell(words.cost_or_bound(median, least, ledger), median)


def _reach_cell(arm: Arm) -> Cell:
    text = f"{arm.reached} of {arm.n}"
    state = words.state_words(arm)
    return Cell(f"{text} ({state})" if state else text, arm.reached / arm.n if arm.n else 0.0, "warn" if state else "")


def _speed_up_cell(arm: Arm, ledger: str, comparable: bool) -> Cell:
    found = arm.speed_ups.get(ledger)
    if arm.is_baseline:
        return Cell("1", 1.0)
    if found is None or found.n == 0:
        return Cell(words.NO_VALUE if comparable else "refused", None)
    text = words.interval(found)
    return Cell(f"{words.speed_up(found)} {text if text.startswith('[') else f'({text})'}", found.at_least)


def all_costs_tables(analysis: Analysis, combination: Combination) -> list[Table]:
    """Median cost to the target on every ledger, and the speed-ups on those that are compared; none where there is only one ledger."""
    ledgers = [c for c in words.COST_NAMES if all(c in a.outcomes and a.outcomes[c] for a in combination.arms if a.n)]
    if len(ledgers) < 2:
        return []
    compared = [c for c in ledgers if c in COMPARED]
    rows, ratios = [], []
    for arm in combination.arms:
        name = Cell(arm.strategy, arm.strategy, swatch=analysis.strategies.index(arm.strategy) % 8)
        rows.append([name, *(_median_cell(arm, c) for c in ledgers)])
        refused = () if combination.seconds_comparable else (SECONDS, CPU_SECONDS)
        ratios.append([name, *(_speed_up_cell(arm, c, c not in refused) for c in compared)])
    heads = [[("strategy", False), *((words.COST_NAMES[c], True) for c in kept)] for kept in (ledgers, compared)]
    return [
        Table(f"Median cost to the target on every ledger, {combination.name}. {words.COST_MODEL}", heads[0], rows),
        Table(
            f"Speed-up over {analysis.baseline} on every ledger that is compared, with its 95 % interval, {combination.name}",
            heads[1],
            ratios,
        ),
    ]


def curve_pictures(analysis: Analysis, combination: Combination, drawer: Drawer) -> list[Picture]:
    """Accuracy against training seconds and against generated tokens."""
    order, pictures = analysis.strategies, []
    wanted = dict.fromkeys((SECONDS, TOKENS, combination.main_cost))
    axes = [c for c in wanted if all(c in r.curve.costs for a in combination.arms for r in a.runs)]
    if not any(len(r.curve.accuracy) > 1 for a in combination.arms for r in a.runs):
        return []
    for cost in axes:
        name = words.COST_NAMES[cost]
        ends = ", ".join(f"{a.strategy} ends at {words.percent(a.final_accuracy)}" for a in combination.arms if a.n)
        picture = drawer.draw(
            f"accuracy-{cost}", f"Accuracy against {name} on {combination.name}",
            f"Lines of accuracy over {name}, one colour per strategy. Target {words.percent(combination.target.accuracy)}. {ends}.",
            f"Accuracy against {name}. {_what_lines_are(combination)}; straight lines between evaluations, no smoothing; dashed: target; "
            "marks: where a run reached it.",
            lambda legend, cost=cost: figures.accuracy_curves(combination, cost, order, legend=legend),  # type: ignore[misc]
        )  # fmt: skip
        picture.legend = strategy_legend([a for a in combination.arms if a.n], order)
        pictures.append(picture)
    return pictures


def _what_lines_are(combination: Combination) -> str:
    if len(combination.arms) > MOST_IN_FULL:
        return "Lines: medians over seeds, whose own lines and bands are left out for so many strategies"
    most = figures.MOST_THIN_LINES
    note = f" (the first {most})" if any(a.n > most for a in combination.arms) else ""
    return f"Thin: seeds{note}; thick: their median; band: from the lowest to the highest seed"


def reach_picture(analysis: Analysis, combination: Combination, drawer: Drawer) -> Picture | None:
    """Share of runs at the target by cost, where some run missed it."""
    arms = [a for a in combination.arms if a.n and a.outcomes.get(combination.main_cost)]
    cost, order = combination.main_cost, analysis.strategies
    outcomes = [o for a in arms for o in a.outcomes[cost]]
    if not outcomes or all(o.reached for o in outcomes) or not any(o.reached for o in outcomes):
        return None
    curves = []
    for arm in arms:
        end = max(o.budget for o in arm.outcomes[cost])
        curves.append((arm.strategy, *reached_share(np.array([o.cost for o in arm.outcomes[cost]])), end))
    picture = drawer.draw(
        "reached", f"Runs that reached the target by cost on {combination.name}",
        "; ".join(f"{a.strategy} {a.reached} of {a.n}" for a in arms) + ".",
        f"Share of all runs at the target by {words.COST_NAMES[cost]}; a run that missed, failed or is unfinished counts as not there, "
        "so each line ends at the reach rate.",
        lambda legend: figures.reached_over_cost(curves, cost, order, legend=legend),
    )  # fmt: skip
    picture.legend = strategy_legend(arms, order)
    return picture


def phase_section(analysis: Analysis, combination: Combination, drawer: Drawer) -> tuple[Picture | None, Table]:
    """Seconds per step by phase, as bars and as numbers, with the rollout share and where replay would break even."""
    arms = [a for a in combination.arms if any(len(r.steps["step"]) for r in a.runs)]
    order, rows = analysis.strategies, []
    for arm in arms:
        found = arm.phase_seconds_per_step
        share = arm.rollout_share
        even = break_even_rollout_share(combination.baseline, arm) if combination.baseline and not arm.is_baseline else None
        rows.append(
            [
                Cell(arm.strategy, arm.strategy, swatch=order.index(arm.strategy) % 8),
                *(Cell(f"{found[p]:.3f}", found[p]) for p in PHASES),
                Cell(f"{sum(found.values()):.3f}", sum(found.values())),
                Cell(words.percent(share, 0), share),
                Cell(words.percent(even, 0), even),
            ]
        )
    heads = [("strategy", False), *((p.replace("_", "-"), True) for p in PHASES)]
    heads += [("sum", True), ("rollout share", True), ("break-even rollout share", True)]
    table = Table(f"Seconds per training step by phase, {combination.name}", heads, rows)
    if not arms:
        return None, table
    parts = "; ".join(f"{a.strategy}: rollouts {words.percent(a.rollout_share, 0)}" for a in arms)
    picture = drawer.draw(
        "phases", f"Where a training step's time goes on {combination.name}", f"Stacked bars per strategy. {parts}.",
        "Seconds per training step, by phase.", lambda legend: figures.phases(arms, legend=legend),
    )  # fmt: skip
    picture.legend = [(p.replace("_", "-"), f"fill:{css_colour(c)}") for p, c in zip(PHASES, PHASE_COLOURS, strict=True)]
    return picture, table
