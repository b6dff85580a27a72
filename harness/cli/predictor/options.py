"""Options and steps that several predictor commands share."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from harness.errors import UserError, did_you_mean

if TYPE_CHECKING:
    from collections.abc import Sequence

    from harness.predictor.base import DifficultyPredictor
    from harness.predictor.lab.embedders import Embedder
    from harness.predictor.lab.pass_rate_table import PassRateTable
    from harness.predictor.lab.training import TrainingPlan
    from harness.predictor.progress import Progress
    from harness.types import FloatArray

DEFAULT_ROLLOUTS = 8

Table = Annotated[Path, typer.Argument(help="Parquet or CSV: a question column and one pass-rate column per model.")]
EmbedderName = Annotated[str, typer.Option("--embedder", help="tfidf (offline), smollm2, or hf:MODEL (a hub name or a folder).")]
Revision = Annotated[str | None, typer.Option(help="Revision of an hf: model.")]
Device = Annotated[str, typer.Option(help="Where a language model runs: auto, cpu, cuda, cuda:1 …")]
Dtype = Annotated[str, typer.Option(help="Its precision: float32, bfloat16 or float16.")]
Cache = Annotated[Path | None, typer.Option(help="Folder that keeps embeddings of language models, by content.")]
QuestionColumn = Annotated[str | None, typer.Option(help="Default: question, problem or prompt.")]
Models = Annotated[list[str] | None, typer.Option("--model", metavar="COLUMN", help="Use these pass-rate columns only; repeatable.")]
References = Annotated[int, typer.Option(min=1, help="K, reference questions per prediction.")]
Seed = Annotated[int, typer.Option(help="Seed of training and of reference draws.")]
Epochs = Annotated[int | None, typer.Option(min=1, help="Training epochs of the attention predictor (default 20).")]
Units = Annotated[int | None, typer.Option(min=1, help="Width of its adapter (default 896; twice the embedding's width below 512).")]
Standardize = Annotated[bool, typer.Option("--standardize", help="Standardise embeddings for the attention predictor (not in the paper).")]
Variant = Annotated[str, typer.Option(help="Of the attention predictor: paper, or code (the authors' repository).")]
Calibration = Annotated[str | None, typer.Option(help="Instead of the variant's: none, platt (paper) or platt+linear (code).")]


def without_families(rates: PassRateTable, families: Sequence[str]) -> PassRateTable:
    """The table without the columns of some model families. Raises UserError for an unknown family or no column left."""
    known = {rates.family(m) for m in range(len(rates.models))}
    for family in families:
        if family not in known:
            raise UserError(f"no column is of the family {family!r}{did_you_mean(family, known)} (families: {', '.join(sorted(known))})")
    kept = [m for m in range(len(rates.models)) if rates.family(m) not in families]
    if not kept:
        raise UserError("--exclude-family leaves no model to train on")
    return rates.columns(kept)


def embedder_for(rates: PassRateTable, name: str, revision: str | None, device: str, dtype: str, progress: Progress) -> Embedder:
    """The embedder of that name, fitted on the table's questions where it needs fitting."""
    from harness.predictor.lab.embedders import make_embedder

    return make_embedder(
        name,
        rates.questions,
        revision=revision,
        device=device,
        dtype=dtype,
        progress=lambda done, total: progress("fitting features", done, total),
    )


def embed(made: Embedder, texts: Sequence[str], cache: Path | None, progress: Progress) -> FloatArray:
    """Embeddings of questions, shape (n, width)."""
    from harness.predictor.lab.embedders import embed_cached

    return embed_cached(made, texts, cache, lambda done, total: progress("embedding", done, total))


def training_plan(made: Embedder, variant: str, seed: int, **chosen: Any) -> TrainingPlan:
    """How to train on the embeddings of ``made``; ``chosen`` are settings of the attention predictor, None for the variant's."""
    from harness.predictor.lab.training import TrainingPlan
    from harness.predictor.lab.training_settings import TrainingSettings

    return TrainingPlan(made.id, seed, TrainingSettings.of(variant, **chosen))


def load_configured(artifact: Path, variant: str, calibration: str | None, rollouts: int) -> DifficultyPredictor:
    """A trained predictor with the settings of this command."""
    from harness.predictor.load import load_predictor

    return configured(load_predictor(artifact), variant, calibration, rollouts)


def configured(predictor: DifficultyPredictor, variant: str, calibration: str | None, rollouts: int) -> DifficultyPredictor:
    """The predictor with the attention settings of a variant and the number of rollouts behind each reference."""
    from harness.predictor.attention import AttentionSettings
    from harness.predictor.lab.training import configure

    return configure(predictor, AttentionSettings.of(variant, calibration=calibration), rollouts)
