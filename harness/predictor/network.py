"""The attention network's arithmetic in numpy: adapters and calibration heads over named arrays (arXiv 2506.05316, section 3).

The names are those of the torch module in :mod:`harness.predictor.lab.attention_network`, whose state dict an artifact holds:
``query.*`` and ``reference.*`` (adapters), ``calibration.0`` and ``calibration.1`` (head).
"""

from __future__ import annotations

from typing import Any, Literal

import numpy as np

from harness.errors import UserError
from harness.numerics.functions import gelu_, layer_norm, softplus
from harness.predictor.artifact import Arrays
from harness.types import FloatArray

Head = Literal["paper", "code"]
HEADS: tuple[Head, ...] = ("paper", "code")
#: Layers of the authors' adapters; an imported checkpoint may have another number.
LAYERS = 3
#: The head of the authors' code divides by a number kept in this interval.
DIVISOR_RANGE = (0.01, 10.0)


def adapt(arrays: Arrays, prefix: str, embeddings: FloatArray) -> FloatArray:
    """Adapter ``prefix`` (``query`` or ``reference``) on embeddings of shape (n, width): z of shape (n, units).

    LayerNorm, linear layers with GELU between them (none after the last, as in the authors' code), LayerNorm.
    """
    x = layer_norm(embeddings, arrays[f"{prefix}.input_norm.weight"], arrays[f"{prefix}.input_norm.bias"])
    layers = count_layers(arrays, prefix)
    for layer in range(layers):
        x = x @ arrays[f"{prefix}.layers.{layer}.weight"].T
        x += arrays[f"{prefix}.layers.{layer}.bias"]
        if layer + 1 < layers:
            gelu_(x)
    return layer_norm(x, arrays[f"{prefix}.output_norm.weight"], arrays[f"{prefix}.output_norm.bias"])


def count_layers(arrays: Arrays, prefix: str) -> int:
    """Linear layers of an adapter."""
    return sum(f"{prefix}.layers." in name and name.endswith(".weight") for name in arrays)


def platt_coefficients(arrays: Arrays, head: Head, pass_rates: FloatArray) -> tuple[float, float]:
    """(slope, shift) of p_calibrated = sigmoid(slope·logit(p) + shift), for reference pass rates of shape (K,).

    Both heads are MLPs on a mean and a standard deviation (n − 1 in the denominator; 0 for a lone reference), with one ReLU layer:

    - ``paper``, section 3, in difficulties d = 1 − p: sigmoid(w·logit(d) + b), w = softplus, b = tanh.
    - ``code``, in pass rates: sigmoid(logit(p)/t + b), t = softplus kept in [0.01, 10], b = tanh.
    """
    mean = pass_rates.mean() if head == "code" else 1 - pass_rates.mean()
    deviation = pass_rates.std(ddof=1) if len(pass_rates) > 1 else 0.0
    features = np.array([mean, deviation], dtype=arrays["calibration.0.weight"].dtype)
    hidden = np.maximum(arrays["calibration.0.weight"] @ features + arrays["calibration.0.bias"], 0)
    scale, shift = arrays["calibration.1.weight"] @ hidden + arrays["calibration.1.bias"]
    if head == "code":
        return 1 / float(np.clip(softplus(scale), *DIVISOR_RANGE)), float(np.tanh(shift))
    return float(softplus(scale)), -float(np.tanh(shift))


def check_network(arrays: Arrays, description: dict[str, Any]) -> None:
    """Raise UserError where the arrays do not have the shapes that the description says."""
    width, units = int(description["width"]), int(description["units"])
    if description["head"] not in HEADS:
        raise UserError(f"the predictor has an unknown calibration head {description['head']!r}; upgrade halfway or train it again")
    expected: dict[str, tuple[int, ...]] = {"calibration.1.bias": (2,)}
    for prefix in ("query",) if description["shared"] else ("query", "reference"):
        expected |= {f"{prefix}.input_norm.weight": (width,), f"{prefix}.output_norm.weight": (units,)}
        for layer in range(max(1, count_layers(arrays, "query"))):
            expected[f"{prefix}.layers.{layer}.weight"] = (units, units if layer else width)
    for name, shape in expected.items():
        found = arrays[name].shape if name in arrays else None
        if found != shape:
            raise UserError(f"the predictor's weights do not fit its description: {name} is {found}, expected {shape}; train it again")
