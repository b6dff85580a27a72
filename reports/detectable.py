"""The smallest speed-up that the seeds of a report can show, in seconds and at every price of a generated token."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from harness.stats import TokenPrices, log_deviation, minimum_detectable_speed_up
from reports.arms import Combination

#: A speed-up from which on the scatter of the pairs says nothing that could be used.
_OF_NO_USE = 100.0


def scatter(combinations: Sequence[Combination], ledger: str) -> float | None:
    """Median over strategies of the standard deviation of the pairs' log ratios; None where no two pairs are known exactly.

    ledger: a cost ledger, or ``main`` for the deciding one of every combination.
    """
    found = [
        log_deviation(arm.speed_ups[cost])
        for combination in combinations
        for cost in [combination.main_cost if ledger == "main" else ledger]
        for arm in combination.arms
        if cost in arm.speed_ups
    ]
    known = [deviation for deviation in found if deviation is not None]
    return float(np.median(known)) if known else None


def detectable_speed_ups(combination: Combination, prices: Sequence[TokenPrices], n: int) -> dict[str, float]:
    """By ledger, the deciding one first: the smallest speed-up that n pairs show with power 0.8, where the scatter tells one."""
    found = {}
    for ledger in (combination.main_cost, *(p.ledger for p in prices)):
        deviation = scatter([combination], ledger)
        if deviation:
            smallest = minimum_detectable_speed_up(deviation, n)
            if smallest < _OF_NO_USE:
                found[ledger] = smallest
    return found
