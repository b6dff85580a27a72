"""``halfway predictor evaluate``."""

from __future__ import annotations

import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, cast

import typer

from harness.cli.bars import step_bars
from harness.cli.predictor.options import (
    DEFAULT_ROLLOUTS,
    Cache,
    Calibration,
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
    configured,
    embed,
    embedder_for,
    load_configured,
    training_plan,
    without_families,
)  # fmt: skip
from harness.errors import UserError, did_you_mean

if TYPE_CHECKING:
    from harness.predictor.base import DifficultyPredictor
    from harness.predictor.lab.evaluation import EvaluationProtocol, Setting
    from harness.predictor.lab.pass_rate_table import PassRateTable
    from harness.predictor.progress import Progress
    from harness.types import FloatArray

SETTINGS = ("new-model", "new-questions", "trajectory")


def evaluate(
    table: Table,
    out: Annotated[Path, typer.Option("-o", "--out", help="Folder for evaluation.csv, evaluation.md and evaluation.png.")],
    setting: Annotated[str, typer.Option(help=f"What is new: {', '.join(SETTINGS)}.")] = "new-model",
    predictor: Annotated[list[str] | None, typer.Option(help="attention, irt, ensemble, history (trajectory only); repeatable.")] = None,
    artifact: Annotated[Path | None, typer.Option(help="Evaluate this trained predictor on all columns instead of training here.")] = None,
    trajectory: Annotated[Path | None, typer.Option(help="For trajectory: a file with one list of pass rates per question.")] = None,
    exclude_family: Annotated[list[str] | None, typer.Option(metavar="FAMILY", help="For trajectory: the policy's family.")] = None,
    every: Annotated[int, typer.Option(min=1, help="For trajectory: evaluate every so many epochs.")] = 5,
    variant: Variant = "paper",
    embedder: EmbedderName = "tfidf",
    model: Models = None,
    question_column: QuestionColumn = None,
    draws: Annotated[int, typer.Option(min=1, help="Random reference sets per target.")] = 20,
    references: References = 256,
    rollouts: Annotated[int, typer.Option(min=1, help="G, rollouts per reference question.")] = DEFAULT_ROLLOUTS,
    least_rollouts: Annotated[int, typer.Option(min=1, help="Columns measured with fewer rollouts are no ground truth.")] = 50,
    epochs: Epochs = None,
    units: Units = None,
    standardize: Standardize = False,
    calibration: Calibration = None,
    seed: Seed = 0,
    revision: Revision = None,
    device: Device = "auto",
    dtype: Dtype = "float32",
    cache: Cache = None,
) -> None:
    """Leave one model family out, predict it from references, compare with the truth: table and figure."""
    from harness.cli.tables import print_table
    from harness.predictor.lab.embedders import embedder_of
    from harness.predictor.lab.evaluation import EvaluationProtocol, evaluate_fitted
    from harness.predictor.lab.evaluation_report import report_rows, write_report
    from harness.predictor.lab.pass_rate_table import read_table

    if setting not in SETTINGS:
        raise UserError(f"unknown setting {setting!r}{did_you_mean(setting, SETTINGS)} (known: {', '.join(SETTINGS)})")
    rates = read_table(table, question_column, model or ())
    protocol = EvaluationProtocol(references, rollouts, draws, least_rollouts, seed)
    chosen = {"references": references, "epochs": epochs, "units": units, "standardize": standardize}
    with step_bars() as progress:
        lab = _Evaluation(predictor or ["irt", "attention", "ensemble"], protocol, variant, calibration, chosen, cache, progress)
        if artifact is not None:
            fitted = load_configured(artifact, variant, calibration, rollouts)
            embeddings = embed(embedder_of(artifact, device=device), rates.questions, cache, progress)
            records = list(evaluate_fitted(rates, embeddings, {fitted.kind: fitted}, protocol, progress))
        elif setting == "trajectory":
            if trajectory is None:
                raise UserError("the setting trajectory needs --trajectory FILE (one list of pass rates per question)")
            source = without_families(rates, exclude_family or ())
            records = lab.along(source, trajectory, embedder_for(source, embedder, revision, device, dtype, progress), every)
        else:
            made = embedder_for(rates, embedder, revision, device, dtype, progress)
            records = lab.families(rates, cast("Setting", setting), made)
    print_table(*report_rows(records))
    for path in write_report(records, out, f"{setting}: K = {references}, G = {rollouts}, embedder {embedder}"):
        typer.echo(str(path))


