"""``halfway predictor predict``."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from harness.cli.bars import step_bars
from harness.cli.predictor.options import DEFAULT_ROLLOUTS, Cache, Calibration, Device, QuestionColumn, Variant, embed, load_configured
from harness.errors import UserError


def predict(
    artifact: Annotated[Path, typer.Argument(help="Folder of a trained predictor.")],
    questions: Annotated[Path, typer.Argument(help="Parquet or CSV with the pool's questions.")],
    references: Annotated[Path, typer.Option(help="CSV or parquet: questions of the pool, and their pass rates under the policy.")],
    out: Annotated[Path, typer.Option("-o", "--out", help="CSV to write: question, predicted_pass_rate.")],
    question_column: QuestionColumn = None,
    rollouts: Annotated[int, typer.Option(min=1, help="G, rollouts behind each reference's pass rate.")] = DEFAULT_ROLLOUTS,
    variant: Variant = "paper",
    calibration: Calibration = None,
    device: Device = "auto",
    cache: Cache = None,
) -> None:
    """Predict the pass rate of every question of a pool from rolled-out references."""
    import numpy as np
    import pandas as pd

    from harness.predictor.lab.embedders import embedder_of
    from harness.predictor.lab.pass_rate_table import read_questions, read_table
    from harness.predictor.questions import PoolFeatures

    texts = read_questions(questions, question_column)
    observed = read_table(references, question_column)
    if len(observed.models) != 1:
        raise UserError(f"{references} must hold one pass-rate column, but has {len(observed.models)}: {', '.join(observed.models)}")
    place = {text: i for i, text in enumerate(texts)}
    unknown = next((q for q in observed.questions if q not in place), None)
    if unknown is not None:
        raise UserError(f"reference question {unknown[:60]!r} of {references} is not in {questions}")
    predictor = load_configured(artifact, variant, calibration, rollouts)
    with step_bars() as progress:
        embeddings = embed(embedder_of(artifact, device=device), texts, cache, progress)
        predictor.prepare(PoolFeatures.of(embeddings, texts))
    rates = predictor.predict(np.array([place[q] for q in observed.questions]), observed.pass_rates[:, 0])
    try:
        pd.DataFrame({"question": texts, "predicted_pass_rate": rates}).to_csv(out, index=False)
    except OSError as error:
        raise UserError(f"cannot write {out}: {error.strerror or error}") from None
    typer.echo(f"{len(texts)} predictions from {len(observed.questions)} references: {out}")
    if "predictor_fallback" in predictor.info:
        typer.echo(f"fallback: {predictor.info['predictor_fallback']}", err=True)
