"""A fixed diverse reference set: k-center on embeddings, as the paper suggests in place of random references."""

from __future__ import annotations

import numpy as np

from harness.errors import UserError
from harness.types import FloatArray, IntArray


def k_center(embeddings: FloatArray, size: int, rng: np.random.Generator) -> IntArray:
    """``size`` questions such that every other is near one of them (greedy farthest-first, Gonzalez 1985; within 2× of the best).

    embeddings: shape (N, width); each dimension is standardised first, so that none dominates the distance. The first question is
    random. Returns different positions, shape (size,). Raises UserError for more questions than there are.
    """
    if not 1 <= size <= len(embeddings):
        raise UserError(f"cannot choose {size} diverse references out of {len(embeddings)} questions")
    points = np.asarray(embeddings, dtype=np.float32)
    points = (points - points.mean(axis=0)) / (points.std(axis=0) + 1e-6)
    chosen = np.empty(size, dtype=np.int64)
    chosen[0] = rng.integers(len(points))
    distance = np.full(len(points), np.inf, dtype=np.float32)
    for i in range(1, size):
        last = chosen[i - 1]
        distance = np.minimum(distance, np.square(points - points[last]).sum(axis=1))
        distance[last] = -1.0  # never again, also where questions coincide
        chosen[i] = int(np.argmax(distance))
    return chosen
