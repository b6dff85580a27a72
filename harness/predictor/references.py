"""The reference set of a selection: checked once, for every predictor."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from harness.errors import UserError
from harness.types import FloatArray, IntArray

Info = dict[str, float | str | bool]
"""Scalars about a prediction, ready for ``Selection.info``; a recorded fallback is under ``predictor_fallback``."""


@dataclass(frozen=True, slots=True)
class References:
    """K questions with their observed pass rates under the current policy.

    ids: shape (K,), positions in the pool, no repeats. pass_rates: shape (K,), float64 in [0, 1].
    """

    ids: IntArray
    pass_rates: FloatArray

    @property
    def are_uninformative(self) -> bool:
        """True when all observed pass rates are 0, or all are 1: no predictor can rank questions from them."""
        return bool((self.pass_rates == 0).all() or (self.pass_rates == 1).all())


def check_references(reference_ids: IntArray, reference_pass_rates: FloatArray, pool_size: int) -> References:
    """The reference set, or a UserError that says what is wrong with it.

    Refused: no reference at all, more references than questions, lengths that differ, ids outside the pool or repeated, pass
    rates that are NaN or outside [0, 1].
    """
    ids = np.asarray(reference_ids).astype(np.int64, copy=False).ravel()
    rates = np.asarray(reference_pass_rates, dtype=np.float64).ravel()
    if len(ids) == 0:
        raise UserError("the predictor needs at least one reference question, and got none")
    if len(ids) != len(rates):
        raise UserError(f"the predictor got {len(ids)} reference questions but {len(rates)} pass rates")
    if len(ids) > pool_size:
        raise UserError(f"{len(ids)} reference questions do not fit a pool of {pool_size}; lower the number of references")
    outside = (ids < 0) | (ids >= pool_size)
    if outside.any():
        raise UserError(f"reference question {ids[outside][0]} is not in the pool of {pool_size} questions")
    if len(np.unique(ids)) != len(ids):
        values, counts = np.unique(ids, return_counts=True)
        raise UserError(f"reference question {values[counts > 1][0]} is given twice; give every reference once")
    bad = ~((rates >= 0) & (rates <= 1))
    if bad.any():
        raise UserError(f"the pass rate of reference question {ids[bad][0]} is {rates[bad][0]}; it must lie in [0, 1]")
    return References(ids, rates)


def reference_info(references: References) -> Info:
    """Scalars about a reference set, and the fallback where every reference is solved or every one is failed."""
    info: Info = {
        "references": float(len(references.ids)),
        "reference_pass_rate_mean": float(references.pass_rates.mean()),
        "reference_pass_rate_std": float(references.pass_rates.std()),
    }
    if references.are_uninformative:
        value = int(references.pass_rates[0])
        info["predictor_fallback"] = f"every reference has pass rate {value}: the same prediction for all questions"
    return info
