"""Ensemble: several predictors, stacked by the reference set.

    logit p_q = c + Σ_j s_j · logit p̂_qj

The members predict every reference from the *other* references (5-fold); a logistic regression of the observed outcomes on
those predictions, with the prior s_j ~ N(1/J, ⅓²) and c ~ N(0, 1), gives the stacking weights: a member that is useless for this policy
loses its weight, and with few references the plain average remains.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from harness.errors import UserError
from harness.numerics.functions import sigmoid
from harness.numerics.logistic import fit_logistic
from harness.predictor.artifact import save_artifact
from harness.predictor.base import DifficultyPredictor
from harness.predictor.questions import PoolFeatures
from harness.predictor.references import Info, References, check_references, reference_info
from harness.types import FloatArray, IntArray

_FOLDS = 5
_PRIOR_SD_WEIGHT, _PRIOR_SD_OFFSET = 1 / 3, 1.0
_MARGIN = 1e-3


class EnsemblePredictor:
    """See the module docstring. members: at least two. rollouts: behind the references' pass rates."""

    kind = "ensemble"

    def __init__(self, members: Sequence[DifficultyPredictor], rollouts: int = 8) -> None:
        if len(members) < 2:
            raise UserError(f"an ensemble needs at least two predictors, not {len(members)}")
        self.members = tuple(members)
        self.rollouts = rollouts
        self.info: Info = {}
        self._size = 0

    def prepare(self, pool: PoolFeatures) -> None:
        """Prepare every member."""
        self._size = len(pool)
        for member in self.members:
            member.prepare(pool)

    def predict(self, reference_ids: IntArray, reference_pass_rates: FloatArray, query_ids: IntArray | None = None) -> FloatArray:
        """Stacked pass rates, shape (n,); the plain average of logits, and a note, where the references cannot be split."""
        references = check_references(reference_ids, reference_pass_rates, self._size)
        count = len(self.members)
        mean = np.concatenate([[0.0], np.full(count, 1 / count)])
        weights = mean
        info = reference_info(references)
        if len(references.ids) < 2 * _FOLDS:
            info["predictor_fallback"] = f"{len(references.ids)} references are too few to stack: the members' average"
        elif not references.are_uninformative:
            held_out = self._held_out(references)
            deviation = np.concatenate([[_PRIOR_SD_OFFSET], np.full(count, _PRIOR_SD_WEIGHT)])
            weights = fit_logistic(held_out, references.pass_rates, self.rollouts, mean, deviation**-2.0)
        predicted = sigmoid(self._design(references.ids, references.pass_rates, query_ids) @ weights)
        for member, weight in zip(self.members, weights[1:], strict=True):
            info[f"ensemble_weight_{member.kind}"] = float(weight)
        self.info = info
        return predicted

    def _held_out(self, references: References) -> FloatArray:
        """Members' logits for each reference, predicted from the other folds, with a leading column of ones."""
        fold = np.arange(len(references.ids)) % _FOLDS
        design = np.empty((len(references.ids), 1 + len(self.members)))
        for k in range(_FOLDS):
            kept, held = fold != k, fold == k
            design[held] = self._design(references.ids[kept], references.pass_rates[kept], references.ids[held])
        return design

    def _design(self, ids: IntArray, rates: FloatArray, query_ids: IntArray | None) -> FloatArray:
        columns = [np.clip(m.predict(ids, rates, query_ids), _MARGIN, 1 - _MARGIN) for m in self.members]
        return np.column_stack([np.ones(len(columns[0])), *[np.log(c) - np.log1p(-c) for c in columns]])


def save_ensemble(out: Path, members: Sequence[str], embedder: str) -> None:
    """Write an ensemble's description into ``out``; ``members`` are folders inside it that hold trained predictors."""
    save_artifact(out, {"kind": EnsemblePredictor.kind, "embedder": embedder, "members": list(members)}, {"size": np.array([len(members)])})
