"""Numbers and verdicts as sentences that a person can quote."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

from harness.stats import LEAST_PAIRS, CostModel, SpeedUp, TargetRule, TokenPrices
from harness.stats.speedup import LEVEL
from reports.arms import COMPARED, TOKENS, Analysis, Arm, Combination, Overall

NO_VALUE = "–"

#: The published cost model, with its coefficients: what the ledger ``token_cost`` is.
_MODEL = CostModel()
COST_MODEL = (
    f"Operations per parameter: {_MODEL.generated:g} · tokens generated + {_MODEL.forward:g} · forward-only tokens + "
    f"{_MODEL.trained:g} · tokens trained on (Kaplan et al. 2020)."
)

#: How each cost ledger is named in text, and in column heads with its unit.
COST_NAMES = {
    "training_seconds": "training time",
    "cpu_seconds": "CPU time",
    "training_steps": "training steps",
    "optimizer_steps": "optimizer steps",
    "rollouts": "rollouts",
    "generated_tokens": "generated tokens",
    "trained_tokens": "tokens trained on",
    "forward_tokens": "forward-only tokens",
    "token_cost": "operations per parameter",
}


def percent(value: float | None, digits: int = 1) -> str:
    """``47.2 %`` for .472."""
    return NO_VALUE if value is None or math.isnan(value) else f"{100 * value:.{digits}f} %"


def number(value: float | None, digits: int = 2) -> str:
    """A plain number, or a dash where there is none."""
    return NO_VALUE if value is None or math.isnan(value) else f"{value:.{digits}f}"


def seconds(value: float) -> str:
    """``0.85 s``, ``31.2 s``, ``4.1 min``, ``3.2 h``."""
    if value < 10:
        return f"{value:.2f} s"
    if value < 180:
        return f"{value:.1f} s"
    return f"{value / 60:.1f} min" if value < 2 * 3600 else f"{value / 3600:.2f} h"


def count(value: float) -> str:
    """``812``, ``14.2 k``, ``3.10 M``."""
    for size, unit in ((1e12, "T"), (1e9, "G"), (1e6, "M"), (1e4, "k")):
        if value >= size:
            return f"{value / (1e3 if unit == 'k' else size):.3g} {unit}"
    return f"{value:.0f}"


def cost(value: float, ledger: str) -> str:
    """A cost in the unit of its ledger."""
    return seconds(value) if ledger.endswith("_seconds") else count(value)


def cost_or_bound(median: float, least: float, ledger: str) -> str:
    """A median cost, or ``> what was spent`` where the median run missed the target."""
    return cost(median, ledger) if math.isfinite(median) else f"> {cost(least, ledger)}"


def factor(value: float) -> str:
    """A ratio with three figures: ``0.87×``, ``1.31×``, ``12.4×``."""
    if value == 0 or math.isinf(value):
        return "0×" if value == 0 else "∞"
    return f"{value:.2f}×" if value < 10 else f"{value:.3g}×"


def speed_up(found: SpeedUp) -> str:
    """``1.31×``, ``at least 2.4×`` (the baseline missed), ``at most 0.5×`` (the strategy missed), or that misses hide it."""
    if found.exact:
        return factor(found.at_least)
    if found.at_least > 0 and math.isinf(found.at_most):
        return f"at least {factor(found.at_least)}"
    if found.at_least == 0 and math.isfinite(found.at_most):
        return f"at most {factor(found.at_most)}"
    if found.n == 0:
        return "no pair"
    if found.at_least == 0 and math.isinf(found.at_most):
        return "unknown (misses on both sides)"
    return f"{factor(found.at_least)} to {factor(found.at_most)}"


def interval(found: SpeedUp) -> str:
    """``[1.12, 1.50]``, or why there is none."""
    if found.low is None or found.high is None:
        return "no interval"
    return f"[{found.low:.2f}, {'∞' if math.isinf(found.high) else f'{found.high:.2f}'}]"


def interval_words(found: SpeedUp) -> str:
    """``95 % interval [1.12, 1.50]``, ``range of the pairs [1.02, 1.60]`` where they are too few for one, or ``no interval``."""
    if found.coverage is None:
        return interval(found)
    return f"{'95 % interval' if found.coverage >= LEVEL else 'range of the pairs'} {interval(found)}"


def estimate(arms: Sequence[Arm], found: SpeedUp) -> str:
    """The speed-up as a headline; ``missed 3 of 3`` where no run reached the target, for a bound is no estimate."""
    runs = sum(a.n for a in arms)
    if runs and not any(a.reached for a in arms):
        return f"missed {runs} of {runs}"
    return speed_up(found)


def saved(found: SpeedUp) -> float | None:
    """Percent of the baseline's cost saved, 100·(1 − 1/speed-up); negative when it costs more; None if open."""
    value = found.estimate
    return None if value is None or value <= 0 or math.isinf(value) else 100 * (1 - 1 / value)


