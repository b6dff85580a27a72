"""Training the attention predictor on other models' pass rates (arXiv 2506.05316, section 3 and appendix); needs torch.

One batch is one model: 256 query questions of it, one random reference set of K questions with their difficulties (drawn
binomially at G rollouts, as they will be at selection time, if ``rollouts`` is given), loss = binary cross-entropy of the
calibrated prediction against the query's difficulty. A query that is itself in the reference set does not attend to
itself. Adam, learning rate 1e-3, linear warm-up then linear decay.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import nn
from torch.nn.functional import binary_cross_entropy_with_logits, softplus

from harness.errors import UserError
from harness.numerics.functions import LOGIT_MARGIN
from harness.predictor.artifact import Arrays, save_artifact
from harness.predictor.attention import LAYERS, AttentionPredictor
from harness.types import FloatArray

Progress = Callable[[int, int], None]
_LEAST_STEPS = 400
_LEAST_QUESTIONS = 8


@dataclass(frozen=True, slots=True)
class TrainingSettings:
    """Defaults are the authors' where they give them.

    units: None takes 896 for embeddings at least 512 wide, else twice the width (64 → 128). epochs: None takes 20, or as
    many as make 400 optimizer steps where the table is small. rollouts: draw reference (and target) outcomes binomially
    at this number of rollouts; None uses the rates as they are (right where they already are few-rollout outcomes).
    standardize: bring every embedding dimension to mean 0 and variance 1 over the training questions first; not in the paper;
    steadies predictions on a language model's raw hidden states (docs/predictor.md).
    """

    units: int | None = None
    shared: bool = False
    dropout: float = 0.1
    calibration_units: int = 32
    references: int = 256
    batch_size: int = 256
    epochs: int | None = None
    learning_rate: float = 1e-3
    weight_decay: float = 0.0
    warmup_share: float = 0.1
    rollouts: int | None = None
    standardize: bool = False


class Adapter(nn.Module):
    """LayerNorm → (Linear, GELU, dropout) × 3 → LayerNorm; shape (n, width) → (n, units)."""

    def __init__(self, width: int, units: int, dropout: float) -> None:
        super().__init__()
        self.input_norm = nn.LayerNorm(width)
        self.layers = nn.ModuleList(nn.Linear(units if i else width, units) for i in range(LAYERS))
        self.output_norm = nn.LayerNorm(units)
        self.dropout = nn.Dropout(dropout)

    def forward(self, embeddings: torch.Tensor) -> torch.Tensor:
        """z of shape (n, units)."""
        x = self.input_norm(embeddings)
        for layer in self.layers:
            x = self.dropout(nn.functional.gelu(layer(x)))
        return self.output_norm(x)  # type: ignore[no-any-return]


class AttentionNetwork(nn.Module):
    """The trainable predictor; its state dict has the array names that ``AttentionPredictor`` reads."""

    def __init__(self, width: int, units: int, shared: bool, dropout: float, calibration_units: int) -> None:
        super().__init__()
        self.query = Adapter(width, units, dropout)
        self.reference = self.query if shared else Adapter(width, units, dropout)
        self.calibration = nn.ModuleList([nn.Linear(2, calibration_units), nn.Linear(calibration_units, 2)])

    def forward(self, queries: torch.Tensor, references: torch.Tensor, difficulties: torch.Tensor, same: torch.Tensor) -> torch.Tensor:
        """Logit of the calibrated difficulty, shape (n,).

        queries (n, width), references (K, width), difficulties (K,), same (n, K): True where a query is that reference.
        """
        z_query, z_reference = self.query(queries), self.reference(references)
        scores = z_query @ z_reference.T / z_query.shape[1] ** 0.5
        attention = scores.masked_fill(same, -torch.inf).softmax(dim=1)
        raw = (attention @ difficulties).clamp(LOGIT_MARGIN, 1 - LOGIT_MARGIN)
        features = torch.stack([difficulties.mean(), difficulties.std(correction=0)])
        slope, shift = self.calibration[1](nn.functional.gelu(self.calibration[0](features)))
        return softplus(slope) * torch.logit(raw) + torch.tanh(shift)


def train_predictor(
    embeddings: FloatArray,
    pass_rates: FloatArray,
    *,
    embedder: str,
    out: Path,
    seed: int,
    settings: TrainingSettings | None = None,
    model_names: Sequence[str] | None = None,
    progress: Progress | None = None,
) -> dict[str, Any]:
    """Train an attention predictor, save it in folder ``out`` and return the facts that its ``predictor.json`` holds.

    embeddings: shape (N, width). pass_rates: shape (N, M), one column per model, NaN where a model was not measured. M
    models must be disjoint from the policies that the predictor will serve. embedder: id of what made the embeddings.
    progress(done, total) counts optimizer steps. Deterministic for a seed on one machine and thread count; leaves torch's global
    generator as it was. Raises UserError for shapes that do not fit, rates outside [0, 1] or too few questions.
    """
    settings = settings or TrainingSettings()
    features, rates = _check_table(embeddings, pass_rates)
    scaling: Arrays = {}
    if settings.standardize:
        scaling = {"input_mean": features.mean(axis=0), "input_scale": features.std(axis=0) + 1e-6}
        features = (features - scaling["input_mean"]) / scaling["input_scale"]
    units = settings.units or (896 if features.shape[1] >= 512 else 2 * features.shape[1])
    started = time.perf_counter()
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        network = AttentionNetwork(features.shape[1], units, settings.shared, settings.dropout, settings.calibration_units)
        loss, steps, epochs = _fit(network, features, rates, settings, seed, progress)
    facts: dict[str, Any] = {
        "kind": AttentionPredictor.kind,
        "embedder": embedder,
        "width": features.shape[1],
        "units": units,
        "shared": settings.shared,
        "training": {
            **asdict(settings),
            "units": units,
            "epochs": epochs,
            "optimizer_steps": steps,
            "questions": len(features),
            "models": list(model_names) if model_names is not None else rates.shape[1],
            "mean_pass_rate": float(np.nanmean(rates)),
            "final_loss": loss,
            "seed": seed,
            "seconds": time.perf_counter() - started,
        },
    }
    state = {k: v.numpy() for k, v in network.state_dict().items() if not (settings.shared and k.startswith("reference."))}
    save_artifact(out, facts, {**state, **scaling})
    return facts


def _check_table(embeddings: FloatArray, pass_rates: FloatArray) -> tuple[FloatArray, FloatArray]:
    features = np.asarray(embeddings, dtype=np.float32)
    rates = np.asarray(pass_rates, dtype=np.float64)
    if features.ndim != 2 or rates.ndim != 2 or len(features) != len(rates) or rates.shape[1] == 0:
        raise UserError(
            f"predictor training needs embeddings (N, width) and pass rates (N, models), not {features.shape} and {rates.shape}"
        )
    if not np.isfinite(features).all():
        raise UserError("the embeddings hold NaN or infinite values")
    outside = (rates < 0) | (rates > 1) | np.isinf(rates)
    if outside.any():
        raise UserError(f"a pass rate of model column {int(np.argwhere(outside)[0, 1])} lies outside [0, 1]")
    measured = (~np.isnan(rates)).sum(axis=0)
    if measured.min() < _LEAST_QUESTIONS:
        raise UserError(
            f"model column {int(measured.argmin())} has {measured.min()} measured questions; "
            f"predictor training needs at least {_LEAST_QUESTIONS} per model"
        )
    return features, rates


def _fit(
    network: AttentionNetwork,
    features: FloatArray,
    rates: FloatArray,
    settings: TrainingSettings,
    seed: int,
    progress: Progress | None,
) -> tuple[float, int, int]:
    """Train in place; mean loss over the last tenth of the steps, optimizer steps, epochs."""
    rng = np.random.default_rng([seed, 0x70726564])
    per_epoch = sum(-(-int((~np.isnan(c)).sum()) // settings.batch_size) for c in rates.T)
    epochs = settings.epochs or max(20, -(-_LEAST_STEPS // per_epoch))
    total = epochs * per_epoch
    warmup = max(1, round(settings.warmup_share * total))
    optimizer = torch.optim.Adam(network.parameters(), lr=settings.learning_rate, weight_decay=settings.weight_decay)
    schedule = torch.optim.lr_scheduler.LambdaLR(optimizer, lambda step: min((step + 1) / warmup, (total - step) / max(1, total - warmup)))
    table = torch.from_numpy(features)
    losses: list[float] = []
    network.train()
    for step, batch in enumerate(_batches(rates, settings, epochs, rng)):
        logits = network(table[batch.queries], table[batch.references], batch.difficulties, batch.same)
        loss = binary_cross_entropy_with_logits(logits, batch.targets)
        optimizer.zero_grad(set_to_none=True)
        loss.backward()  # type: ignore[no-untyped-call]
        optimizer.step()
        schedule.step()
        losses.append(float(loss.detach()))
        if progress is not None:
            progress(step + 1, total)
    network.eval()
    if not np.isfinite(losses).all():
        raise UserError("predictor training diverged (its loss is not finite); lower the learning rate")
    return float(np.mean(losses[-max(1, total // 10) :])), total, epochs


@dataclass(frozen=True, slots=True)
class _Batch:
    queries: torch.Tensor
    references: torch.Tensor
    difficulties: torch.Tensor
    targets: torch.Tensor
    same: torch.Tensor


def _batches(rates: FloatArray, settings: TrainingSettings, epochs: int, rng: np.random.Generator) -> Iterator[_Batch]:
    """Every (model, question) once per epoch, one model per batch, batches in random order."""
    for _ in range(epochs):
        plan: list[tuple[int, Any]] = []
        for model, column in enumerate(rates.T):
            known = rng.permutation(np.flatnonzero(~np.isnan(column)))
            plan.extend((model, part) for part in np.array_split(known, -(-len(known) // settings.batch_size)))
        for index in rng.permutation(len(plan)):
            model, queries = plan[index]
            yield _batch(rates[:, model], queries, settings, rng)


def _batch(column: FloatArray, queries: Any, settings: TrainingSettings, rng: np.random.Generator) -> _Batch:
    known = np.flatnonzero(~np.isnan(column))
    # K larger than the table: leave at least one question to be predicted by the others
    references = rng.choice(known, min(settings.references, len(known) - 1), replace=False)
    observed = column[references]
    if settings.rollouts is not None:
        observed = rng.binomial(settings.rollouts, observed) / settings.rollouts
    return _Batch(
        torch.from_numpy(queries),
        torch.from_numpy(references),
        torch.from_numpy((1 - observed).astype(np.float32)),
        torch.from_numpy((1 - column[queries]).astype(np.float32)),
        torch.from_numpy(queries[:, None] == references[None, :]),
    )