@dataclass(frozen=True, slots=True)
class _Evaluation:
    """What the settings have in common. chosen: settings of the attention predictor's training."""

    kinds: list[str]
    protocol: EvaluationProtocol
    variant: str
    calibration: str | None
    chosen: dict[str, Any]
    cache: Path | None
    progress: Progress

    def families(self, rates: PassRateTable, setting: Setting, made: Any) -> list[dict[str, Any]]:
        """Records of ``new-model`` and ``new-questions``."""
        from harness.predictor.lab.evaluation import evaluate_families

        embeddings = embed(made, rates.questions, self.cache, self.progress)
        with tempfile.TemporaryDirectory() as folder:

            def train_family(part: PassRateTable, features: FloatArray, family: str) -> dict[str, DifficultyPredictor]:
                return self._trained(self.kinds, part, features, made, Path(folder) / family)

            return list(evaluate_families(rates, embeddings, setting, train_family, self.protocol, self.progress))

    def along(self, rates: PassRateTable, file: Path, made: Any, every: int) -> list[dict[str, Any]]:
        """Records of ``trajectory``."""
        from harness.predictor.lab.evaluation import evaluate_trajectory
        from harness.predictor.lab.pass_rate_table import read_trajectory
        from harness.predictor.questions import PoolFeatures

        texts, measured, repeated = read_trajectory(file)
        if repeated:
            typer.echo(f"{repeated} repeated questions of {file} are left out", err=True)
        features = embed(made, rates.questions, self.cache, self.progress)
        pool = PoolFeatures.of(embed(made, texts, self.cache, self.progress), texts)
        with tempfile.TemporaryDirectory() as folder:
            trained = self._trained([k for k in self.kinds if k != "history"] or ["irt"], rates, features, made, Path(folder))
        predictors = {kind: p for kind, p in trained.items() if kind in self.kinds} | self._histories(trained)
        epochs = range(0, measured.shape[1], every)
        enough = [e for e in epochs if int((measured[:, e] == measured[:, e]).sum()) > 2 * self.protocol.references]
        return list(evaluate_trajectory(measured, pool, predictors, self.protocol, enough, self.progress))

    def _trained(
        self, kinds: list[str], rates: PassRateTable, features: FloatArray, made: Any, folder: Path
    ) -> dict[str, DifficultyPredictor]:
        from harness.predictor.lab.training import train_kinds

        plan = training_plan(made, self.variant, self.protocol.seed, **self.chosen)
        trained = train_kinds(kinds, rates, features, folder, plan, self.progress)
        return {kind: configured(p, self.variant, self.calibration, self.protocol.rollouts) for kind, p in trained.items()}

    def _histories(self, trained: dict[str, DifficultyPredictor]) -> dict[str, DifficultyPredictor]:
        """The history predictor alone and over each trained one, if it was asked for; half a life is one epoch."""
        from harness.predictor.history import HistoryPredictor

        if "history" not in self.kinds:
            return {}
        rollouts = self.protocol.rollouts
        alone = {"history": HistoryPredictor(rollouts=rollouts, half_life=1.0)}
        over = {kind: HistoryPredictor(p, rollouts=rollouts, half_life=1.0) for kind, p in trained.items() if kind != "ensemble"}
        return {**alone, **{f"history over {kind}": p for kind, p in over.items()}}
