"""Accuracy against cost, and where it crosses a target (docs/protocol.md, "What is counted" and "What counts as reached")."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Literal

import numpy as np
import numpy.typing as npt

from harness.stats.price import PREFIX, PRICED_LEDGERS, prices_of

Array = npt.NDArray[np.float64]
Crossing = Literal["sustained", "first"]

#: Every cost axis that a comparison can be made on. ``token_cost`` is the published cost model below.
COST_LEDGERS = (
    "training_seconds",
    "cpu_seconds",
    "training_steps",
    "optimizer_steps",
    "rollouts",
    "generated_tokens",
    "trained_tokens",
    "forward_tokens",
    "token_cost",
)

#: Accuracies are sums of fractions: a target computed from them may miss its own curve by a rounding error.
TOLERANCE = 1e-9


@dataclass(frozen=True, slots=True)
class CostModel:
    """``generated``·tokens generated + ``forward``·forward-only tokens + ``trained``·tokens trained on.

    The defaults are floating-point operations per parameter and token (Kaplan et al. 2020: 2 forward, 4 backward), so
    the unit of ``token_cost`` is operations per parameter.
    """

    generated: float = 2.0
    forward: float = 2.0
    trained: float = 6.0


@dataclass(frozen=True, slots=True, eq=False)
class Curve:
    """The evaluation points of one run.

    accuracy: shape (E,), in order of cost. costs: cumulative cost of each point, shape (E,) per cost ledger.
    complete: False for a run that is unfinished or failed; what it has reached so far counts, what it has not is open.
    """

    combination: str
    strategy: str
    seed: int
    accuracy: Array
    costs: Mapping[str, Array]
    complete: bool = True

    def __post_init__(self) -> None:
        for name, cost in self.costs.items():
            if cost.shape != self.accuracy.shape:
                raise ValueError(f"costs {name!r} have shape {cost.shape}, the accuracies {self.accuracy.shape}")

    def cost(self, ledger: str) -> Array:
        """Cumulative cost of each evaluation on a ledger, shape (E,); ``price:1`` and the like are worked out from the tokens.

        Raises KeyError for a ledger that the curve does not have.
        """
        prices = prices_of(ledger)
        return self.costs[ledger] if prices is None else prices.cost(self.costs)

    def has(self, ledger: str) -> bool:
        """Whether :meth:`cost` knows the ledger."""
        return all(name in self.costs for name in (PRICED_LEDGERS if ledger.startswith(PREFIX) else (ledger,)))


@dataclass(frozen=True, slots=True)
class Reach:
    """The outcome of one run on one cost ledger.

    cost: cost of the crossing, +inf for a miss. budget: cost of the last evaluation, where a miss is censored.
    index: evaluation that crossed, or None.
    """

    cost: float
    budget: float
    index: int | None

    @property
    def reached(self) -> bool:
        """Whether the target was reached."""
        return self.index is not None


def crossing_index(accuracy: Array, target: float, rule: Crossing = "sustained") -> int | None:
    """Index of the evaluation that crosses ``target``, or None.

    ``first``: the first evaluation at or above the target (the paper's and AlgoPerf's rule). ``sustained``: the first
    at or above it whose mean with the next one is too. The last evaluation has no next one, so alone it does not count:
    otherwise one more evaluation could take a result back.
    """
    at = np.asarray(accuracy, dtype=np.float64)
    level = target - TOLERANCE
    hit = at >= level
    if rule == "sustained":
        hit = hit[:-1] & ((at[:-1] + at[1:]) / 2 >= level)
    hits = np.flatnonzero(hit)
    return int(hits[0]) if len(hits) else None


def reach(
    curve: Curve,
    target: float | None,
    *,
    cost: str = "training_seconds",
    rule: Crossing = "sustained",
    interpolate: bool = False,
) -> Reach:
    """Cost to reach ``target`` on one cost ledger; a miss is +inf, censored at the last evaluation.

    ``target`` None means that no target could be resolved: everything is a miss. ``interpolate`` places the crossing on
    the straight line from the evaluation before; by default the cost is that of the evaluation itself.
    """
    index = None if target is None else crossing_index(curve.accuracy, target, rule)
    found = _at(curve, index, cost)
    if target is not None and index and interpolate:
        spent, at = curve.cost(cost), found.cost
        before, now = float(curve.accuracy[index - 1]), float(curve.accuracy[index])
        if now > before:
            share = min(max((target - before) / (now - before), 0.0), 1.0)
            return replace(found, cost=float(spent[index - 1]) + share * (at - float(spent[index - 1])))
    return found


def reach_everywhere(curve: Curve, target: float | None, rule: Crossing = "sustained", more: Sequence[str] = ()) -> dict[str, Reach]:
    """:func:`reach` on every cost ledger of the curve, and on ``more`` where it has what they need: they share one crossing."""
    index = None if target is None else crossing_index(curve.accuracy, target, rule)
    return {cost: _at(curve, index, cost) for cost in (*curve.costs, *(c for c in more if curve.has(c)))}


def _at(curve: Curve, index: int | None, cost: str) -> Reach:
    spent = curve.cost(cost)
    budget = float(spent[-1]) if len(spent) else 0.0
    return Reach(cost=float("inf") if index is None else float(spent[index]), budget=budget, index=index)


def reach_rate(outcomes: Sequence[Reach]) -> float:
    """Share of runs that reached the target; 0 for no runs at all."""
    return sum(o.reached for o in outcomes) / len(outcomes) if outcomes else 0.0
