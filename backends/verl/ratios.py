"""Importance ratios of a training step, as the ledger keeps them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from harness.types import RATIO_EDGES, FloatArray


def ratio_summary(log_ratios: Sequence[FloatArray]) -> dict[str, Any]:
    """mean, min, max and effective sample share (Σρ)²/(n Σρ²) of ρ = π_old/μ over replayed tokens, and counts between ``RATIO_EDGES``.

    log_ratios: log ρ of every replayed rollout, shapes (T,). Empty if nothing was replayed.
    """
    if not log_ratios:
        return {}
    ratio = np.exp(np.concatenate(log_ratios).astype(np.float64))
    squares = float(np.square(ratio).sum())
    return {
        "mean": float(ratio.mean()),
        "min": float(ratio.min()),
        "max": float(ratio.max()),
        "effective_share": float(ratio.sum()) ** 2 / (len(ratio) * squares) if squares else 0.0,
        "tokens": float(len(ratio)),
        "classes": np.bincount(np.searchsorted(RATIO_EDGES, ratio, side="right"), minlength=len(RATIO_EDGES) + 1).tolist(),
    }
