"""Attention predictors with random weights, for tests."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from harness.predictor import AttentionPredictor, AttentionSettings

WIDTH, UNITS, HIDDEN = 12, 20, 6


def random_arrays(rng: np.random.Generator, shared: bool = False, width: int = WIDTH, units: int = UNITS) -> dict[str, Any]:
    arrays: dict[str, Any] = {}
    for prefix in ("query",) if shared else ("query", "reference"):
        for name, size in (("input_norm", width), ("output_norm", units)):
            arrays[f"{prefix}.{name}.weight"] = 1 + 0.3 * rng.standard_normal(size)
            arrays[f"{prefix}.{name}.bias"] = 0.3 * rng.standard_normal(size)
        for layer in range(3):
            fan_in = units if layer else width
            arrays[f"{prefix}.layers.{layer}.weight"] = rng.standard_normal((units, fan_in)) / math.sqrt(fan_in)
            arrays[f"{prefix}.layers.{layer}.bias"] = 0.2 * rng.standard_normal(units)
    for layer, (rows, columns) in enumerate(((HIDDEN, 2), (2, HIDDEN))):
        arrays[f"calibration.{layer}.weight"] = rng.standard_normal((rows, columns))
        arrays[f"calibration.{layer}.bias"] = rng.standard_normal(rows)
    return arrays


def random_predictor(
    seed: int, settings: AttentionSettings | None = None, shared: bool = False, dtype: Any = np.float64, head: str = "paper", **sizes: int
) -> AttentionPredictor:
    arrays = random_arrays(np.random.default_rng(seed), shared, **sizes)
    description = {
        "shared": shared,
        "width": sizes.get("width", WIDTH),
        "units": sizes.get("units", UNITS),
        "embedder": "test",
        "head": head,
    }
    return AttentionPredictor({k: v.astype(dtype) for k, v in arrays.items()}, description, settings)
