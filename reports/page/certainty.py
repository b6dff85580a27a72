"""How far the evidence of a report carries: pairs, scatter, what they can detect, and for what the verdicts hold."""

from __future__ import annotations

from collections.abc import Sequence

from harness.stats import TokenPrices, evidence, minimum_detectable_difference, prices_of
from reports import words
from reports.arms import Analysis, Combination
from reports.detectable import detectable_speed_ups


def certainty_notes(analysis: Analysis) -> list[str]:
    """How far the evidence carries, in sentences; the first says for what the verdicts hold."""
    notes = [scope_sentence(analysis)]
    pairs = [a.speed_ups[c.main_cost].n for c in analysis.combinations for a in c.arms if c.main_cost in a.speed_ups]
    pairs = [n for n in pairs if n]
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
        notes.append(_detectable_sentence(combination, analysis.prices, base.n))
    return [n for n in notes if n]


def scope_sentence(analysis: Analysis) -> str:
    """For which models the verdicts hold, and that a miniature's ranks need not transfer; empty for curves without runs."""
    specs = [run.spec["combination"] for run in analysis.runs if "combination" in run.spec]
    models = list(dict.fromkeys(str(found["model"]["name"]) for found in specs))
    if not models:
        return ""
    named = ", ".join(models) if len(models) <= 3 else f"{len(models)} models"
    small = all(found["backend"] == "simulator" or str(found["model"]["name"]).startswith("embedded:") for found in specs)
    if small:
        return (
            f"Scope: measured with {named}, a miniature. Ranks of a miniature need not transfer to larger models, other tasks or longer "
            "training; they say what is worth measuring there."
        )
    return f"Scope: measured with {named}. Ranks of strategies need not transfer to other models, tasks or lengths of training."


def _detectable_sentence(combination: Combination, prices: Sequence[TokenPrices], n: int) -> str:
    """The smallest speed-ups that the pairs show, on the deciding ledger and at every price; empty where their scatter is not known."""
    found = detectable_speed_ups(combination, prices, n)
    if not found:
        return ""
    parts = []
    for ledger, smallest in found.items():
        price = prices_of(ledger)
        where = f"in {words.COST_NAMES[ledger]}" if price is None else f"at {price.label}"
        parts.append(f"{words.factor(smallest)} {where}")
    listed = parts[0] if len(parts) == 1 else f"{', '.join(parts[:-1])} and {parts[-1]}"
    return f"{combination.name}: with the spread of the ratios seen here, n = {n} pairs detect speed-ups from {listed} (power 0.8)."