def saved_words(found: SpeedUp, ledger: str) -> str:
    """``24 % less training time`` or ``12 % more``; a bound where only a bound is known."""
    name = COST_NAMES[ledger]
    share = saved(found)
    if share is not None:
        return f"{abs(share):.0f} % {'less' if share >= 0 else 'more'} {name}"
    if found.at_least > 1:
        return f"at least {100 * (1 - 1 / found.at_least):.0f} % less {name}"
    if 0 < found.at_most < 1:
        return f"at least {100 * (1 / found.at_most - 1):.0f} % more {name}"
    return f"{name} not comparable: too few runs reached the target"


def headline(found: SpeedUp, ledger: str) -> str:
    """The verdict as a clause: what may be claimed, the estimate, the interval and n."""
    numbers = f"{speed_up(found)} {interval(found)}, n = {found.n}"
    if found.verdict in ("faster", "slower"):
        return f"{saved_words(found, ledger)}: {numbers}"
    return f"{found.verdict}: {speed_up(found)} {interval(found)}"


def verdict_sentence(combination: Combination, arm: Arm, baseline: str) -> str:
    """One sentence on one strategy and one combination, to be quoted as it stands."""
    target = combination.target.accuracy
    if target is None:
        return f"{arm.strategy} on {combination.name}: not compared; {combination.target.note}."
    ledger = combination.main_cost
    found = arm.speed_ups.get(ledger)
    goal = f"to reach {percent(target)} accuracy"
    if found is None or found.n == 0:
        return f"{arm.strategy} on {combination.name}: not compared, no seed has a run of both it and {baseline}."
    tail = f"speed-up {speed_up(found)}, {interval_words(found)}, n = {found.n} paired seeds"
    if found.n == 1:
        tail = tail.replace("seeds", "seed")
    if found.verdict in ("faster", "slower"):
        need = f"{saved_words(found, ledger)} than {baseline} {goal}"
        text = f"{arm.strategy} needed {need} on {combination.name}: {tail}."
    else:
        text = f"{arm.strategy} against {baseline} on {combination.name}: {undecided(found)} in {COST_NAMES[ledger]} {goal}; {tail}."
    if arm.reached < arm.n:
        text += f" It reached the target in {arm.reached} of {arm.n} runs."
    if combination.plateau is not None and combination.plateau.flagged:
        text += " Plateau warning: the baseline is nearly flat at this target."
    return text + (" Upper bound, labels not charged." if arm.oracle else "")


def undecided(found: SpeedUp) -> str:
    """``no difference shown``, or ``undecided`` where there are too few pairs for any verdict."""
    return "no difference shown" if found.n >= LEAST_PAIRS else "undecided"


def price(value: float) -> str:
    """A price with two figures, ``0.62``, ``1.4``, ``12``, ``∞``."""
    return "∞" if math.isinf(value) else f"{float(f'{value:.2g}'):g}"


def break_even(item: Arm | Overall) -> str:
    """``0.6 [0.2, 1.2], cheaper above``, or at which prices the strategy is cheaper where there is no single such price."""
    curve = item.price_curve
    if curve is None or not curve.n:
        return NO_VALUE
    even, between = curve.break_even, curve.undecided
    brackets = "" if between is None else f" [{price(between[0])}, {price(between[1])}]"
    if even is not None:
        return f"{price(even)}{brackets}, cheaper {curve.cheaper}"
    reading = {"everywhere": "cheaper at every price", "nowhere": "dearer at every price"}.get(curve.cheaper, "unknown")
    return f"{reading}{f', undecided in{brackets}' if brackets and reading != 'unknown' else ''}"


