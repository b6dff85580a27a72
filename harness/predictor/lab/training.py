"""Training the predictors of a table, as ``halfway predictor train`` and the evaluation protocol do it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from harness.errors import UserError, did_you_mean
from harness.predictor.attention import AttentionPredictor, AttentionSettings
from harness.predictor.base import DifficultyPredictor
from harness.predictor.ensemble import EnsemblePredictor, save_ensemble
from harness.predictor.irt import IrtPredictor, fit_irt
from harness.predictor.lab.pass_rate_table import PassRateTable
from harness.predictor.lab.training_settings import TrainingSettings
from harness.predictor.load import load_predictor
from harness.predictor.progress import Progress
from harness.predictor.questions import question_key
from harness.types import FloatArray

KINDS = ("attention", "irt", "ensemble")
#: Columns measured with fewer rollouts are too coarse as difficulties for the attention predictor; ``irt`` weighs and uses them.
LEAST_ROLLOUTS = 8


@dataclass(frozen=True, slots=True)
class TrainingPlan:
    """How to train. embedder: id of what made the embeddings. attention: settings of the attention predictor."""

    embedder: str
    seed: int = 0
    attention: TrainingSettings = field(default_factory=TrainingSettings)


def train_kind(
    kind: str, table: PassRateTable, embeddings: FloatArray, out: Path, plan: TrainingPlan, progress: Progress | None = None
) -> DifficultyPredictor:
    """Train one predictor (``attention``, ``irt``, or ``ensemble`` of both) on all columns of a table and save it in ``out``."""
    if kind not in KINDS:
        raise UserError(f"unknown predictor {kind!r}{did_you_mean(kind, KINDS)} (known: {', '.join(KINDS)})")
    if kind == "ensemble":
        members = ("attention", "irt")
        for member in members:
            train_kind(member, table, embeddings, out / member, plan, progress)
        save_ensemble(out, members, plan.embedder)
    elif kind == "irt":
        _train_irt(table, embeddings, out, plan, progress)
    else:
        _train_attention(table, embeddings, out, plan, progress)
    return load_predictor(out, plan.embedder)


def train_kinds(
    kinds: Sequence[str], table: PassRateTable, embeddings: FloatArray, out: Path, plan: TrainingPlan, progress: Progress | None = None
) -> dict[str, DifficultyPredictor]:
    """Several kinds, each in its own folder of ``out``; an ensemble's members are trained once."""
    if "ensemble" not in kinds:
        return {kind: train_kind(kind, table, embeddings, out / kind, plan, progress) for kind in kinds}
    predictors = {"ensemble": train_kind("ensemble", table, embeddings, out / "ensemble", plan, progress)}
    return {kind: predictors.get(kind) or load_predictor(out / "ensemble" / kind, plan.embedder) for kind in kinds}


def _train_irt(table: PassRateTable, embeddings: FloatArray, out: Path, plan: TrainingPlan, progress: Progress | None) -> None:
    measured = np.flatnonzero(~np.isnan(table.pass_rates).all(axis=1))
    kept = table.rows(measured)
    fit_irt(
        embeddings[measured],
        kept.pass_rates,
        [question_key(q) for q in kept.questions],
        embedder=plan.embedder,
        out=out,
        seed=plan.seed,
        rollouts=kept.rollouts,
        model_names=kept.models,
        progress=None if progress is None else lambda done, total: progress(IrtPredictor.kind, done, total),
    )


def _train_attention(table: PassRateTable, embeddings: FloatArray, out: Path, plan: TrainingPlan, progress: Progress | None) -> None:
    try:
        from harness.predictor.lab.attention_training import train_predictor
    except ImportError:
        raise UserError("training the attention predictor needs torch: pip install 'halfway[trl]'") from None

    enough = [m for m in range(len(table.models)) if table.rollouts[m] >= LEAST_ROLLOUTS]
    if not enough:
        raise UserError(
            f"no model column has {LEAST_ROLLOUTS} or more rollouts; the attention predictor needs pass rates, not single outcomes"
        )
    kept = table.columns(enough)
    train_predictor(
        embeddings,
        kept.pass_rates,
        embedder=plan.embedder,
        out=out,
        seed=plan.seed,
        settings=plan.attention,
        model_names=kept.models,
        progress=None if progress is None else lambda done, total: progress(AttentionPredictor.kind, done, total),
    )


def configure(predictor: DifficultyPredictor, attention: AttentionSettings, rollouts: int) -> DifficultyPredictor:
    """Set the attention settings and the rollouts behind a reference, also on the members of an ensemble."""
    members = (predictor, *predictor.members) if isinstance(predictor, EnsemblePredictor) else (predictor,)
    for member in members:
        if isinstance(member, AttentionPredictor):
            member.settings = attention
        if isinstance(member, IrtPredictor | EnsemblePredictor):
            member.rollouts = rollouts
    return predictor
