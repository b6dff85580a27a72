"""Labels that a task gives its questions (``Question.metadata``): a difficulty number or a category."""

from __future__ import annotations

import numbers
from collections.abc import Sequence
from typing import Any

import numpy as np

from harness.errors import UserError
from harness.types import FloatArray, QuestionPool

DIFFICULTY_KEYS = ("difficulty", "level", "length")
CATEGORY_KEYS = ("category", "type", "subject", "level", "difficulty", "length")


def metadata_labels(pool: QuestionPool, key: str | None, usual: Sequence[str]) -> list[Any]:
    """The metadata ``key`` of every question, or the first of the ``usual`` keys that the first question has.

    Raises UserError naming the keys there are, or how many questions lack this one.
    """
    known = pool[0].metadata
    name = key if key is not None else next((k for k in usual if k in known), None)
    if name is None or name not in known:
        missing = f"no {name!r}" if name is not None else f"none of {', '.join(usual)}"
        raise UserError(
            f"the task's questions have {missing} in their metadata (there is: {', '.join(sorted(known)) or 'nothing'}); set 'label'"
        )
    without = [q for q in pool if name not in q.metadata]
    if without:
        raise UserError(
            f"{len(without)} of {len(pool)} questions have no {name!r} in their metadata (the first: {without[0].prompt[:60]!r}); "
            "give them one, leave them out, or set 'label' to another key"
        )
    return [q.metadata[name] for q in pool]


def difficulty_labels(pool: QuestionPool, key: str | None) -> FloatArray:
    """Difficulty labels rescaled to 0 … 100, shape (N,). Raises UserError where they are not numbers."""
    labels = metadata_labels(pool, key, DIFFICULTY_KEYS)
    wrong = next((v for v in labels if not isinstance(v, numbers.Real) or not np.isfinite(float(v))), None)
    if wrong is not None:
        raise UserError(f"the difficulty label {wrong!r} is not a number; set 'label' to a metadata key that holds numbers")
    values = np.array(labels, dtype=np.float64)
    spread = np.ptp(values)
    return (values - values.min()) / spread * 100 if spread else np.full(len(values), 50.0)