def price_sentence(speed_ups: Mapping[str, SpeedUp], prices: Sequence[TokenPrices], item: Arm | Overall) -> str:
    """``At μ = ⅓ 0.9× [0.8, 1.1], at μ = 1 1.2× … (faster); break-even μ 0.6 [0.2, 1.2], cheaper above.``; empty without tokens."""
    found = [(p, speed_ups[p.ledger]) for p in prices if p.ledger in speed_ups and speed_ups[p.ledger].n]
    if not found:
        return ""
    parts = [
        f"at {p.label} {speed_up(s)} {interval(s)}" + (f" ({s.verdict})" if s.verdict in ("faster", "slower") else "") for p, s in found
    ]
    even = ""
    if item.price_curve is not None:
        known = item.price_curve.break_even is not None
        even = f"; break-even μ {break_even(item)}" if known else f"; {break_even(item)}" if item.price_curve.cheaper != "unknown" else ""
    return f"Priced by tokens, {', '.join(parts)}{even}."


def where_of(item: Overall, analysis: Analysis) -> str:
    """``all 6 combinations``, or ``2 of 6 combinations`` where the strategy was not run on the others."""
    every = len(analysis.combinations)
    return f"all {every} combinations" if item.combinations == every else f"{item.combinations} of {every} combinations"


def overall_sentence(item: Overall, analysis: Analysis) -> str:
    """One sentence on one strategy across all combinations."""
    ledger = next((c for c in COMPARED if c in item.speed_ups), TOKENS)
    found = item.speed_ups.get(ledger)
    if found is None or found.n == 0:
        return f"{item.strategy}: not compared, no combination has a pair of it and {analysis.baseline}."
    where = f"on {where_of(item, analysis)}"
    statistic = "interquartile-mean" if item.combinations > 1 else "median"
    tail = f"{statistic} speed-up {speed_up(found)}, {interval_words(found)}, n = {found.n} pairs"
    if found.verdict in ("faster", "slower"):
        text = f"{item.strategy} needed {saved_words(found, ledger)} than {analysis.baseline} {where}: {tail}."
    else:
        text = f"{item.strategy} against {analysis.baseline} {where}: {undecided(found)} in {COST_NAMES[ledger]}; {tail}."
    flat = sum(c.plateau is not None and c.plateau.flagged for c in analysis.combinations)
    if flat:
        text += f" Plateau warning on {flat} of them."
    return text + (" Upper bound, labels not charged." if item.oracle else "")


def steeper_target(combinations: Sequence[Combination], rule: TargetRule) -> str:
    """What to aim for instead of a target on a plateau: the highest usual share of the gain without one on all of ``combinations``."""
    steep = set.intersection(*(set(c.steep_shares) for c in combinations))
    lower = [share for share in steep if rule.kind != "share_of_gain" or share < rule.value]
    return f" At {100 * max(lower):g} % of the gain it is steep enough (share_of_gain = {max(lower):g})." if lower else ""


def small_sample_note(n: int) -> str:
    """What the brackets of few pairs are worth; empty where they are a 95 % interval."""
    if n < 3:
        return f"n = {n} gives no interval, so nothing can be claimed."
    if n >= LEAST_PAIRS:
        return ""
    coverage = 1 - 2 * 0.5**n
    return (
        f"With n = {n} the brackets hold the range of the pairs, which contains the true median in {100 * coverage:.0f} % of cases, "
        f"not 95 %. “Faster” and “slower” need {LEAST_PAIRS} pairs."
    )


def state_words(arm: Arm) -> str:
    """``1 failed, 2 missing``: what keeps an arm from being whole; empty if nothing does."""
    return ", ".join(f"{k} {state}" for state in ("failed", "unfinished", "crashed", "missing") if (k := arm.count(state)))
