"""The paper's predictor, at inference: attention over reference questions, in numpy (arXiv 2506.05316, section 3).

    z = Adapter(e)                       LayerNorm → three GELU layers → LayerNorm; queries and references have one each
    a_i = softmax_i(z_q·z_i / (√h T))    over the K references (T = 1; optionally only the k largest are kept)
    d̂_q = Σ_i a_i d_i
    (w, b) = (softplus, tanh) of MLP([mean(d_ref), std(d_ref)])
    d̂_cal = sigmoid(w·logit(d̂) + b)

Inside everything is difficulty d = 1 − pass rate; the interface speaks pass rates. Query projections do not change while
the policy trains, so they are made once per artifact and pool; a selection projects K references and does one chunked
matrix product. A question that is itself a reference attends to the *other* references only, as in training.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np

from harness.errors import UserError
from harness.numerics.functions import gelu_, layer_norm, logit, sigmoid, softplus
from harness.predictor.artifact import Arrays, load_artifact
from harness.predictor.questions import PoolFeatures
from harness.predictor.references import Info, References, check_references, reference_info
from harness.types import FloatArray, IntArray

Calibration = Literal["none", "platt", "platt+linear"]
CALIBRATIONS: tuple[Calibration, ...] = ("none", "platt", "platt+linear")
LAYERS = 3
_SCORE_CELLS = 1 << 20
_PROJECTION_ROWS = 2048
_LEAST_REFERENCES_FOR_LINEAR = 8


@dataclass(frozen=True, slots=True)
class AttentionSettings:
    """Choices at inference.

    calibration: ``none``; ``platt`` (the paper); ``platt+linear`` (the authors' code: also a linear regression of the
    references' observed difficulty on their leave-one-out predictions). top_k: attend to the k nearest references only
    (None: all). temperature: divides the attention scores.
    """

    calibration: Calibration = "platt"
    top_k: int | None = None
    temperature: float = 1.0

    def __post_init__(self) -> None:
        if self.calibration not in CALIBRATIONS:
            raise UserError(f"unknown calibration {self.calibration!r} (known: {', '.join(CALIBRATIONS)})")
        if self.top_k is not None and self.top_k < 1:
            raise UserError(f"top_k attention needs at least one reference, not {self.top_k}")
        if not self.temperature > 0:
            raise UserError(f"the attention temperature must be positive, not {self.temperature}")


def adapt(arrays: Arrays, prefix: str, embeddings: FloatArray) -> FloatArray:
    """Adapter ``prefix`` (``query`` or ``reference``) on embeddings of shape (n, width): z of shape (n, h)."""
    x = layer_norm(embeddings, arrays[f"{prefix}.input_norm.weight"], arrays[f"{prefix}.input_norm.bias"])
    for layer in range(LAYERS):
        x = x @ arrays[f"{prefix}.layers.{layer}.weight"].T
        x += arrays[f"{prefix}.layers.{layer}.bias"]
        gelu_(x)
    return layer_norm(x, arrays[f"{prefix}.output_norm.weight"], arrays[f"{prefix}.output_norm.bias"])


def platt_coefficients(arrays: Arrays, difficulties: FloatArray) -> tuple[float, float]:
    """(w, b) of the calibration head for the difficulties of one reference set, shape (K,)."""
    features = np.array([difficulties.mean(), difficulties.std()], dtype=arrays["calibration.0.weight"].dtype)
    hidden = gelu_((arrays["calibration.0.weight"] @ features + arrays["calibration.0.bias"])[None])[0]
    slope, shift = arrays["calibration.1.weight"] @ hidden + arrays["calibration.1.bias"]
    return float(softplus(slope)), float(np.tanh(shift))


class AttentionPredictor:
    """Predicts pass rates of all questions from K rolled-out references. See the module docstring.

    ``info`` holds scalars about the last prediction (``predictor_fallback`` names a fallback, if there was one).
    Use: ``load``, then ``project_queries`` once, then ``predict`` at every selection.
    """

    kind = "attention"

    def __init__(self, arrays: Arrays, description: dict[str, Any], settings: AttentionSettings | None = None) -> None:
        self.description = description
        self.settings = settings or AttentionSettings()
        self.info: Info = {}
        self._arrays = arrays
        self._reference_prefix = "query" if description["shared"] else "reference"
        self._embeddings: FloatArray | None = None
        self._queries: FloatArray | None = None
        _check_shapes(arrays, description)

    @classmethod
    def load(
        cls,
        path: Path | str,
        settings: AttentionSettings | None = None,
        *,
        embedder: str | None = None,
        dtype: type[np.floating[Any]] = np.float32,
    ) -> AttentionPredictor:
        """The predictor saved in folder ``path``.

        embedder: id of the embedder in use; None does not check it. Raises UserError for a missing or broken artifact
        and for one that was made for another embedder.
        """
        description, arrays = load_artifact(path, cls.kind, embedder)
        return cls({name: array.astype(dtype) for name, array in arrays.items()}, description, settings)

    @property
    def width(self) -> int:
        """Width of the embeddings it takes."""
        return int(self.description["width"])

    @property
    def units(self) -> int:
        """h, the width of the projections."""
        return int(self.description["units"])

    def project_queries(
        self, embeddings: FloatArray, out: FloatArray | None = None, progress: Callable[[int, int], None] | None = None
    ) -> FloatArray:
        """Project every question of the pool once and keep the result: shape (N, h), float32 unless ``out`` says otherwise.

        embeddings: shape (N, width), may be memory-mapped, float16 or float32; kept by reference, because references are
        looked up in it. out: an (N, h) array to fill instead, for instance a float16 memory map. progress(done, N).
        Raises UserError for a wrong width or non-finite embeddings.
        """
        if embeddings.ndim != 2 or embeddings.shape[1] != self.width:
            raise UserError(
                f"the predictor takes embeddings of width {self.width} (embedder {self.description['embedder']!r}), "
                f"but these have shape {embeddings.shape}"
            )
        count = len(embeddings)
        result = np.empty((count, self.units), dtype=self._dtype) if out is None else out
        for start in range(0, count, _PROJECTION_ROWS):
            rows = slice(start, min(start + _PROJECTION_ROWS, count))
            block = self._inputs(embeddings[rows])
            if not np.isfinite(block).all():
                raise UserError(f"the embeddings of questions {start} to {rows.stop - 1} hold NaN or infinite values")
            result[rows] = adapt(self._arrays, "query", block)
            if progress is not None:
                progress(rows.stop, count)
        return self.attach(embeddings, result)

    def attach(self, embeddings: FloatArray, queries: FloatArray) -> FloatArray:
        """Use projections made earlier by ``project_queries`` for the same embeddings, shape (N, h)."""
        if queries.shape != (len(embeddings), self.units):
            raise UserError(f"projections of shape {queries.shape} do not fit {len(embeddings)} questions × {self.units} units")
        self._embeddings, self._queries = embeddings, queries
        return queries

    def prepare(self, pool: PoolFeatures) -> None:
        """Project the pool's questions (``DifficultyPredictor``)."""
        self.project_queries(pool.embeddings)

    def predict(self, reference_ids: IntArray, reference_pass_rates: FloatArray, query_ids: IntArray | None = None) -> FloatArray:
        """Predicted pass rates, shape (n,) in the order of ``query_ids`` (None: all N questions), float64 in [0, 1].

        reference_ids, reference_pass_rates: shape (K,). Raises UserError for a bad reference set (see
        ``check_references``). Leaves scalars about the prediction in ``info``.
        """
        if self._queries is None or self._embeddings is None:
            raise RuntimeError("call project_queries(embeddings) once before predict()")
        references = check_references(reference_ids, reference_pass_rates, len(self._queries))
        self.info = reference_info(references)
        keys = adapt(self._arrays, self._reference_prefix, self._inputs(self._embeddings[references.ids]))
        slope, shift = platt_coefficients(self._arrays, references.difficulties) if self.settings.calibration != "none" else (1.0, 0.0)
        linear = None
        if self.settings.calibration == "platt+linear":
            own = sigmoid(slope * logit(self._attend(references, keys, references.ids)) + shift)
            linear = self._fit_linear(references, own)
        difficulty = self._attend(references, keys, query_ids)
        difficulty = sigmoid(slope * logit(difficulty) + shift)
        if linear is not None:
            difficulty = np.clip(linear[0] + linear[1] * difficulty, 0.0, 1.0)
        return 1.0 - difficulty

    def _inputs(self, embeddings: FloatArray) -> FloatArray:
        """Embeddings as the adapters take them: standardised per dimension where training did so."""
        block = np.asarray(embeddings, dtype=self._dtype)
        if "input_mean" in self._arrays:
            block = (block - self._arrays["input_mean"]) / self._arrays["input_scale"]
        return block

    @property
    def _dtype(self) -> np.dtype[Any]:
        return self._arrays["query.input_norm.weight"].dtype

    def _attend(self, references: References, keys: FloatArray, query_ids: IntArray | None) -> FloatArray:
        """d̂ before calibration, shape (n,), in chunks whose score matrix fits the cache."""
        assert self._queries is not None
        pool_size, num_keys = len(self._queries), len(keys)
        slots = np.full(pool_size, -1, dtype=np.int32)
        if num_keys > 1:  # a lone reference has nobody else to attend to
            slots[references.ids] = np.arange(num_keys)
        ids = None if query_ids is None else np.asarray(query_ids)
        count = pool_size if ids is None else len(ids)
        # [d, 1] side by side: one product gives Σ aᵢdᵢ and Σ aᵢ
        values = np.stack([references.difficulties, np.ones(num_keys)], axis=1).astype(self._dtype)
        scaled = (keys / (np.sqrt(self.units) * self.settings.temperature)).astype(self._dtype).T.copy()
        difficulty = np.empty(count, dtype=np.float64)
        rows = max(1, _SCORE_CELLS // num_keys)
        for start in range(0, count, rows):
            stop = min(start + rows, count)
            chunk: Any = slice(start, stop) if ids is None else ids[start:stop]
            scores = np.asarray(self._queries[chunk], dtype=self._dtype) @ scaled
            own = slots[chunk]
            masked = np.flatnonzero(own >= 0)
            scores[masked, own[masked]] = -np.inf
            if self.settings.top_k is not None and self.settings.top_k < num_keys:
                _keep_largest(scores, self.settings.top_k)
            scores -= scores.max(axis=1, keepdims=True)
            np.exp(scores, out=scores)
            sums = scores @ values
            difficulty[start:stop] = sums[:, 0] / sums[:, 1]
        return difficulty

    def _fit_linear(self, references: References, predicted: FloatArray) -> tuple[float, float] | None:
        """Intercept and slope of observed on predicted difficulty over the references, or None (recorded) where that fails."""
        if len(predicted) < _LEAST_REFERENCES_FOR_LINEAR or predicted.std() < 1e-6:
            self.info["linear_calibration"] = "skipped: too few or too similar references"
            return None
        slope, intercept = np.polyfit(predicted, references.difficulties, 1)
        if slope <= 0:
            self.info["linear_calibration"] = "skipped: predictions of the references fall as their difficulty rises"
            return None
        self.info["linear_slope"] = float(slope)
        return float(intercept), float(slope)


def _keep_largest(scores: FloatArray, count: int) -> None:
    """Set all but the ``count`` largest scores of each row to −inf."""
    lost = np.argpartition(scores, scores.shape[1] - count, axis=1)[:, : scores.shape[1] - count]
    np.put_along_axis(scores, lost, -np.inf, axis=1)


def _check_shapes(arrays: Arrays, description: dict[str, Any]) -> None:
    width, units = int(description["width"]), int(description["units"])
    for prefix in ("query",) if description["shared"] else ("query", "reference"):
        expected: dict[str, tuple[int, ...]] = {
            f"{prefix}.input_norm.weight": (width,),
            f"{prefix}.output_norm.weight": (units,),
        }
        for layer in range(LAYERS):
            expected[f"{prefix}.layers.{layer}.weight"] = (units, units if layer else width)
        for name, shape in expected.items():
            found = arrays[name].shape if name in arrays else None
            if found != shape:
                raise UserError(f"the predictor's weights do not fit its description: {name} is {found}, expected {shape}; train it again")
