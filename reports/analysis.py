"""From condensed runs to everything the page says: one pass, plain dataclasses, no formatting and no drawing."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from harness.errors import UserError, did_you_mean
from harness.stats import (
    COST_LEDGERS,
    Band,
    Plateau,
    Reach,
    SpeedUp,
    Target,
    TargetRule,
    check_plateau,
    holm,
    paired_speed_up,
    parse_target,
    pooled_speed_up,
    probability_of_improvement,
    reach_everywhere,
    resolve_target,
    sign_test,
)
from harness.types import PHASES
from reports.condensed import Run

SECONDS = "training_seconds"
TOKENS = "generated_tokens"
CPU_SECONDS = "cpu_seconds"

#: Cost ledgers on which speed-ups get an interval; the others are shown as medians.
COMPARED = (SECONDS, TOKENS, "rollouts", "training_steps", "token_cost", CPU_SECONDS)

#: Phases that are rollouts: what replay can save.
ROLLOUT_PHASES = ("probe", "rollout")


@dataclass(slots=True)
class Arm:
    """One strategy on one combination.

    outcomes: per cost ledger, one per run in order of seed. speed_ups: against the baseline, pairs of equal seed; empty
    for the baseline itself. missing: seeds that other arms have and this one has not. absent: of some of these, (state, reason)
    why they have no result, where something was recorded.
    """

    combination: str
    strategy: str
    is_baseline: bool
    runs: list[Run]
    missing: list[int]
    outcomes: dict[str, list[Reach]]
    speed_ups: dict[str, SpeedUp] = field(default_factory=dict)
    p_values: dict[str, float] = field(default_factory=dict)
    improvement: Band | None = None
    absent: dict[int, tuple[str, str]] = field(default_factory=dict)

    @property
    def oracle(self) -> bool:
        """An upper bound whose labels are not charged."""
        return any(r.uncharged_oracle for r in self.runs)

    @property
    def n(self) -> int:
        """Runs with a record."""
        return len(self.runs)

    @property
    def reached(self) -> int:
        """Runs that reached the target."""
        return sum(o.reached for o in self.outcomes[SECONDS])

    def count(self, state: str) -> int:
        """Runs in one state; ``missing`` are those of which nothing is known."""
        if state == "missing":
            return len(self.missing) - len(self.absent)
        return sum(r.state == state for r in self.runs) + sum(found == state for found, _ in self.absent.values())

    def median_cost(self, cost: str) -> tuple[float, float]:
        """(median cost, +inf for misses; median of what was spent at least, a bound where the first is infinite)."""
        found = self.outcomes[cost]
        if not found:
            return float("inf"), 0.0
        least = [o.cost if o.reached else o.budget for o in found]
        return float(np.median([o.cost for o in found])), float(np.median(least))

    @property
    def final_accuracy(self) -> float | None:
        """Median over runs of the last evaluation; complete runs alone if there are any."""
        runs = [r for r in self.runs if r.state == "complete"] or self.runs
        last = [float(r.curve.accuracy[-1]) for r in runs if len(r.curve.accuracy)]
        return float(np.median(last)) if last else None

    def step_mean(self, column: str) -> float | None:
        """Mean over all steps of all runs; None where nothing was measured."""
        values = np.concatenate([r.steps[column] for r in self.runs]) if self.runs else np.empty(0)
        values = values[np.isfinite(values)]
        return float(values.mean()) if len(values) else None

    def predictor_mean(self, name: str) -> float | None:
        """Mean of a predictor diagnostic over all evaluations of all runs; None where nothing was measured."""
        values = [r.predictor[name] for r in self.runs if name in r.predictor]
        together = np.concatenate(values) if values else np.empty(0)
        together = together[np.isfinite(together)]
        return float(together.mean()) if len(together) else None

    @property
    def phase_seconds_per_step(self) -> dict[str, float]:
        """Mean seconds per training step of each phase, over all runs."""
        steps = sum(len(r.steps["step"]) for r in self.runs)
        spent = [r.phase_seconds for r in self.runs]
        return {p: sum(s[p] for s in spent) / steps if steps else 0.0 for p in PHASES}

    @property
    def rollout_share(self) -> float | None:
        """Probe and rollout seconds as a share of training seconds."""
        phases = self.phase_seconds_per_step
        total = sum(phases.values())
        return sum(phases[p] for p in ROLLOUT_PHASES) / total if total > 0 else None

    @property
    def one_off_seconds(self) -> float:
        """One-off seconds a user pays once: the largest over the runs of each item, since later runs find it cached."""
        items = {name for r in self.runs for name in r.one_off}
        return sum(max(r.one_off.get(name, 0.0) for r in self.runs) for name in items)


@dataclass(slots=True)
class Combination:
    """One model-task-backend combination with all its arms; ``arms[0]`` is the baseline if it has runs.

    seconds_comparable: False where runs come from different machines; then seconds are shown but never compared.
    """

    name: str
    target: Target
    plateau: Plateau | None
    arms: list[Arm]
    seconds_comparable: bool
    duplicates: list[str] = field(default_factory=list)

    @property
    def main_cost(self) -> str:
        """The ledger of the verdict: seconds, or tokens where seconds may not be compared."""
        return SECONDS if self.seconds_comparable else TOKENS

    @property
    def baseline(self) -> Arm | None:
        """The baseline's arm, if this combination has one."""
        return next((a for a in self.arms if a.is_baseline), None)


