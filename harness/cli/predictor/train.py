"""``halfway predictor train``."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from harness.cli.bars import step_bars
from harness.cli.predictor.options import (
    Cache,
    Device,
    Dtype,
    EmbedderName,
    Epochs,
    Models,
    QuestionColumn,
    References,
    Revision,
    Seed,
    Standardize,
    Table,
    Units,
    Variant,
    embed,
    embedder_for,
    training_plan,
    without_families,
)  # fmt: skip


def train(
    table: Table,
    out: Annotated[Path, typer.Option("-o", "--out", help="Folder for the trained predictor.")],
    predictor: Annotated[str, typer.Option("--predictor", help="attention, irt, or ensemble (both, stacked).")] = "attention",
    variant: Variant = "paper",
    embedder: EmbedderName = "tfidf",
    exclude_family: Annotated[
        list[str] | None, typer.Option(metavar="FAMILY", help="Leave out a model family (the policy's own!); repeatable.")
    ] = None,
    model: Models = None,
    question_column: QuestionColumn = None,
    rollouts: Annotated[
        int | None, typer.Option(min=1, help="Draw the references' outcomes at so many rollouts (paper: 8; code: the rates as they are).")
    ] = None,
    references: References = 256,
    epochs: Epochs = None,
    units: Units = None,
    shared: Annotated[bool, typer.Option("--shared", help="One adapter for questions and references.")] = False,
    standardize: Standardize = False,
    seed: Seed = 0,
    revision: Revision = None,
    device: Device = "auto",
    dtype: Dtype = "float32",
    cache: Cache = None,
) -> None:
    """Train a predictor on other models' pass rates."""
    from harness.predictor.lab.embedders import TextEmbedder
    from harness.predictor.lab.pass_rate_table import read_table
    from harness.predictor.lab.training import train_kind

    rates = without_families(read_table(table, question_column, model or ()), exclude_family or ())
    chosen = {"references": references, "epochs": epochs, "units": units, "shared": shared, "standardize": standardize}
    with step_bars() as progress:
        made = embedder_for(rates, embedder, revision, device, dtype, progress)
        embeddings = embed(made, rates.questions, cache, progress)
        plan = training_plan(made, variant, seed, rollouts=rollouts, **chosen)
        trained = train_kind(predictor, rates, embeddings, out, plan, progress)
    if isinstance(made, TextEmbedder):
        made.save(out)
    unmeasured = int((rates.pass_rates != rates.pass_rates).sum())
    typer.echo(f"{trained.kind} predictor trained on {len(rates.questions)} questions x {len(rates.models)} models: {out}")
    if unmeasured:
        typer.echo(f"{unmeasured} of {rates.pass_rates.size} pass rates are not measured (NaN) and were left out", err=True)
