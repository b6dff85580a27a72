"""Training the attention predictor on other models' pass rates (arXiv 2506.05316, section 3 and appendix); needs torch.

As in the authors' code a batch is 256 (question, model) pairs, models mixed, with one random set of K references, in their code out of a
table of their own; the loss is the binary cross-entropy of the calibrated prediction against the pair's pass rate. Adam, learning rate
1e-3, a linear schedule whose warm-up takes 100 steps, or a tenth of all where those are fewer.
"""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch.nn.functional import binary_cross_entropy_with_logits

from harness.errors import UserError
from harness.predictor.artifact import Arrays, save_artifact
from harness.predictor.attention import AttentionPredictor
from harness.predictor.lab.attention_network import AttentionNetwork
from harness.predictor.lab.training_settings import TrainingSettings
from harness.predictor.progress import Counter
from harness.types import FloatArray, IntArray

_LEAST_QUESTIONS = 8
_WARMUP_STEPS = 100
#: Where a model was measured on fewer of a batch's references, its pairs in that batch are left out: a deviation needs two.
_LEAST_REFERENCES = 2


def train_predictor(
    embeddings: FloatArray,
    pass_rates: FloatArray,
    *,
    embedder: str,
    out: Path,
    seed: int,
    settings: TrainingSettings | None = None,
    model_names: Sequence[str] | None = None,
    progress: Counter | None = None,
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
        network = AttentionNetwork(features.shape[1], units, shared=settings.shared, dropout=settings.dropout, head=settings.head)
        loss, steps, epochs = _fit(network, features, rates, settings, seed, progress)
    facts: dict[str, Any] = {
        "kind": AttentionPredictor.kind,
        "embedder": embedder,
        "width": features.shape[1],
        "units": units,
        "shared": settings.shared,
        "head": settings.head,
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
    progress: Counter | None,
) -> tuple[float, int, int]:
    """Train in place; mean loss over the last tenth of the steps, optimizer steps, epochs."""
    rng = np.random.default_rng([seed, 0x70726564])
    candidates, pairs = _split(rates, settings, rng)
    per_epoch = -(-len(pairs) // settings.batch_size)
    epochs = settings.epochs or max(20, -(-settings.least_steps // per_epoch))
    total = epochs * per_epoch
    optimizer = torch.optim.Adam(network.parameters(), lr=settings.learning_rate)
    schedule = torch.optim.lr_scheduler.LambdaLR(optimizer, lambda step: learning_rate_factor(step, total))
    table = torch.from_numpy(features)
    losses: list[float] = []
    network.train()
    for step, batch in enumerate(_batches(rates, candidates, pairs, settings, epochs, rng)):
        if len(batch.queries):
            logits = network(table[batch.queries], table[batch.references], batch.reference_rates)
            loss = binary_cross_entropy_with_logits(logits, batch.targets)
            optimizer.zero_grad(set_to_none=True)
            loss.backward()  # type: ignore[no-untyped-call]
            optimizer.step()
            losses.append(float(loss.detach()))
        schedule.step()
        if progress is not None:
            progress(step + 1, total)
    network.eval()
    if not losses or not np.isfinite(losses).all():
        raise UserError("predictor training diverged (its loss is not finite); lower the learning rate")
    return float(np.mean(losses[-max(1, total // 10) :])), total, epochs


def learning_rate_factor(step: int, total: int) -> float:
    """Factor of the learning rate at a step counted from 0: linear from 0 through the warm-up, then linear to 0 at ``total``."""
    warmup = min(_WARMUP_STEPS, total // 10)
    return step / warmup if step < warmup else (total - step) / max(1, total - warmup)


def _split(rates: FloatArray, settings: TrainingSettings, rng: np.random.Generator) -> tuple[IntArray, IntArray]:
    """Questions that serve as references, shape (C,), and the measured (question, model) pairs that are asked, shape (P, 2)."""
    count = len(rates)
    candidates = queries = rng.permutation(count)
    if settings.reference_share > 0:
        size = min(max(round(settings.reference_share * count), settings.references), count // 2)
        candidates, queries = candidates[:size], candidates[size:]
    pairs = np.argwhere(~np.isnan(rates[queries]))
    pairs[:, 0] = queries[pairs[:, 0]]
    return candidates, pairs


@dataclass(frozen=True, slots=True)
class _Batch:
    """n pairs and K references: queries (n,), targets (n,) and reference_rates (n, K) in pass rates; references (K,)."""

    queries: torch.Tensor
    targets: torch.Tensor
    references: torch.Tensor
    reference_rates: torch.Tensor


def _batches(
    rates: FloatArray, candidates: IntArray, pairs: IntArray, settings: TrainingSettings, epochs: int, rng: np.random.Generator
) -> Iterator[_Batch]:
    """Every pair once per epoch, in random order."""
    for _ in range(epochs):
        order = rng.permutation(len(pairs))
        for start in range(0, len(order), settings.batch_size):
            yield _batch(rates, candidates, pairs[order[start : start + settings.batch_size]], settings, rng)


def _batch(rates: FloatArray, candidates: IntArray, pairs: IntArray, settings: TrainingSettings, rng: np.random.Generator) -> _Batch:
    references = rng.choice(candidates, min(settings.references, len(candidates)), replace=False)
    observed = rates[references].T  # (models, K)
    if settings.rollouts is not None:
        drawn = rng.binomial(settings.rollouts, np.nan_to_num(observed)) / settings.rollouts
        observed = np.where(np.isnan(observed), np.nan, drawn)
    seen = observed[pairs[:, 1]]
    seen[pairs[:, :1] == references] = np.nan  # a question never learns from its own outcome
    enough = (~np.isnan(seen)).sum(axis=1) >= _LEAST_REFERENCES
    questions, models = pairs[enough].T
    return _Batch(
        queries=torch.from_numpy(questions),
        targets=torch.from_numpy(rates[questions, models].astype(np.float32)),
        references=torch.from_numpy(references),
        reference_rates=torch.from_numpy(seen[enough].astype(np.float32)),
    )
