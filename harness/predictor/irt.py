"""Item-response predictor: what other models' pass rates say about questions, what the references say about the policy.

    logit P(policy solves q) = c + s·b_q + a_q·θ

Per question an easiness b_q and discriminations a_q (D of them), fitted on other models' pass rates: b_q is the mean logit
over models, a_q the leading components of what is left, scaled so that the training models' θ have unit variance. The
policy's ability (c, s, θ) is the maximum a posteriori fit to the references' outcomes under the prior c ~ N(0, 2²),
s ~ N(1, ½²), θ ~ N(0, 1). Questions that no other model has tried get (b_q, a_q) by kernel ridge regression on their
embeddings. One and two dimensions are the classical models (Rasch, Birnbaum's 2PL); eight predict best on real models.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from harness.errors import UserError
from harness.numerics.functions import sigmoid
from harness.numerics.logistic import fit_logistic
from harness.predictor.artifact import Arrays, load_artifact, save_artifact
from harness.predictor.kernel_ridge import KernelRidge
from harness.predictor.progress import Counter
from harness.predictor.questions import PoolFeatures
from harness.predictor.references import Info, check_references, reference_info
from harness.types import FloatArray, IntArray

_PRIOR_SD_OFFSET, _PRIOR_SD_SLOPE, _PRIOR_SD_ABILITY = 2.0, 0.5, 1.0
_IMPUTATIONS = 8
_ADDITIVE_ROUNDS = 30


class IrtPredictor:
    """See the module docstring. ``rollouts`` (settable) is how many rollouts stand behind a reference's pass rate."""

    kind = "irt"

    def __init__(self, arrays: Arrays, description: dict[str, Any], rollouts: int = 8) -> None:
        self.description = description
        self.rollouts = rollouts
        self.info: Info = {}
        self._arrays = arrays
        self._prior = KernelRidge({k.removeprefix("prior."): v for k, v in arrays.items() if k.startswith("prior.")})
        self._items: FloatArray | None = None
        self._seen = 0

    @classmethod
    def load(cls, path: Path | str, *, embedder: str | None = None, rollouts: int = 8) -> IrtPredictor:
        """The predictor saved in folder ``path``; UserError for a broken artifact or another embedder."""
        description, arrays = load_artifact(path, cls.kind, embedder)
        return cls(arrays, description, rollouts)

    def prepare(self, pool: PoolFeatures) -> None:
        """Look up the item parameters of questions seen in training; predict those of the others from embeddings."""
        width = int(self.description["width"])
        if pool.embeddings.shape[1] != width:
            raise UserError(
                f"the predictor takes embeddings of width {width} (embedder {self.description['embedder']!r}), "
                f"but these have shape {pool.embeddings.shape}"
            )
        known = {key.tobytes(): i for i, key in enumerate(self._arrays["keys"])}
        keys = pool.keys or ()
        rows = np.array([known.get(_key_bytes(k), -1) for k in keys], dtype=np.int64) if keys else np.full(len(pool), -1)
        items = np.empty((len(pool), self._arrays["items"].shape[1]))
        seen = rows >= 0
        items[seen] = self._arrays["items"][rows[seen]]
        if not seen.all():
            items[~seen] = self._prior.predict(pool.embeddings[~seen])
        self._items, self._seen = items, int(seen.sum())

    def predict(self, reference_ids: IntArray, reference_pass_rates: FloatArray, query_ids: IntArray | None = None) -> FloatArray:
        """Predicted pass rates, shape (n,); see ``DifficultyPredictor``."""
        if self._items is None:
            raise RuntimeError("call prepare(pool) once before predict()")
        references = check_references(reference_ids, reference_pass_rates, len(self._items))
        self.info = reference_info(references)
        if self.info.pop("predictor_fallback", None) is not None:
            self.info["predictor_fallback"] = f"every reference has pass rate {int(references.pass_rates[0])}: abilities from the prior"
        design = np.hstack([np.ones((len(self._items), 1)), self._items])
        dimensions = self._items.shape[1] - 1
        mean = np.concatenate([[0.0, 1.0], np.zeros(dimensions)])
        deviation = np.concatenate([[_PRIOR_SD_OFFSET, _PRIOR_SD_SLOPE], np.full(dimensions, _PRIOR_SD_ABILITY)])
        ability = fit_logistic(design[references.ids], references.pass_rates, self.rollouts, mean, deviation**-2.0)
        self.info.update(irt_offset=float(ability[0]), irt_slope=float(ability[1]), irt_seen_questions=float(self._seen))
        return sigmoid((design if query_ids is None else design[query_ids]) @ ability)


