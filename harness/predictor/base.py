"""What every difficulty predictor offers, and how one is loaded from its artifact."""

from __future__ import annotations

from typing import Protocol

from harness.predictor.questions import PoolFeatures
from harness.predictor.references import Info
from harness.types import FloatArray, IntArray


class DifficultyPredictor(Protocol):
    """Predicts the pass rate of every question of a pool under the current policy from rolled-out references.

    ``prepare`` is called once per pool; ``predict`` at every selection and leaves scalars about it in ``info``.
    """

    @property
    def kind(self) -> str:
        """``attention``, ``irt``, ``history`` or ``ensemble``."""
        ...

    @property
    def info(self) -> Info:
        """Scalars about the last prediction; a fallback is under ``predictor_fallback``."""
        ...

    def prepare(self, pool: PoolFeatures) -> None:
        """Do all that does not depend on the policy: projections, item parameters."""
        ...

    def predict(self, reference_ids: IntArray, reference_pass_rates: FloatArray, query_ids: IntArray | None = None) -> FloatArray:
        """Predicted pass rates, shape (n,), float64, in the order of ``query_ids`` (None: the whole pool).

        A reference is predicted as if its own outcome were not known where the predictor can do so cheaply (``attention``).
        Raises UserError for a bad reference set (``check_references``).
        """
        ...