@dataclass(slots=True)
class Overall:
    """One strategy across combinations. combinations: how many have a pair of it and the baseline."""

    strategy: str
    combinations: int
    speed_ups: dict[str, SpeedUp]
    improvement: Band
    p_value: float
    oracle: bool


@dataclass(slots=True)
class Analysis:
    """Everything a report says, before words and pictures. ``strategies``: labels, baseline first, then by name."""

    baseline: str
    rule: TargetRule
    strategies: list[str]
    combinations: list[Combination]
    overall: list[Overall]

    @property
    def arms(self) -> list[Arm]:
        """All arms, by combination, the baseline first."""
        return [a for c in self.combinations for a in c.arms]

    @property
    def runs(self) -> list[Run]:
        """All runs, by combination, strategy and seed."""
        return [r for a in self.arms for r in a.runs]


def analyse(
    runs: Iterable[Run],
    *,
    baseline: str,
    target: Mapping[str, Any],
    expected: Iterable[tuple[str, str, int]] = (),
    absent: Mapping[tuple[str, str, int], tuple[str, str]] | None = None,
    assumed_deviation: float | None = None,
    targets: Mapping[str, Target] | None = None,
) -> Analysis:
    """Compare every strategy with the baseline on every combination.

    expected: (combination, strategy label, seed) of runs that should exist; what has no record is shown as missing. absent: of
    some of these, (state, reason) why they have no result. targets: per combination, where they were resolved elsewhere.
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
        found = _combination(name, table[name], baseline, rule, seeds_of[name], assumed_deviation, (targets or {}).get(name))
        for arm in found.arms:
            if wanted:
                arm.missing = [s for s in arm.missing if (name, arm.strategy, s) in wanted]
            known = {s: (absent or {}).get((name, arm.strategy, s)) for s in arm.missing}
            arm.absent = {s: reason for s, reason in known.items() if reason is not None}
        found.duplicates = duplicates.get(name, [])
        combinations.append(found)
    strategies = sorted(labels, key=lambda s: (s != baseline, s))
    return Analysis(baseline, rule, strategies, combinations, _overall(combinations, baseline))


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
) -> Combination:
    base_runs = [table.get(baseline, {})[s] for s in sorted(table.get(baseline, {}))]
    comparable = len({r.machine for arm in table.values() for r in arm.values() if len(r.curve.accuracy)}) <= 1
    base_curves = [r.curve for r in base_runs]
    target = target or resolve_target(rule, base_curves)
    plateau = check_plateau(base_curves, target.accuracy, cost=SECONDS if comparable else TOKENS, assumed_deviation=assumed_deviation)
    arms = []
    for strategy in sorted(table, key=lambda s: (s != baseline, s)):
        runs = [table[strategy][s] for s in sorted(table[strategy])]
        reached = [reach_everywhere(r.curve, target.accuracy, rule.crossing) for r in runs]
        outcomes = {cost: [r[cost] for r in reached] for cost in COST_LEDGERS if all(cost in r for r in reached)}
        outcomes.setdefault(SECONDS, [])
        missing = sorted(seeds - set(table[strategy]))
        arms.append(Arm(name, strategy, strategy == baseline, runs, missing, outcomes))
    base = next((a for a in arms if a.is_baseline), None)
    for arm in arms:
        if base is not None and not arm.is_baseline:
            _compare(arm, base, comparable)
    _adjust(arms)
    return Combination(name, target, plateau, arms, comparable)


def _compare(arm: Arm, base: Arm, seconds: bool) -> None:
    for cost in COMPARED:
        if (cost in (SECONDS, CPU_SECONDS) and not seconds) or cost not in arm.outcomes or cost not in base.outcomes:
            continue
        arm.speed_ups[cost] = paired_speed_up(pairs_of(base, arm, cost))
        if arm.improvement is None:  # on the first, that is, the deciding ledger
            costs = [np.array([o.cost for o in a.outcomes[cost]]) for a in (base, arm)]
            arm.improvement = probability_of_improvement([(costs[0], costs[1])])


def busy_shares(combination: Combination) -> tuple[float, float] | None:
    """Least and greatest share of training time that was processor time, over runs of one thread and no accelerator.

    None where there is no such run. Far below 1, the clock measured what else the machine was doing.
    """
    shares = [
        float(r.curve.costs[CPU_SECONDS][-1] / r.curve.costs[SECONDS][-1])
        for a in combination.arms
        for r in a.runs
        if r.environment.get("threads") == 1
        and not r.environment.get("gpus")
        and CPU_SECONDS in r.curve.costs
        and len(r.curve.accuracy)
        and r.curve.costs[SECONDS][-1] > 0
    ]
    return (min(shares), max(shares)) if shares else None


def pairs_of(base: Arm, arm: Arm, cost: str) -> list[tuple[Reach, Reach]]:
    """(baseline, strategy) outcomes of equal seed, in order of seed."""
    by_seed = {r.seed: o for r, o in zip(base.runs, base.outcomes[cost], strict=True)}
    return [(by_seed[r.seed], o) for r, o in zip(arm.runs, arm.outcomes[cost], strict=True) if r.seed in by_seed]


def _adjust(arms: Sequence[Arm]) -> None:
    """Holm over the strategies of one combination, per cost ledger."""
    for cost in COMPARED:
        compared = [a for a in arms if cost in a.speed_ups]
        for arm, p in zip(compared, holm([sign_test(a.speed_ups[cost]) for a in compared]), strict=True):
            arm.p_values[cost] = p


def _overall(combinations: Sequence[Combination], baseline: str) -> list[Overall]:
    labels = sorted({a.strategy for c in combinations for a in c.arms} - {baseline})
    found = []
    for label in labels:
        arms = [(c, c.baseline, a) for c in combinations for a in c.arms if a.strategy == label and c.baseline is not None]
        speed_ups = {}
        for cost in COMPARED:
            usable = [(b, a) for _, b, a in arms if b is not None and cost in a.speed_ups]
            if usable and len(usable) == len(arms):
                speed_ups[cost] = pooled_speed_up([pairs_of(b, a, cost) for b, a in usable])
        cost = SECONDS if SECONDS in speed_ups else TOKENS
        costs = [
            (np.array([o.cost for o in b.outcomes[cost]]), np.array([o.cost for o in a.outcomes[cost]]))
            for _, b, a in arms
            if b is not None and cost in b.outcomes and cost in a.outcomes
        ]
        p = sign_test(speed_ups[cost]) if cost in speed_ups else 1.0
        compared = sum(a.speed_ups[cost].n > 0 for _, _, a in arms if cost in a.speed_ups)
        found.append(Overall(label, compared, speed_ups, probability_of_improvement(costs), p, any(a.oracle for _, _, a in arms)))
    for item, p in zip(found, holm([o.p_value for o in found]), strict=True):
        item.p_value = p
    return found


def seconds_to_target(arm: Arm, phases: Sequence[str]) -> list[float]:
    """Seconds spent in some phases until the crossing, per run that reached the target."""
    found = []
    for run, outcome in zip(arm.runs, arm.outcomes[SECONDS], strict=True):
        if outcome.index is not None and len(run.eval_steps) > outcome.index:
            until = run.steps["step"] <= run.eval_steps[outcome.index]
            found.append(float(sum(run.steps[f"seconds_{p}"][until].sum() for p in phases)))
    return found


def break_even_rollout_share(base: Arm, arm: Arm) -> float | None:
    """Rollout share of the baseline's time at which the strategy would cost exactly as much as the baseline.

    With r and o the ratios (strategy/baseline) of rollout and of other seconds to the target, the cost ratio at rollout
    share R is R·r + (1 − R)·o; it is 1 at R = (o − 1)/(o − r). None where no share between 0 and 1 does that.
    """
    others = [p for p in PHASES if p not in ROLLOUT_PHASES]
    base_rollout, base_other, rollout, other = (
        float(np.median(seconds_to_target(a, phases) or [0.0])) for a in (base, arm) for phases in (ROLLOUT_PHASES, others)
    )
    if base_rollout <= 0 or base_other <= 0 or not rollout or not other:
        return None
    r, o = rollout / base_rollout, other / base_other
    if (r - 1) * (o - 1) >= 0:
        return None
    return (o - 1) / (o - r)
