"""The paper's predictor, at inference: attention over reference questions, in numpy (arXiv 2506.05316, section 3).

    z = Adapter(e)                       LayerNorm → linear layers with GELU between them → LayerNorm; one each for queries and references
    a_i = softmax_i(z_q·z_i / (√h T))    over the K references (T = 1; optionally only the k largest are kept)
    p̂_q = Σ_i a_i p_i                    with the references' pass rates p_i
    p̂_cal                                Platt scaling; its slope and shift come from the mean and deviation of the p_i (``network``)

Query projections do not change while the policy trains, so they are made once per artifact and pool; a selection projects K references
and does one chunked matrix product.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np

from harness.errors import UserError, did_you_mean
from harness.numerics.functions import logit, sigmoid
from harness.predictor.artifact import Arrays, load_artifact
from harness.predictor.network import adapt, check_network, platt_coefficients
from harness.predictor.progress import Counter
from harness.predictor.questions import PoolFeatures
from harness.predictor.references import Info, References, check_references, reference_info
from harness.types import FloatArray, IntArray

Calibration = Literal["none", "platt", "platt+linear"]
CALIBRATIONS: tuple[Calibration, ...] = ("none", "platt", "platt+linear")
Variant = Literal["paper", "code"]
#: What the authors' repository does differently from the paper, at inference.
VARIANTS: dict[Variant, dict[str, Any]] = {"paper": {}, "code": {"calibration": "platt+linear", "exclude_self": False}}
_SCORE_CELLS = 1 << 20
_PROJECTION_ROWS = 2048
_LEAST_DEVIATION = 1e-6
#: The first schema whose attention artifacts have the present network.
_LEAST_SCHEMA = 2


@dataclass(frozen=True, slots=True)
class AttentionSettings:
    """Choices at inference; the defaults are the paper's. ``AttentionSettings.of("code")`` gives those of the authors' repository.

    calibration: ``none``; ``platt`` (the paper); ``platt+linear`` (the repository: then a linear regression of the references' observed
    pass rates on their predictions, whose values are not clipped to [0, 1]). exclude_self: a question that is itself a reference
    attends to the *other* references only (the repository lets it attend to itself; the paper predicts no references). top_k: attend
    to the k nearest references only (None: all). temperature: divides the attention scores.
    """

    calibration: Calibration = "platt"
    exclude_self: bool = True
    top_k: int | None = None
    temperature: float = 1.0

    def __post_init__(self) -> None:
        if self.calibration not in CALIBRATIONS:
            raise UserError(f"unknown calibration {self.calibration!r} (known: {', '.join(CALIBRATIONS)})")
        if self.top_k is not None and self.top_k < 1:
            raise UserError(f"top_k attention needs at least one reference, not {self.top_k}")
        if not self.temperature > 0:
            raise UserError(f"the attention temperature must be positive, not {self.temperature}")

    @classmethod
    def of(cls, variant: str, **chosen: Any) -> AttentionSettings:
        """The settings of ``paper`` or ``code``; those in ``chosen`` that are not None take their place."""
        given = {name: value for name, value in chosen.items() if value is not None}
        return cls(**{**VARIANTS[check_variant(variant)], **given})


def check_variant(name: str) -> Variant:
    """``name`` if it is a variant. Raises UserError."""
    for variant in VARIANTS:
        if name == variant:
            return variant
    raise UserError(f"unknown variant {name!r}{did_you_mean(name, VARIANTS)} (known: {', '.join(VARIANTS)})")


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
        check_network(arrays, description)

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
        if description["schema"] < _LEAST_SCHEMA:
            raise UserError(
                f"the attention predictor in {path} was trained by an older version, whose network had an activation after its last "
                "layer and another calibration head; train it again with 'halfway predictor train'"
            )
        return cls({name: array.astype(dtype) for name, array in arrays.items()}, description, settings)

    @property
    def width(self) -> int:
        """Width of the embeddings it takes."""
        return int(self.description["width"])

    @property
    def units(self) -> int:
        """h, the width of the projections."""
        return int(self.description["units"])

    def project_queries(self, embeddings: FloatArray, out: FloatArray | None = None, progress: Counter | None = None) -> FloatArray:
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
        """Predicted pass rates, shape (n,) in the order of ``query_ids`` (None: all N questions), float64.

        reference_ids, reference_pass_rates: shape (K,). Predictions lie in [0, 1] unless the calibration is ``platt+linear``. Leaves
        scalars about the prediction in ``info``. Raises UserError for a bad reference set (``check_references``).
        """
        if self._queries is None or self._embeddings is None:
            raise RuntimeError("call project_queries(embeddings) once before predict()")
        references = check_references(reference_ids, reference_pass_rates, len(self._queries))
        self.info = reference_info(references)
        keys = adapt(self._arrays, self._reference_prefix, self._inputs(self._embeddings[references.ids]))
        predicted = self._calibrated(references, keys, query_ids)
        if self.settings.calibration != "platt+linear":
            return predicted
        slope, intercept = _least_squares(self._calibrated(references, keys, references.ids), references.pass_rates)
        self.info["linear_slope"] = slope
        return slope * predicted + intercept

    def _calibrated(self, references: References, keys: FloatArray, query_ids: IntArray | None) -> FloatArray:
        """Pass rates after Platt scaling, shape (n,)."""
        attended = self._attend(references, keys, query_ids)
        if self.settings.calibration == "none":
            return attended
        slope, shift = platt_coefficients(self._arrays, self.description["head"], references.pass_rates)
        return sigmoid(slope * logit(attended) + shift)

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
        """Pass rates before calibration, shape (n,), in chunks whose score matrix fits the cache."""
        assert self._queries is not None
        pool_size, num_keys = len(self._queries), len(keys)
        slots = np.full(pool_size, -1, dtype=np.int32)
        if self.settings.exclude_self and num_keys > 1:  # a lone reference has nobody else to attend to
            slots[references.ids] = np.arange(num_keys)
        ids = None if query_ids is None else np.asarray(query_ids)
        count = pool_size if ids is None else len(ids)
        # [p, 1] side by side: one product gives Σ aᵢpᵢ and Σ aᵢ
        values = np.stack([references.pass_rates, np.ones(num_keys)], axis=1).astype(self._dtype)
        scaled = (keys / (np.sqrt(self.units) * self.settings.temperature)).astype(self._dtype).T.copy()
        attended = np.empty(count, dtype=np.float64)
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
            attended[start:stop] = sums[:, 0] / sums[:, 1]
        return attended


def _least_squares(x: FloatArray, y: FloatArray) -> tuple[float, float]:
    """Slope and intercept of the line through points of shape (K,); a level line where all x are the same but for rounding."""
    centred = x - x.mean()
    slope = float(centred @ (y - y.mean())) / float(centred @ centred) if x.std() > _LEAST_DEVIATION else 0.0
    return slope, float(y.mean() - slope * x.mean())


def _keep_largest(scores: FloatArray, count: int) -> None:
    """Set all but the ``count`` largest scores of each row to −inf."""
    lost = np.argpartition(scores, scores.shape[1] - count, axis=1)[:, : scores.shape[1] - count]
    np.put_along_axis(scores, lost, -np.inf, axis=1)
