"""Offline question features: hashed TF-IDF, reduced by SVD, beside length and LaTeX counts. numpy only, no model.

Tokens are LaTeX commands, words, digits and signs, with their bigrams, hashed into 2^15 buckets (so the fitted state is two
small arrays, without a vocabulary). On the 12,500 MATH questions these features predict other models' pass rates better
than TF-IDF alone; see docs/predictor.md.
"""

from __future__ import annotations

import itertools
import re
import zlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from harness.errors import UserError
from harness.predictor.artifact import Arrays
from harness.predictor.progress import Counter
from harness.types import FloatArray

BUCKETS = 1 << 15
_TOKEN = re.compile(r"\\[a-z]+|[a-z]+|\d|[^\sa-z\d]")
_NUMBER = re.compile(r"\d+")
_COMMAND = re.compile(r"\\[a-zA-Z]+")
_COUNTED = ("$", "\\", "frac", "^", "_", "\\[", "asy", "=", ",", "?", "{", "(", ".", "sqrt", "triangle", "many", "integer")
_FIT_QUESTIONS = 6000
_ROWS = 256


def text_counts(text: str) -> list[float]:
    """log(1 + count) of cheap signs of difficulty: lengths, numbers, LaTeX commands and some words."""
    numbers = _NUMBER.findall(text)
    counts = [
        len(text),
        len(text.split()),
        len(numbers),
        sum(len(n) for n in numbers),
        min(max((int(n[:15]) for n in numbers), default=0), 10**12),
        len(set(_COMMAND.findall(text))),
        sum(c.islower() for c in text),
        *(text.count(sign) for sign in _COUNTED),
    ]
    return [float(v) for v in np.log1p(np.array(counts, dtype=np.float64))]


@dataclass(frozen=True, slots=True)
class _Rows:
    """A sparse matrix by rows: row i holds ``values[starts[i]:starts[i+1]]`` at ``columns``; no row is empty."""

    values: FloatArray
    columns: np.ndarray[Any, np.dtype[np.int64]]
    starts: np.ndarray[Any, np.dtype[np.int64]]

    def __len__(self) -> int:
        return len(self.starts) - 1

    def times(self, dense: FloatArray) -> FloatArray:
        """This (n, BUCKETS) matrix times a dense (BUCKETS, k) one."""
        result = np.empty((len(self), dense.shape[1]), dtype=np.float32)
        for first in range(0, len(self), _ROWS):
            last = min(first + _ROWS, len(self))
            part = slice(self.starts[first], self.starts[last])
            products = self.values[part, None] * dense[self.columns[part]]
            result[first:last] = np.add.reduceat(products, self.starts[first:last] - self.starts[first], axis=0)
        return result

    def transposed(self) -> tuple[_Rows, np.ndarray[Any, np.dtype[np.int64]]]:
        """The transpose without its empty rows, and which buckets its rows are."""
        order = np.argsort(self.columns, kind="stable")
        row_of = np.repeat(np.arange(len(self)), np.diff(self.starts))
        buckets, starts = np.unique(self.columns[order], return_index=True)
        return _Rows(self.values[order], row_of[order], np.append(starts, len(order))), buckets


