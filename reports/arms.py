"""The parts of a report's analysis: one strategy on one combination, one combination, one strategy across combinations."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np

from harness.stats import (
    PRICED_LEDGERS,
    Band,
    Plateau,
    PriceCurve,
    Reach,
    SaturatingFit,
    SpeedUp,
    Target,
    TargetRule,
    TokenPrices,
    TokensSpent,
    fit_saturating,
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
    for the baseline itself. price_curve: speed-up over the price of a generated token, where tokens are known. missing: seeds that
    other arms have and this one has not. absent: of some of these, (state, reason) why they have no result, where something was
    recorded.
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
    price_curve: PriceCurve | None = None
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
        return sum(o.reached for o in next((found for found in self.outcomes.values() if found), []))

    def count(self, state: str) -> int:
        """Runs in one state; ``missing`` are those of which nothing is known."""
        if state == "missing":
            return len(self.missing) - len(self.absent)
        return sum(r.state == state for r in self.runs) + sum(found == state for found, _ in self.absent.values())

    def median_cost(self, cost: str) -> tuple[float, float]:
        """(median cost, +inf for misses; median of what was spent at least, a bound where the first is infinite)."""
        found = self.outcomes.get(cost)
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

    seconds_comparable: False where runs come from different machines; then seconds are shown but never compared. main_cost: the
    ledger of the verdict: seconds, or tokens where seconds may not be compared, or what outside curves have instead. steep_shares: usual
    shares of the gain at which the baseline is not on a plateau, highest first.
    """

    name: str
    target: Target
    plateau: Plateau | None
    arms: list[Arm]
    seconds_comparable: bool
    main_cost: str = SECONDS
    steep_shares: tuple[float, ...] = ()
    duplicates: list[str] = field(default_factory=list)

    @property
    def baseline(self) -> Arm | None:
        """The baseline's arm, if this combination has one."""
        return next((a for a in self.arms if a.is_baseline), None)


@dataclass(slots=True)
class Overall:
    """One strategy across combinations. combinations: how many have a pair of it and the baseline. price_curve: see :class:`Arm`."""

    strategy: str
    combinations: int
    speed_ups: dict[str, SpeedUp]
    improvement: Band
    p_value: float
    oracle: bool
    price_curve: PriceCurve | None = None


@dataclass(slots=True)
class Analysis:
    """Everything a report says, before words and pictures.

    strategies: labels, baseline first, then by name. prices: of tokens, at which every verdict is repeated.
    """

    baseline: str
    rule: TargetRule
    strategies: list[str]
    combinations: list[Combination]
    overall: list[Overall]
    prices: Sequence[TokenPrices] = ()

    @property
    def arms(self) -> list[Arm]:
        """All arms, by combination, the baseline first."""
        return [a for c in self.combinations for a in c.arms]

    @property
    def runs(self) -> list[Run]:
        """All runs, by combination, strategy and seed."""
        return [r for a in self.arms for r in a.runs]


def pairs_of(base: Arm, arm: Arm, cost: str) -> list[tuple[Reach, Reach]]:
    """(baseline, strategy) outcomes of equal seed, in order of seed."""
    by_seed = {r.seed: o for r, o in zip(base.runs, base.outcomes[cost], strict=True)}
    return [(by_seed[r.seed], o) for r, o in zip(arm.runs, arm.outcomes[cost], strict=True) if r.seed in by_seed]


def tokens_spent(arm: Arm, forward: float) -> dict[int, TokensSpent]:
    """Per seed what its run spent up to the target, or in all; forward-only tokens at ``forward`` trained ones."""
    rows = zip(arm.runs, *(arm.outcomes[ledger] for ledger in PRICED_LEDGERS), strict=True)
    return {
        run.seed: TokensSpent(_known(generated), forward * _known(passed) + _known(trained), generated.reached)
        for run, generated, passed, trained in rows
    }


def _known(outcome: Reach) -> float:
    return outcome.cost if outcome.reached else outcome.budget


def fit_of(arm: Arm, ledger: str) -> SaturatingFit | None:
    """The saturating curve of an arm's complete runs on one cost ledger."""
    runs = [r.curve for r in arm.runs if r.state == "complete" and r.curve.has(ledger)]
    return fit_saturating([(c.cost(ledger), c.accuracy) for c in runs])
