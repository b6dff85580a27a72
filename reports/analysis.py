"""From condensed runs to everything the page says: one pass, plain dataclasses, no formatting and no drawing."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np

from harness.errors import UserError, did_you_mean
from harness.stats import (
    COST_LEDGERS,
    DEFAULT_PRICES,
    FORWARD_PRICE,
    PRICED_LEDGERS,
    PriceCurve,
    Target,
    TargetRule,
    TokenPrices,
    TokensSpent,
    check_plateau,
    holm,
    paired_speed_up,
    parse_target,
    pooled_price_curve,
    pooled_speed_up,
    price_curve,
    probability_of_improvement,
    reach_everywhere,
    resolve_target,
    sign_test,
    steep_shares,
)
from reports.arms import COMPARED, CPU_SECONDS, SECONDS, TOKENS, Analysis, Arm, Combination, Overall, pairs_of, tokens_spent
from reports.condensed import Run


def analyse(
    runs: Iterable[Run],
    *,
    baseline: str,
    target: Mapping[str, Any],
    expected: Iterable[tuple[str, str, int]] = (),
    absent: Mapping[tuple[str, str, int], tuple[str, str]] | None = None,
    assumed_deviation: float | None = None,
    targets: Mapping[str, Target] | None = None,
    prices: Sequence[TokenPrices] = tuple(map(TokenPrices, DEFAULT_PRICES)),
) -> Analysis:
    """Compare every strategy with the baseline on every combination.

    expected: (combination, strategy label, seed) of runs that should exist; what has no record is shown as missing. absent: of
    some of these, (state, reason) why they have no result. targets: per combination, where they were resolved elsewhere. prices: of
    tokens, at which every verdict is repeated.
    Raises UserError where there is nothing to report or the baseline is nowhere.
    """
    rule = parse_target(target)
    expected = list(expected)
    table: dict[str, dict[str, dict[int, Run]]] = {}
    duplicates: dict[str, list[str]] = {}
    for run in sorted(runs, key=lambda r: (r.combination, r.strategy, r.seed, r.run_id)):
        seeds = table.setdefault(run.combination, {}).setdefault(run.strategy, {})
        other = seeds.get(run.seed)
        seeds[run.seed] = run if other is None else _preferred(other, run, duplicates.setdefault(run.combination, []))
    for combination, strategy, _ in expected:
        table.setdefault(combination, {}).setdefault(strategy, {})
    if not table:
        raise UserError("there is no run to report on; start some with 'halfway run' first")
    labels = {label for arms in table.values() for label in arms}
    if baseline not in labels:
        raise UserError(f"the baseline {baseline!r} has no run{did_you_mean(baseline, labels)} (strategies: {', '.join(sorted(labels))})")
    seeds_of: dict[str, set[int]] = {name: {s for runs_ in arms.values() for s in runs_} for name, arms in table.items()}
    for combination, _, seed in expected:
        seeds_of[combination].add(seed)
    wanted = set(expected)
    combinations = []
    for name in sorted(table):
        found = _combination(name, table[name], baseline, rule, seeds_of[name], assumed_deviation, (targets or {}).get(name), prices)
        for arm in found.arms:
            if wanted:
                arm.missing = [s for s in arm.missing if (name, arm.strategy, s) in wanted]
            known = {s: (absent or {}).get((name, arm.strategy, s)) for s in arm.missing}
            arm.absent = {s: reason for s, reason in known.items() if reason is not None}
        found.duplicates = duplicates.get(name, [])
        combinations.append(found)
    strategies = sorted(labels, key=lambda s: (s != baseline, s))
    return Analysis(baseline, rule, strategies, combinations, _overall(combinations, baseline, prices), prices)


def _preferred(a: Run, b: Run, notes: list[str]) -> Run:
    """Of two runs of one arm and seed the complete one, then the longer one; the other is named, not hidden."""
    keep, drop = sorted((a, b), key=lambda r: (r.state == "complete", r.last_step, r.run_id), reverse=True)
    notes.append(
        f"{a.strategy}, seed {a.seed}: two runs with different settings ({keep.run_id}, {drop.run_id}); "
        f"{keep.run_id} is used, move the folder of the other away"
    )
    return keep


def _combination(
    name: str,
    table: Mapping[str, Mapping[int, Run]],
    baseline: str,
    rule: TargetRule,
    seeds: set[int],
    assumed_deviation: float | None,
    target: Target | None,
    prices: Sequence[TokenPrices],
) -> Combination:
    base_runs = [table.get(baseline, {})[s] for s in sorted(table.get(baseline, {}))]
    comparable = len({r.machine for arm in table.values() for r in arm.values() if len(r.curve.accuracy)}) <= 1
    base_curves = [r.curve for r in base_runs]
    target = target or resolve_target(rule, base_curves)
    main = _main_cost([r for arm in table.values() for r in arm.values()], comparable)
    plateau = check_plateau(base_curves, target.accuracy, cost=main, assumed_deviation=assumed_deviation)
    arms = []
    for strategy in sorted(table, key=lambda s: (s != baseline, s)):
        runs = [table[strategy][s] for s in sorted(table[strategy])]
        priced = [p.ledger for p in prices]
        reached = [reach_everywhere(r.curve, target.accuracy, rule.crossing, priced) for r in runs]
        outcomes = {cost: [r[cost] for r in reached] for cost in (*COST_LEDGERS, *priced) if all(cost in r for r in reached)}
        outcomes.setdefault(SECONDS, [])
        missing = sorted(seeds - set(table[strategy]))
        arms.append(Arm(name, strategy, strategy == baseline, runs, missing, outcomes))
    base = next((a for a in arms if a.is_baseline), None)
    for arm in arms:
        if base is not None and not arm.is_baseline and target.accuracy is not None:
            _compare(arm, base, comparable, prices)
    _adjust(arms)
    steep = steep_shares(base_curves, cost=main, assumed_deviation=assumed_deviation)
    return Combination(name, target, plateau, arms, comparable, main, steep)


def _main_cost(runs: Sequence[Run], comparable: bool) -> str:
    """Seconds where they may be compared, else tokens; of outside curves the first of the compared ledgers that all have."""
    preferred = SECONDS if comparable else TOKENS
    if all(r.curve.has(preferred) for r in runs):
        return preferred
    return next((c for c in COMPARED if c != SECONDS and all(r.curve.has(c) for r in runs)), preferred)


def _compare(arm: Arm, base: Arm, seconds: bool, prices: Sequence[TokenPrices]) -> None:
    for cost in (*COMPARED, *(p.ledger for p in prices)):
        known = all(len(a.outcomes.get(cost, ())) == len(a.runs) and cost in a.outcomes for a in (arm, base))
        if not known or (cost in (SECONDS, CPU_SECONDS) and not seconds):
            continue
        arm.speed_ups[cost] = paired_speed_up(pairs_of(base, arm, cost))
        if arm.improvement is None:  # on the first, that is, the deciding ledger
            costs = [np.array([o.cost for o in a.outcomes[cost]]) for a in (base, arm)]
            arm.improvement = probability_of_improvement([(costs[0], costs[1])])
    arm.price_curve = _price_curve(arm, base, prices)


def _price_curve(arm: Arm, base: Arm, prices: Sequence[TokenPrices]) -> PriceCurve | None:
    """Over the price of a generated token; None without tokens."""
    pairs = _spent_pairs(arm, base, prices)
    return None if pairs is None else price_curve(pairs)


def _spent_pairs(arm: Arm, base: Arm, prices: Sequence[TokenPrices]) -> list[tuple[TokensSpent, TokensSpent]] | None:
    """(baseline, strategy) of equal seed, forward-only tokens at the price of the first of ``prices``; None without tokens."""
    if any(ledger not in a.outcomes for ledger in PRICED_LEDGERS for a in (arm, base)):
        return None
    forward = prices[0].forward if prices else FORWARD_PRICE
    spent, of_base = tokens_spent(arm, forward), tokens_spent(base, forward)
    return [(of_base[seed], spent[seed]) for seed in spent if seed in of_base]


def _adjust(arms: Sequence[Arm]) -> None:
    """Holm over the strategies of one combination, per cost ledger."""
    for cost in COMPARED:
        compared = [a for a in arms if cost in a.speed_ups]
        for arm, p in zip(compared, holm([sign_test(a.speed_ups[cost]) for a in compared]), strict=True):
            arm.p_values[cost] = p


def _overall(combinations: Sequence[Combination], baseline: str, prices: Sequence[TokenPrices]) -> list[Overall]:
    labels = sorted({a.strategy for c in combinations for a in c.arms} - {baseline})
    found = []
    for label in labels:
        arms = [
            (c, c.baseline, a)
            for c in combinations
            for a in c.arms
            if a.strategy == label and c.baseline is not None and c.target.accuracy is not None
        ]
        speed_ups = {}
        for cost in (*COMPARED, *(p.ledger for p in prices)):
            usable = [(b, a) for _, b, a in arms if b is not None and cost in a.speed_ups]
            if usable and len(usable) == len(arms):
                speed_ups[cost] = pooled_speed_up([pairs_of(b, a, cost) for b, a in usable])
        cost = next((c for c in COMPARED if c in speed_ups), TOKENS)
        costs = [
            (np.array([o.cost for o in b.outcomes[cost]]), np.array([o.cost for o in a.outcomes[cost]]))
            for _, b, a in arms
            if b is not None and cost in b.outcomes and cost in a.outcomes
        ]
        p = sign_test(speed_ups[cost]) if cost in speed_ups else 1.0
        compared = sum(a.speed_ups[cost].n > 0 for _, _, a in arms if cost in a.speed_ups)
        spent = [_spent_pairs(a, b, prices) for _, b, a in arms if b is not None]
        known = [pairs for pairs in spent if pairs is not None]
        curve = pooled_price_curve(known) if known and len(known) == len(arms) else None
        oracle = any(a.oracle for _, _, a in arms)
        found.append(Overall(label, compared, speed_ups, probability_of_improvement(costs), p, oracle, curve))
    for item, p in zip(found, holm([o.p_value for o in found]), strict=True):
        item.p_value = p
    return found