class TextFeatures:
    """Fitted TF-IDF + SVD + counts; maps texts to (n, components + counts) float32."""

    def __init__(self, arrays: Arrays) -> None:
        self.arrays = arrays

    @property
    def width(self) -> int:
        """Width of the features: components and counts."""
        return int(self.arrays["components"].shape[1] + len(self.arrays["count_mean"]))

    @classmethod
    def fit(cls, texts: Sequence[str], components: int = 256, seed: int = 0, progress: Counter | None = None) -> TextFeatures:
        """Fit document frequencies, components (on at most 6,000 texts) and the scale of the counts."""
        if len(texts) < 8:
            raise UserError(f"tfidf features need at least 8 questions to be fitted, not {len(texts)}")
        rng = np.random.default_rng(seed)
        if len(texts) > _FIT_QUESTIONS:
            texts = [texts[i] for i in np.sort(rng.permutation(len(texts))[:_FIT_QUESTIONS])]
        rows = _term_counts(texts)
        frequency = np.bincount(rows.columns, minlength=BUCKETS)
        idf = np.where(frequency >= 2, np.log((1 + len(texts)) / (1 + frequency)) + 1, 0.0).astype(np.float32)
        weighted = _weigh(rows, idf)
        basis = _svd_basis(weighted, min(components, len(texts) // 2), rng, progress)
        projected = weighted.times(basis)
        counts = np.array([text_counts(t) for t in texts])
        share = np.sqrt(counts.shape[1] / basis.shape[1])  # the components weigh as much as the counts, in sum
        arrays = {
            "idf": idf,
            "components": (basis * (share / (projected.std(axis=0) + 1e-6))).astype(np.float32),
            "count_mean": counts.mean(axis=0).astype(np.float32),
            "count_scale": (counts.std(axis=0) + 1e-6).astype(np.float32),
        }
        return cls(arrays)

    def transform(self, texts: Sequence[str], progress: Counter | None = None) -> FloatArray:
        """Features of texts, shape (n, width), float32."""
        result = np.empty((len(texts), self.width), dtype=np.float32)
        components = self.arrays["components"].shape[1]
        for first in range(0, len(texts), 1024):
            part = texts[first : first + 1024]
            rows = slice(first, first + len(part))
            result[rows, :components] = _weigh(_term_counts(part), self.arrays["idf"]).times(self.arrays["components"])
            counts = np.array([text_counts(t) for t in part], dtype=np.float32)
            result[rows, components:] = (counts - self.arrays["count_mean"]) / self.arrays["count_scale"]
            if progress is not None:
                progress(rows.stop, len(texts))
        return result


def _tokens(text: str) -> Iterator[bytes]:
    words = _TOKEN.findall(text.lower())
    yield b"<start>"  # no row is ever empty
    for word in words:
        yield word.encode()
    for left, right in itertools.pairwise(words):
        yield f"{left} {right}".encode()


def _term_counts(texts: Sequence[str]) -> _Rows:
    values, columns, lengths = [], [], [0]
    for text in texts:
        buckets, counts = np.unique([zlib.crc32(t) % BUCKETS for t in _tokens(text)], return_counts=True)
        columns.append(buckets.astype(np.int64))
        values.append((1 + np.log(counts)).astype(np.float32))
        lengths.append(len(buckets))
    return _Rows(np.concatenate(values), np.concatenate(columns), np.cumsum(lengths))


def _weigh(rows: _Rows, idf: FloatArray) -> _Rows:
    """Multiply by idf and bring every row to length 1."""
    values = rows.values * idf[rows.columns]
    norms = np.sqrt(np.add.reduceat(np.square(values), rows.starts[:-1])) + 1e-12
    return _Rows(values / np.repeat(norms, np.diff(rows.starts)), rows.columns, rows.starts)


def _svd_basis(rows: _Rows, components: int, rng: np.random.Generator, progress: Counter | None) -> FloatArray:
    """Leading right singular vectors, shape (BUCKETS, components), by randomised subspace iteration (Halko et al. 2011)."""
    transposed, buckets = rows.transposed()
    sketch = rng.standard_normal((BUCKETS, components + 10)).astype(np.float32)
    iterations = 3
    for i in range(iterations):
        left, _ = np.linalg.qr(rows.times(sketch))
        found = transposed.times(left)
        sketch = np.zeros_like(sketch)
        sketch[buckets] = found
        if progress is not None:
            progress(i + 1, iterations)
    # found = Xᵀ·left on the buckets in use: its left singular vectors are the right ones of X restricted to the subspace
    eigenvalues, vectors = np.linalg.eigh(found.T.astype(np.float64) @ found)
    leading = np.argsort(eigenvalues)[::-1][:components]
    basis = np.zeros((BUCKETS, components), dtype=np.float32)
    basis[buckets] = found @ (vectors[:, leading] / np.sqrt(np.maximum(eigenvalues[leading], 1e-12)))
    return basis