def fit_irt(
    embeddings: FloatArray,
    pass_rates: FloatArray,
    keys: Sequence[str],
    *,
    embedder: str,
    out: Path,
    seed: int,
    rollouts: FloatArray | Sequence[float] | float = 8,
    dimensions: int = 8,
    model_names: Sequence[str] | None = None,
    progress: Counter | None = None,
) -> dict[str, Any]:
    """Fit item parameters and their embedding prior, save them in folder ``out`` and return the description.

    embeddings: (N, width). pass_rates: (N, M), NaN where not measured. keys: N content keys. rollouts: behind each
    column's rates, (M,) or one number. Raises UserError for fewer than two models or unmeasured questions.
    """
    started = time.perf_counter()
    rates = np.asarray(pass_rates, dtype=np.float64)
    if rates.ndim != 2 or rates.shape[1] < 2:
        raise UserError("an item-response model needs the pass rates of at least two models")
    if len(embeddings) != len(rates) or len(keys) != len(rates):
        raise UserError(f"{len(embeddings)} embeddings, {len(keys)} keys and {len(rates)} rows of pass rates do not fit together")
    if np.isnan(rates).all(axis=1).any():
        raise UserError(f"question row {int(np.flatnonzero(np.isnan(rates).all(axis=1))[0])} was measured by no model; drop it")
    items = item_parameters(rates, np.asarray(rollouts, dtype=np.float64), dimensions)
    if progress is not None:
        progress(1, 2)
    prior = KernelRidge.fit(embeddings, items, np.random.default_rng([seed, 0x697274]))
    if progress is not None:
        progress(2, 2)
    description: dict[str, Any] = {
        "kind": IrtPredictor.kind,
        "embedder": embedder,
        "width": int(embeddings.shape[1]),
        "training": {
            "dimensions": items.shape[1] - 1,
            "questions": len(rates),
            "models": list(model_names) if model_names is not None else rates.shape[1],
            "seed": seed,
            "seconds": time.perf_counter() - started,
        },
    }
    arrays: Arrays = {f"prior.{name}": array for name, array in prior.arrays.items()}
    arrays["items"] = items.astype(np.float32)
    arrays["keys"] = np.stack([np.frombuffer(_key_bytes(k), dtype=np.uint8) for k in keys])
    save_artifact(out, description, arrays)
    return description


def item_parameters(pass_rates: FloatArray, rollouts: FloatArray, dimensions: int) -> FloatArray:
    """(b_q centred, a_q) of each question, shape (N, 1 + D) with D ≤ min(dimensions, M − 1); see the module docstring.

    Rates enter as logits of (k + ½)/(n + 1), k of n rollouts. Missing rates are filled in by the model's own
    reconstruction, iterated.
    """
    missing = np.isnan(pass_rates)
    smoothed = (np.where(missing, 0.5, pass_rates) * rollouts + 0.5) / (rollouts + 1)
    logits = np.where(missing, np.nan, np.log(smoothed) - np.log1p(-smoothed))
    kept = min(dimensions, logits.shape[1] - 1)
    column, row = np.zeros(logits.shape[1]), np.zeros((len(logits), 1))
    for _ in range(_ADDITIVE_ROUNDS if missing.any() else 1):  # the best fit of row + column to what is measured
        column = np.nanmean(logits - row, axis=0)
        row = np.nanmean(logits - column, axis=1, keepdims=True)
    logits = np.where(missing, column + row, logits)
    for _ in range(_IMPUTATIONS if missing.any() else 1):
        column, row = logits.mean(axis=0), logits.mean(axis=1, keepdims=True)
        left, scale, right = np.linalg.svd(logits - row - (column - column.mean()), full_matrices=False)
        rebuilt = row + (column - column.mean()) + (left[:, :kept] * scale[:kept]) @ right[:kept]
        logits = np.where(missing, rebuilt, logits)
    return np.hstack([row - row.mean(), left[:, :kept] * scale[:kept] / np.sqrt(logits.shape[1])])


def _key_bytes(key: str) -> bytes:
    return bytes.fromhex(key)
