"""What a predictor knows about the questions of a pool: their embeddings and their content keys."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass

from harness.errors import UserError
from harness.types import FloatArray


def question_key(text: str) -> str:
    """Content hash of a question's text."""
    return hashlib.sha256(text.encode()).hexdigest()[:20]


@dataclass(frozen=True, slots=True)
class PoolFeatures:
    """N questions as predictors see them.

    embeddings: shape (N, width). keys: N content keys (``question_key``), or None where texts are not known: a predictor
    that remembers questions from training then treats all as new.
    """

    embeddings: FloatArray
    keys: tuple[str, ...] | None = None

    def __post_init__(self) -> None:
        if self.embeddings.ndim != 2:
            raise UserError(f"embeddings must have shape (questions, width), not {self.embeddings.shape}")
        if self.keys is not None and len(self.keys) != len(self.embeddings):
            raise UserError(f"{len(self.keys)} question keys do not fit {len(self.embeddings)} embeddings")

    @classmethod
    def of(cls, embeddings: FloatArray, texts: Sequence[str]) -> PoolFeatures:
        """Features of questions given by their texts, in order."""
        return cls(embeddings, tuple(question_key(t) for t in texts))

    def __len__(self) -> int:
        return len(self.embeddings)
