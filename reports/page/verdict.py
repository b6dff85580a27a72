"""The top of the page: what may be claimed, how sure it is, and the pictures that show it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from harness.stats import (
    LEAST_PAIRS,
    PLATEAU_SHARE,
    SpeedUp,
    performance_profile,
)
from reports import words
from reports.arms import COMPARED, SECONDS, TOKENS, Analysis, Arm, Overall
from reports.figures import curves as figures
from reports.page.data_used import mismatches
from reports.page.nothing_learned import nothing_learned
from reports.page.parts import Cell, Drawer, Picture, Table
from reports.page.regime import no_headroom
from reports.page.side_effects import damage_sentence

#: More cards than this are a wall: then only what is faster or slower has one, the rest is a list.
MOST_CARDS = 9


def verdict_cards(analysis: Analysis) -> list[dict[str, Any]]:
    """One card per strategy, across combinations if there are several: what may be claimed, with interval and n."""
    if len(analysis.combinations) > 1:
        return [_overall_card(item, analysis) for item in analysis.overall]
    return [
        _card(arm.strategy, combination.name, [arm], arm.speed_ups.get(combination.main_cost), analysis)
        | {"sentence": words.verdict_sentence(combination, arm, analysis.baseline), "oracle": arm.oracle}
        | {"prices": words.price_sentence(arm.speed_ups, analysis.prices, arm), "damage": damage_sentence(arm, combination)}
        for combination in analysis.combinations
        for arm in combination.arms
        if not arm.is_baseline
    ]


def _overall_card(item: Overall, analysis: Analysis) -> dict[str, Any]:
    found = next((item.speed_ups[c] for c in COMPARED if c in item.speed_ups), None)
    arms = [a for a in analysis.arms if a.strategy == item.strategy and a.runs]
    card = _card(item.strategy, words.where_of(item, analysis), arms, found, analysis)
    prices = words.price_sentence(item.speed_ups, analysis.prices, item)
    suffered = [
        f"{c.name}: {sentence}"
        for c in analysis.combinations
        for a in c.arms
        if a.strategy == item.strategy and (sentence := damage_sentence(a, c))
    ]
    more = {"oracle": item.oracle, "prices": prices, "damage": " ".join(suffered)}
    return card | {"sentence": words.overall_sentence(item, analysis), **more}


def _card(strategy: str, where: str, arms: Sequence[Arm], found: SpeedUp | None, analysis: Analysis) -> dict[str, Any]:
    compared = found if found is not None and found.n else None
    verdict = compared.verdict if compared is not None else "not compared"
    return {
        "strategy": strategy,
        "swatch": analysis.strategies.index(strategy) % 8,
        "where": where,
        "verdict": verdict,
        "kind": verdict if verdict in ("faster", "slower") else "none",
        "estimate": words.estimate(arms, compared) if compared is not None else words.NO_VALUE,
    }


def headline(cards: Sequence[Mapping[str, Any]]) -> str:
    """``Of 5 strategies 1 is faster (grpo-lean), none is slower, 3 show no difference, 1 is not compared.``; empty for a single one.

    An oracle is no strategy that one could use, so it is not counted.
    """
    usable = [c for c in cards if not c["oracle"]]
    if len(usable) < 2:
        return ""
    said = []
    for kind in ("faster", "slower"):
        names = [c["strategy"] for c in usable if c["kind"] == kind]
        said.append(f"{len(names)} {'are' if len(names) > 1 else 'is'} {kind} ({', '.join(names)})" if names else f"none is {kind}")
    aside = sum(c["verdict"] == "not compared" for c in usable)
    few = sum(c["verdict"].startswith("undecided") for c in usable)
    alike = sum(c["kind"] == "none" for c in usable) - aside - few
    if alike:
        said.append(f"{alike} show{'s' if alike == 1 else ''} no difference")
    if few:
        said.append(f"{few} {'are' if few > 1 else 'is'} undecided, with fewer than {LEAST_PAIRS} pairs")
    if aside:
        said.append(f"{aside} {'are' if aside > 1 else 'is'} not compared")
    return f"Of {len(usable)} strategies {', '.join(said)}."


#: Said on the page, and in one word on every figure, of runs whose policy is the simulator's.
SIMULATED = (
    "Simulated, not measured: the policy of these runs is a set of latent skills, no language model. Use it to choose what is worth "
    "running and how many seeds that needs; do not quote it as a result."
)


def is_simulated(analysis: Analysis) -> bool:
    """Whether any run on the page was made by the simulator."""
    return any(run.spec.get("combination", {}).get("backend") == "simulator" for run in analysis.runs)


def alarms(analysis: Analysis) -> list[str]:
    """What must be read before the verdict: other questions or weights, nothing learned, no headroom, targets on a plateau."""
    found = [SIMULATED] if is_simulated(analysis) else []
    found += [sentence for c in analysis.combinations for sentence in mismatches(c)]
    found += [sentence for a in analysis.arms if (sentence := nothing_learned(a))]
    found += [sentence] if (sentence := no_headroom(analysis)) else []
    flat = [c.name for c in analysis.combinations if c.plateau is not None and c.plateau.flagged]
    if flat:
        found.append(
            f"Plateau: the baseline is nearly flat at the target on {', '.join(flat)}, so one seed's scatter moves its crossing by more "
            f"than {100 * PLATEAU_SHARE:.0f} % of the budget, and time to the target says little there."
            f"{words.steeper_target(analysis.combinations, analysis.rule)}"
        )
    return found


def overall_table(analysis: Analysis) -> Table | None:
    """All combinations together: speed-ups, probability of improvement, corrected p; None where there is nothing to compare."""
    rows = []
    for item in analysis.overall:
        if not item.speed_ups:
            continue
        better = item.improvement
        interval = f" [{better.low:.2f}, {better.high:.2f}]" if better.low is not None and better.high is not None else " no interval"
        cells = [Cell(item.strategy, item.strategy, swatch=analysis.strategies.index(item.strategy) % 8)]
        for ledger in (SECONDS, TOKENS):
            found = item.speed_ups.get(ledger)
            text = f"{words.speed_up(found)} {words.interval(found)}" if found is not None and found.n else words.NO_VALUE
            cells.append(Cell(text, found.at_least if found is not None and found.n else None))
        cells.append(Cell(words.break_even(item), item.price_curve.break_even if item.price_curve is not None else None))
        cells += [Cell(f"{better.value:.2f}{interval}", better.value), Cell(f"{item.p_value:.2g}", item.p_value)]
        rows.append(cells)
    heads = [("strategy", False), ("speed-up in time [95 %]", True), ("speed-up in tokens [95 %]", True),
             ("break-even μ [95 %]", True), ("probability of improvement [95 %]", True), ("sign test p (Holm)", True)]  # fmt: skip
    many = len(analysis.combinations) > 1
    caption = (
        f"{'All combinations together' if many else 'Summary'}. Speed-up: {'interquartile mean' if many else 'median'} of the pairs. "
        "Probability of improvement: that a run of the strategy costs less than one of the baseline, whatever their seeds "
        "(mean over combinations, misses lose)."
    )
    return Table(caption, heads, rows) if rows else None


def overview_pictures(analysis: Analysis, drawer: Drawer) -> list[Picture]:
    """Forest plot of all comparisons; with several strategies a performance profile; runs that reached the target by cost."""
    order, pictures = analysis.strategies, []
    compared = [(c, a) for c in analysis.combinations for a in c.arms if c.main_cost in a.speed_ups and a.speed_ups[c.main_cost].n]
    if compared:
        text = "; ".join(f"{a.strategy} on {c.name} {words.headline(a.speed_ups[c.main_cost], c.main_cost)}" for c, a in compared)
        pictures.append(
            drawer.draw(
                "speed-ups",
                "Speed-up of every strategy with its 95 % interval",
                text + ".",
                "Speed-up against the baseline with 95 % intervals (bounds where runs missed the target); right of 1 is cheaper. "
                "An arrow means that the interval is open on that side.",
                lambda _: figures.forest(analysis.combinations, order),
            )
        )
    profile = _profile(analysis)
    if profile is not None:
        labels, found = profile
        picture = drawer.draw(
            "profile", "Performance profile", "Share of problems solved within a factor of the cheapest strategy.",
            "Performance profile (Dolan and Moré): share of problems, each one seed of one combination, on which a strategy reached "
            "the target within this factor of the cheapest strategy; band: 95 %, of up to eight strategies.",
            lambda legend: figures.profile(found, labels, order, legend=legend),
        )  # fmt: skip
        picture.legend = [(label, f"s{order.index(label) % 8}") for label in labels]
        pictures.append(picture)
    return pictures


def _profile(analysis: Analysis) -> tuple[list[str], Any] | None:
    """Problems that every strategy has a run of; None where there are fewer than three."""
    labels = [s for s in analysis.strategies if not all(a.oracle for a in analysis.arms if a.strategy == s)]
    if len(labels) < 2:
        return None
    costs, strata = [], []
    for index, combination in enumerate(analysis.combinations):
        arms = {a.strategy: a for a in combination.arms}
        if any(label not in arms or arms[label].oracle for label in labels):
            continue
        by_seed = [
            {r.seed: o.cost for r, o in zip(arms[s].runs, arms[s].outcomes.get(combination.main_cost, []), strict=False)} for s in labels
        ]
        for seed in sorted(set.intersection(*(set(b) for b in by_seed))):
            costs.append([b[seed] for b in by_seed])
            strata.append(index)
    if len(costs) < 3:
        return None
    table = np.array(costs)
    finite = np.isfinite(table)
    ratios = (table / np.where(finite.any(axis=1), np.where(finite, table, np.inf).min(axis=1), 1.0)[:, None])[finite]
    largest = float(np.clip(np.nanmax(ratios, initial=1.0) * 1.1, 1.5, 10.0))
    return labels, performance_profile(table, strata, np.linspace(1.0, largest, 200))
