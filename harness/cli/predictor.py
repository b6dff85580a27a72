"""``halfway predictor``: train, evaluate and use difficulty predictors on pass-rate tables.

Commands import what they need when they run, so that ``--help`` stays quick.
"""

from __future__ import annotations

from dataclasses import dataclass, fields
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from harness.cli.bars import step_bars
from harness.errors import UserError, did_you_mean

if TYPE_CHECKING:
    from collections.abc import Callable

    from harness.predictor.base import DifficultyPredictor
    from harness.predictor.lab.embedders import Embedder
    from harness.predictor.lab.evaluation import Protocol
    from harness.predictor.lab.pass_rate_table import PassRateTable
    from harness.predictor.lab.training import TrainingPlan
    from harness.types import FloatArray

    Progress = Callable[[str, int, int], None]

app = typer.Typer(
    name="predictor",
    help="Predict every question's pass rate under a new policy from a few rolled-out reference questions.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
)

SETTINGS = ("new-model", "new-questions", "trajectory")

Table = Annotated[Path, typer.Argument(help="Parquet or CSV: a question column and one pass-rate column per model.")]
Kind = Annotated[str, typer.Option("--predictor", help="attention, irt, or ensemble (both, stacked).")]
EmbedderName = Annotated[str, typer.Option("--embedder", help="tfidf (offline), smollm2, or hf:MODEL (a hub name or a folder).")]
Revision = Annotated[str | None, typer.Option(help="Revision of an hf: model.")]
Device = Annotated[str, typer.Option(help="Where a language model embeds: auto, cpu, cuda, cuda:1 …")]
Dtype = Annotated[str, typer.Option(help="Its precision: float32, bfloat16 or float16.")]
Cache = Annotated[Path | None, typer.Option(help="Folder that keeps embeddings of language models, by content.")]
QuestionColumn = Annotated[str | None, typer.Option(help="Default: question, problem or prompt.")]
Models = Annotated[list[str] | None, typer.Option("--model", metavar="COLUMN", help="Use these pass-rate columns only; repeatable.")]
References = Annotated[int, typer.Option(min=1, help="K, reference questions per prediction.")]
Rollouts = Annotated[int, typer.Option(min=1, help="G, rollouts per reference question.")]
Seed = Annotated[int, typer.Option(help="Seed of training and of reference draws.")]
Epochs = Annotated[int | None, typer.Option(min=1, help="Training epochs of the attention predictor (default 20).")]
Units = Annotated[int | None, typer.Option(min=1, help="Width of its adapter (default 896; twice the embedding's width below 512).")]
Standardize = Annotated[bool, typer.Option("--standardize", help="Standardise embeddings for the attention predictor (not in the paper).")]
Calibration = Annotated[str, typer.Option(help="Of the attention predictor: none, platt (the paper), platt+linear (the authors' code).")]


