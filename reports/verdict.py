"""The top of the page: what may be claimed, how sure it is, and the pictures that show it."""

from __future__ import annotations

from typing import Any

import numpy as np

from harness.stats import (
    evidence,
    log_deviation,
    minimum_detectable_difference,
    minimum_detectable_speed_up,
    performance_profile,
)
from reports import figures, words
from reports.analysis import SECONDS, TOKENS, Analysis
from reports.parts import Drawer, Picture


def verdict_cards(analysis: Analysis) -> list[dict[str, Any]]:
    """One card per strategy and combination: what may be claimed, with interval and n."""
    cards = []
    order = analysis.strategies
    if len(analysis.combinations) > 1:
        for item in analysis.overall:
            found = item.speed_ups.get(SECONDS) or item.speed_ups.get(TOKENS)
            cards.append(
                {
                    "strategy": item.strategy,
                    "swatch": order.index(item.strategy) % 8,
                    "where": f"all {len(analysis.combinations)} combinations",
                    "verdict": found.verdict if found is not None else "not compared",
                    "kind": found.verdict if found is not None and found.verdict in ("faster", "slower") else "none",
                    "estimate": words.speed_up(found) if found is not None else words.NO_VALUE,
                    "sentence": words.overall_sentence(item, analysis),
                    "oracle": item.oracle,
                    "overall": True,
                }
            )
        return cards
    for combination in analysis.combinations:
        for arm in combination.arms:
            if arm.is_baseline:
                continue
            found = arm.speed_ups.get(combination.main_cost)
            cards.append(
                {
                    "strategy": arm.strategy,
                    "swatch": order.index(arm.strategy) % 8,
                    "where": combination.name,
                    "verdict": found.verdict if found is not None and found.n else "not compared",
                    "kind": found.verdict if found is not None and found.verdict in ("faster", "slower") else "none",
                    "estimate": words.speed_up(found) if found is not None and found.n else words.NO_VALUE,
                    "sentence": words.verdict_sentence(combination, arm, analysis.baseline),
                    "oracle": arm.oracle,
                    "overall": False,
                }
            )
    return cards


def certainty_notes(analysis: Analysis) -> list[str]:
    """How far the evidence carries, in sentences."""
    notes = []
    pairs = [a.speed_ups[c.main_cost].n for c in analysis.combinations for a in c.arms if c.main_cost in a.speed_ups]
    if pairs:
        least = min(pairs)
        seeds = f"{least} paired seed{'s' if least != 1 else ''}"
        notes.append(f"Evidence: {seeds}{' or more' if max(pairs) > least else ''} per comparison; {evidence(least)}.")
        notes.append(words.small_sample_note(least))
    for combination in analysis.combinations:
        base = combination.baseline
        if base is None or base.n < 2:
            continue
        deviation = combination.plateau.deviation if combination.plateau is not None else None
        if deviation is not None:
            points = 100 * minimum_detectable_difference(deviation, base.n)
            notes.append(
                f"{combination.name}: accuracy varies between seeds by {100 * deviation:.1f} points (standard deviation), so with "
                f"n = {base.n} a difference of final accuracy below {points:.1f} points cannot be told from noise (power 0.8)."
            )
        spreads = [log_deviation(a.speed_ups[combination.main_cost]) for a in combination.arms if combination.main_cost in a.speed_ups]
        known = [s for s in spreads if s is not None]
        if known and max(known) > 0:
            smallest = minimum_detectable_speed_up(float(np.median(known)), base.n)
            if smallest < 100:
                notes.append(
                    f"{combination.name}: with the spread of the ratios seen here, n = {base.n} pairs detect speed-ups from "
                    f"{words.factor(smallest)} (power 0.8)."
                )
    return [n for n in notes if n]


def overview_pictures(analysis: Analysis, drawer: Drawer) -> list[Picture]:
    """Forest plot of all comparisons; with several strategies a performance profile; runs that reached the target by cost."""
    order, pictures = analysis.strategies, []
    compared = [(c, a) for c in analysis.combinations for a in c.arms if c.main_cost in a.speed_ups and a.speed_ups[c.main_cost].n]
    if compared:
        told = "; ".join(f"{a.strategy} on {c.name} {words.headline(a.speed_ups[c.main_cost], c.main_cost)}" for c, a in compared)
        pictures.append(
            drawer.draw(
                "speed-ups",
                "Speed-up of every strategy with its 95 % interval",
                told + ".",
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
            "the target within this factor of the cheapest strategy; band: 95 %.",
            lambda legend: figures.profile(found, labels, order, legend=legend),
        )  # fmt: skip
        picture.legend = [(label, f"s{order.index(label) % 8}") for label in labels]
        pictures.append(picture)
    return pictures


def _profile(analysis: Analysis) -> tuple[list[str], Any] | None:
    """Problems that every strategy has a run of; None where there are fewer than three."""
    labels = [s for s in analysis.strategies if not any(a.oracle for a in analysis.arms if a.strategy == s)]
    costs, strata = [], []
    for index, combination in enumerate(analysis.combinations):
        arms = {a.strategy: a for a in combination.arms}
        if any(label not in arms for label in labels):
            continue
        by_seed = [
            {r.seed: o.cost for r, o in zip(arms[s].runs, arms[s].outcomes.get(combination.main_cost, []), strict=False)} for s in labels
        ]
        for seed in sorted(set.intersection(*(set(b) for b in by_seed))):
            costs.append([b[seed] for b in by_seed])
            strata.append(index)
    if len(costs) < 3 or len(labels) < 2:
        return None
    table = np.array(costs)
    finite = np.isfinite(table)
    ratios = (table / np.where(finite.any(axis=1), np.where(finite, table, np.inf).min(axis=1), 1.0)[:, None])[finite]
    largest = float(np.clip(np.nanmax(ratios, initial=1.0) * 1.1, 1.5, 10.0))
    return labels, performance_profile(table, strata, np.linspace(1.0, largest, 200))
