"""Where training seconds go: phases until the target, the rollout share at which a strategy breaks even, busy machines."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from harness.stats import EQUAL_PRICES, PRICED_LEDGERS, TokenPrices, measured_prices
from harness.types import PHASES
from reports.arms import CPU_SECONDS, ROLLOUT_PHASES, SECONDS, Arm, Combination
from reports.condensed import Run

#: Phases whose seconds a price of tokens is computed from.
_PRICED_PHASES = {"rollout": ROLLOUT_PHASES, "log_probs": ("log_probs",), "update": ("update",)}


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


def seconds_to_target(arm: Arm, phases: Sequence[str]) -> list[float]:
    """Seconds spent in some phases until the crossing, per run that reached the target; none where seconds were not recorded."""
    found: list[float] = []
    if not arm.outcomes[SECONDS]:
        return found
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


def measured_prices_of(arm: Arm | None) -> TokenPrices | None:
    """The prices that the phases of an arm's runs show; None where they recorded no seconds or no tokens."""
    return measured_prices_of_runs(arm.runs) if arm is not None else None


def measured_prices_of_runs(runs: Sequence[Run]) -> TokenPrices | None:
    """The prices that the phases of runs show together; None where they recorded no seconds or no tokens."""
    runs = [r for r in runs if len(r.curve.accuracy) and r.curve.has(EQUAL_PRICES)]
    seconds = {name: sum(r.phase_seconds[p] for r in runs for p in phases) for name, phases in _PRICED_PHASES.items()}
    tokens = {ledger: sum(float(r.curve.costs[ledger][-1]) for r in runs) for ledger in PRICED_LEDGERS}
    if min(seconds["rollout"], seconds["update"], tokens["generated_tokens"], tokens["trained_tokens"]) <= 0:
        return None
    return measured_prices(seconds, tokens)