@app.command()
def train(
    table: Table,
    out: Annotated[Path, typer.Option("-o", "--out", help="Folder for the trained predictor.")],
    predictor: Kind = "attention",
    embedder: EmbedderName = "tfidf",
    exclude_family: Annotated[
        list[str] | None, typer.Option(metavar="FAMILY", help="Leave out a model family (the policy's own!); repeatable.")
    ] = None,
    model: Models = None,
    question_column: QuestionColumn = None,
    rollouts: Rollouts = 8,
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

    rates = _without(read_table(table, question_column, model or ()), exclude_family or ())
    plan = _Plan(rollouts, references, epochs, units, seed, shared, standardize)
    with step_bars() as progress:
        made = _make_embedder(embedder, rates, revision, device, dtype, progress)
        embeddings = _embed(made, rates, cache, progress)
        trained = train_kind(predictor, rates, embeddings, out, plan.with_embedder(made), progress)
    if isinstance(made, TextEmbedder):
        made.save(out)
    unmeasured = int((rates.pass_rates != rates.pass_rates).sum())
    typer.echo(f"{trained.kind} predictor trained on {len(rates.questions)} questions x {len(rates.models)} models: {out}")
    if unmeasured:
        typer.echo(f"{unmeasured} of {rates.pass_rates.size} pass rates are not measured (NaN) and were left out", err=True)


@app.command()
def predict(
    artifact: Annotated[Path, typer.Argument(help="Folder of a trained predictor.")],
    questions: Annotated[Path, typer.Argument(help="Parquet or CSV with the pool's questions.")],
    references: Annotated[Path, typer.Option(help="CSV or parquet: questions of the pool, and their pass rates under the policy.")],
    out: Annotated[Path, typer.Option("-o", "--out", help="CSV to write: question, predicted_pass_rate.")],
    question_column: QuestionColumn = None,
    rollouts: Rollouts = 8,
    calibration: Calibration = "platt",
    device: Device = "auto",
    cache: Cache = None,
) -> None:
    """Predict the pass rate of every question of a pool from rolled-out references."""
    import numpy as np
    import pandas as pd

    from harness.predictor.lab.embedders import embed_cached, embedder_of
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
    predictor = _configured(artifact, calibration, rollouts)
    with step_bars() as progress:
        made = embedder_of(artifact, device=device)
        embeddings = embed_cached(made, texts, cache, lambda done, total: progress("embedding", done, total))
        predictor.prepare(PoolFeatures.of(embeddings, texts))
    rates = predictor.predict(np.array([place[q] for q in observed.questions]), observed.pass_rates[:, 0])
    try:
        pd.DataFrame({"question": texts, "predicted_pass_rate": rates}).to_csv(out, index=False)
    except OSError as error:
        raise UserError(f"cannot write {out}: {error.strerror or error}") from None
    typer.echo(f"{len(texts)} predictions from {len(observed.questions)} references: {out}")
    if "predictor_fallback" in predictor.info:
        typer.echo(f"fallback: {predictor.info['predictor_fallback']}", err=True)


@app.command()
def evaluate(
    table: Table,
    out: Annotated[Path, typer.Option("-o", "--out", help="Folder for evaluation.csv, evaluation.md and evaluation.png.")],
    setting: Annotated[str, typer.Option(help=f"What is new: {', '.join(SETTINGS)}.")] = "new-model",
    predictor: Annotated[list[str] | None, typer.Option(help="attention, irt, ensemble, history (trajectory only); repeatable.")] = None,
    artifact: Annotated[Path | None, typer.Option(help="Evaluate this trained predictor on all columns instead of training here.")] = None,
    trajectory: Annotated[Path | None, typer.Option(help="For trajectory: a file with one list of pass rates per question.")] = None,
    exclude_family: Annotated[list[str] | None, typer.Option(metavar="FAMILY", help="For trajectory: the policy's family.")] = None,
    every: Annotated[int, typer.Option(min=1, help="For trajectory: evaluate every so many epochs.")] = 5,
    embedder: EmbedderName = "tfidf",
    model: Models = None,
    question_column: QuestionColumn = None,
    draws: Annotated[int, typer.Option(min=1, help="Random reference sets per target.")] = 20,
    references: References = 256,
    rollouts: Rollouts = 8,
    least_rollouts: Annotated[int, typer.Option(min=1, help="Columns measured with fewer rollouts are no ground truth.")] = 50,
    epochs: Epochs = None,
    units: Units = None,
    standardize: Standardize = False,
    calibration: Calibration = "platt",
    seed: Seed = 0,
    revision: Revision = None,
    device: Device = "auto",
    dtype: Dtype = "float32",
    cache: Cache = None,
) -> None:
    """Leave one model family out, predict it from references, compare with the truth: table and figure."""
    from harness.cli.tables import print_table
    from harness.predictor.lab.embedders import embedder_of
    from harness.predictor.lab.evaluation import Protocol, evaluate_fitted
    from harness.predictor.lab.evaluation_report import report_rows, write_report
    from harness.predictor.lab.pass_rate_table import read_table

    if setting not in SETTINGS:
        raise UserError(f"unknown setting {setting!r}{did_you_mean(setting, SETTINGS)} (known: {', '.join(SETTINGS)})")
    kinds = predictor or ["irt", "attention", "ensemble"]
    rates = read_table(table, question_column, model or ())
    protocol = Protocol(references, rollouts, draws, least_rollouts, seed)
    plan = _Plan(rollouts, references, epochs, units, seed, False, standardize)
    with step_bars() as progress:
        if artifact is not None:
            fitted = _configured(artifact, calibration, rollouts)
            embeddings = _embed(embedder_of(artifact, device=device), rates, cache, progress)
            records = list(evaluate_fitted(rates, embeddings, {fitted.kind: fitted}, protocol, progress))
        elif setting == "trajectory":
            if trajectory is None:
                raise UserError("the setting trajectory needs --trajectory FILE (one list of pass rates per question)")
            source = _without(rates, exclude_family or ())
            made = _make_embedder(embedder, source, revision, device, dtype, progress)
            records = _trajectory(source, trajectory, made, kinds, plan, protocol, every, calibration, cache, progress)
        else:
            made = _make_embedder(embedder, rates, revision, device, dtype, progress)
            records = _families(rates, setting, made, kinds, plan, protocol, calibration, cache, progress)
    print_table(*report_rows(records))
    for path in write_report(records, out, f"{setting}: K = {references}, G = {rollouts}, embedder {embedder}"):
        typer.echo(str(path))


def _families(
    rates: PassRateTable, setting: str, made: Embedder, kinds: list[str], plan: _Plan, protocol: Protocol,
    calibration: str, cache: Path | None, progress: Progress,
) -> list[dict[str, Any]]:  # fmt: skip
    import tempfile

    from harness.predictor.lab.evaluation import evaluate_families
    from harness.predictor.lab.training import train_kinds

    embeddings = _embed(made, rates, cache, progress)
    with tempfile.TemporaryDirectory() as folder:

        def train_family(part: PassRateTable, features: FloatArray, family: str) -> dict[str, DifficultyPredictor]:
            trained = train_kinds(kinds, part, features, Path(folder) / family, plan.with_embedder(made), progress)
            return {kind: _set(p, calibration, protocol.rollouts) for kind, p in trained.items()}

        return list(evaluate_families(rates, embeddings, setting, train_family, protocol, progress))  # type: ignore[arg-type]


def _trajectory(
    rates: PassRateTable, file: Path, made: Embedder, kinds: list[str], plan: _Plan, protocol: Protocol, every: int,
    calibration: str, cache: Path | None, progress: Progress,
) -> list[dict[str, Any]]:  # fmt: skip
    import tempfile

    from harness.predictor.history import HistoryPredictor
    from harness.predictor.lab.embedders import embed_cached
    from harness.predictor.lab.evaluation import evaluate_trajectory
    from harness.predictor.lab.pass_rate_table import read_trajectory
    from harness.predictor.lab.training import train_kinds
    from harness.predictor.questions import PoolFeatures

    texts, measured, repeated = read_trajectory(file)
    if repeated:
        typer.echo(f"{repeated} repeated questions of {file} are left out", err=True)
    features = _embed(made, rates, cache, progress)
    pool = PoolFeatures.of(embed_cached(made, texts, cache, lambda done, total: progress("embedding", done, total)), texts)
    trained_kinds = [k for k in kinds if k != "history"] or ["irt"]
    with tempfile.TemporaryDirectory() as folder:
        trained = train_kinds(trained_kinds, rates, features, Path(folder), plan.with_embedder(made), progress)
    predictors: dict[str, DifficultyPredictor] = {k: _set(p, calibration, protocol.rollouts) for k, p in trained.items() if k in kinds}
    if "history" in kinds:
        predictors["history"] = HistoryPredictor(rollouts=protocol.rollouts, half_life=1.0)
        for kind in ("irt", "attention"):
            if kind in trained:
                predictors[f"history over {kind}"] = HistoryPredictor(trained[kind], rollouts=protocol.rollouts, half_life=1.0)
    epochs = range(0, measured.shape[1], every)
    enough = [e for e in epochs if int((measured[:, e] == measured[:, e]).sum()) > 2 * protocol.references]
    return list(evaluate_trajectory(measured, pool, predictors, protocol, enough, progress))


@dataclass(frozen=True, slots=True)
class _Plan:
    """What the options say about training, before the embedder is known."""

    rollouts: int
    references: int
    epochs: int | None
    units: int | None
    seed: int
    shared: bool
    standardize: bool

    def with_embedder(self, made: Embedder) -> TrainingPlan:
        """Settings of the attention predictor only where torch is there to use them."""
        from harness.predictor.lab.training import TrainingPlan, attention_settings

        chosen = {field.name: getattr(self, field.name) for field in fields(self) if field.name != "seed"}
        return TrainingPlan(made.id, self.seed, self.rollouts, attention_settings(**chosen))


def _without(rates: PassRateTable, families: list[str] | tuple[str, ...]) -> PassRateTable:
    known = {rates.family(m) for m in range(len(rates.models))}
    for family in families:
        if family not in known:
            raise UserError(f"no column is of the family {family!r}{did_you_mean(family, known)} (families: {', '.join(sorted(known))})")
    kept = [m for m in range(len(rates.models)) if rates.family(m) not in families]
    if not kept:
        raise UserError("--exclude-family leaves no model to train on")
    return rates.columns(kept)


def _make_embedder(name: str, rates: PassRateTable, revision: str | None, device: str, dtype: str, progress: Progress) -> Embedder:
    from harness.predictor.lab.embedders import make_embedder

    return make_embedder(
        name,
        rates.questions,
        revision=revision,
        device=device,
        dtype=dtype,
        progress=lambda done, total: progress("fitting features", done, total),
    )


def _embed(made: Embedder, rates: PassRateTable, cache: Path | None, progress: Progress) -> FloatArray:
    from harness.predictor.lab.embedders import embed_cached

    return embed_cached(made, rates.questions, cache, lambda done, total: progress("embedding", done, total))


def _configured(artifact: Path, calibration: str, rollouts: int) -> DifficultyPredictor:
    from harness.predictor.load import load_predictor

    return _set(load_predictor(artifact), calibration, rollouts)


def _set(predictor: DifficultyPredictor, calibration: str, rollouts: int) -> DifficultyPredictor:
    from harness.predictor.attention import AttentionSettings
    from harness.predictor.lab.training import configure

    return configure(predictor, AttentionSettings(calibration), rollouts)  # type: ignore[arg-type]
