"""The probability that at least one of k samples is right, from n samples of every question."""

from __future__ import annotations

import math
from collections.abc import Sequence


def pass_at_k(right: Sequence[int], samples: int, k: int) -> float:
    """Mean over questions of 1 − C(n − c, k)/C(n, k), which is unbiased (Chen et al. 2021); NaN without questions.

    right: of every question, how many of its ``samples`` (n) were right (c). Raises ValueError for k outside 1 … n.
    """
    if not 1 <= k <= samples:
        raise ValueError(f"pass@{k} cannot be estimated from {samples} samples per question")
    if not right:
        return math.nan
    ways = math.comb(samples, k)
    missed = [math.comb(samples - count, k) / ways for count in range(samples + 1)]
    return 1.0 - sum(missed[count] for count in right) / len(right)
