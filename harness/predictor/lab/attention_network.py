"""The attention predictor as a torch module, for training; its state dict has the array names that inference in numpy reads."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn.functional import gelu, softplus

from harness.numerics.functions import LOGIT_MARGIN
from harness.predictor.network import DIVISOR_RANGE, LAYERS, Head

#: Units of the calibration head's hidden layer, as in the authors' code.
HEAD_UNITS = 10


class Adapter(nn.Module):
    """LayerNorm → Linear → (GELU → dropout → Linear) × 2 → LayerNorm; shape (n, width) → (n, units)."""

    def __init__(self, width: int, units: int, dropout: float) -> None:
        super().__init__()
        self.input_norm = nn.LayerNorm(width)
        self.layers = nn.ModuleList(nn.Linear(units if i else width, units) for i in range(LAYERS))
        self.output_norm = nn.LayerNorm(units)
        self.dropout = nn.Dropout(dropout)

    def forward(self, embeddings: Tensor) -> Tensor:
        """z of shape (n, units)."""
        x = self.layers[0](self.input_norm(embeddings))
        for layer in self.layers[1:]:
            x = layer(self.dropout(gelu(x)))
        return self.output_norm(x)  # type: ignore[no-any-return]


class AttentionNetwork(nn.Module):
    """The trainable predictor. head: see :func:`harness.predictor.network.platt_coefficients`."""

    def __init__(self, width: int, units: int, *, shared: bool, dropout: float, head: Head) -> None:
        super().__init__()
        self.head = head
        self.query = Adapter(width, units, dropout)
        self.reference = self.query if shared else Adapter(width, units, dropout)
        self.calibration = nn.ModuleList([nn.Linear(2, HEAD_UNITS), nn.Linear(HEAD_UNITS, 2)])

    def forward(self, queries: Tensor, references: Tensor, pass_rates: Tensor) -> Tensor:
        """Logit of the calibrated pass rate, shape (n,).

        queries (n, width), references (K, width), pass_rates (n, K): of the references under each query's model, NaN where that model
        was not measured (two at least must be).
        """
        z_query, z_reference = self.query(queries), self.reference(references)
        scores = z_query @ z_reference.T / z_query.shape[1] ** 0.5
        missing = pass_rates.isnan()
        known = pass_rates.nan_to_num()
        attention = scores.masked_fill(missing, -torch.inf).softmax(dim=1)
        attended = torch.logit((attention * known).sum(dim=1).clamp(LOGIT_MARGIN, 1 - LOGIT_MARGIN))
        slope, shift = self._platt(known, missing)
        return slope * attended + shift

    def _platt(self, known: Tensor, missing: Tensor) -> tuple[Tensor, Tensor]:
        count = (~missing).sum(dim=1)
        mean = known.sum(dim=1) / count
        variance = ((known - mean[:, None]).masked_fill(missing, 0.0) ** 2).sum(dim=1) / (count - 1)
        features = torch.stack([mean if self.head == "code" else 1 - mean, variance.sqrt()], dim=1)
        scale, shift = self.calibration[1](torch.relu(self.calibration[0](features))).unbind(dim=1)
        if self.head == "code":
            return 1 / softplus(scale).clamp(*DIVISOR_RANGE), torch.tanh(shift)
        return softplus(scale), -torch.tanh(shift)
