"""The evaluation protocol: a new model, its references' outcomes drawn at G rollouts, its other questions predicted.

Leave-one-model-family-out: for each family, predictors are trained on all other families' columns. Then, for each target
column of the family and for each draw, K random references of the pool get binomial outcomes at G rollouts from the true
rates, and the predictions of all *other* pool questions are compared with the truth. Settings:

``new-model``      (a) the pool's questions were seen in training through other models;
``new-questions``  (b) training uses one split, the pool is the other: neither model nor questions were seen;
``trajectory``     (c) along a training run: references re-measured at every epoch (``evaluate_trajectory``).
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np

from harness.errors import UserError
from harness.numerics.prediction_quality import calibration_curve, prediction_quality
from harness.predictor.base import DifficultyPredictor
from harness.predictor.history import HistoryPredictor
from harness.predictor.lab.pass_rate_table import PassRateTable
from harness.predictor.progress import Progress
from harness.predictor.questions import PoolFeatures
from harness.types import FloatArray, IntArray

Setting = Literal["new-model", "new-questions"]

#: Trains one predictor of each kind on a table (embeddings of shape (rows, width)) for the named held-out family.
Trainer = Callable[[PassRateTable, FloatArray, str], dict[str, DifficultyPredictor]]


@dataclass(frozen=True, slots=True)
class EvaluationProtocol:
    """How targets are predicted and compared.

    references: K. rollouts: G. draws: reference draws per target. least_rollouts: columns with fewer are not used as truth.
    """

    references: int = 256
    rollouts: int = 8
    draws: int = 20
    least_rollouts: int = 50
    seed: int = 0


def evaluate_families(
    table: PassRateTable,
    embeddings: FloatArray,
    setting: Setting,
    train: Trainer,
    protocol: EvaluationProtocol,
    progress: Progress | None = None,
) -> Iterator[dict[str, Any]]:
    """One record per (predictor, target column, draw): the fields of ``PredictionQuality`` and what they are of.

    embeddings: shape (N, width), row by row those of the table. Raises UserError where the table has one family only, no column
    with enough rollouts, or no usable split.
    """
    train_rows, pool_rows = _rows_of(table, setting)
    families = sorted({table.family(m) for m in range(len(table.models))})
    if len(families) < 2:
        raise UserError(f"leave-one-family-out needs at least two model families, but all columns are of {families[0]!r}")
    targets = [m for m in range(len(table.models)) if table.rollouts[m] >= protocol.least_rollouts]
    if not targets:
        raise UserError(f"no model column has {protocol.least_rollouts} rollouts or more, so there is no truth to compare with")
    pool = PoolFeatures.of(embeddings[pool_rows], [table.questions[i] for i in pool_rows])
    done, total = 0, len(targets) * protocol.draws
    for family in families:
        mine = [m for m in targets if table.family(m) == family]
        if not mine:
            continue
        others = [m for m in range(len(table.models)) if table.family(m) != family]
        predictors = train(table.rows(train_rows).columns(others), embeddings[train_rows], family)
        for predictor in predictors.values():
            predictor.prepare(pool)
        for target in mine:
            truth = table.pass_rates[pool_rows, target]
            for draw in range(protocol.draws):
                for record in _one_draw(predictors, truth, protocol, draw):
                    yield {"setting": setting, "family": family, "target": table.models[target], **record}
                done += 1
                if progress is not None:
                    progress(f"{family}: {table.models[target]}", done, total)


def evaluate_fitted(
    table: PassRateTable,
    embeddings: FloatArray,
    predictors: dict[str, DifficultyPredictor],
    protocol: EvaluationProtocol,
    progress: Progress | None = None,
) -> Iterator[dict[str, Any]]:
    """As ``evaluate_families``, for predictors trained elsewhere: every column of the table is a target, no training here.

    It is for the caller to know that the columns' models were not among those of the training.
    """
    pool = PoolFeatures.of(embeddings, table.questions)
    for predictor in predictors.values():
        predictor.prepare(pool)
    for target, name in enumerate(table.models):
        for draw in range(protocol.draws):
            for record in _one_draw(predictors, table.pass_rates[:, target], protocol, draw):
                yield {"setting": "fitted", "family": table.family(target), "target": name, **record}
            if progress is not None:
                progress(name, target * protocol.draws + draw + 1, len(table.models) * protocol.draws)


def _rows_of(table: PassRateTable, setting: Setting) -> tuple[IntArray, IntArray]:
    everything = np.arange(len(table.questions))
    if setting == "new-model":
        return everything, everything
    if table.split is None or set(table.split) != {"train", "test"}:
        raise UserError("the setting new-questions needs a column 'split' with the values train and test")
    is_train = np.array([s == "train" for s in table.split])
    return np.flatnonzero(is_train), np.flatnonzero(~is_train)


def _one_draw(
    predictors: dict[str, DifficultyPredictor], truth: FloatArray, protocol: EvaluationProtocol, draw: int
) -> Iterator[dict[str, Any]]:
    rng = np.random.default_rng([protocol.seed, draw])
    known = np.flatnonzero(~np.isnan(truth))
    if protocol.references >= len(known):
        raise UserError(f"{protocol.references} references leave none of {len(known)} questions to predict; lower --references")
    references = rng.choice(known, protocol.references, replace=False)
    observed = rng.binomial(protocol.rollouts, truth[references]) / protocol.rollouts
    queries = np.setdiff1d(known, references)
    for name, predictor in predictors.items():
        predicted = predictor.predict(references, observed, queries)
        record: dict[str, Any] = {"predictor": name, "draw": draw, **prediction_quality(predicted, truth[queries]).to_json()}
        if draw == 0:
            record["calibration"] = calibration_curve(predicted, truth[queries])
        yield record


def evaluate_trajectory(
    trajectory: FloatArray,
    pool: PoolFeatures,
    predictors: dict[str, DifficultyPredictor],
    protocol: EvaluationProtocol,
    epochs: Sequence[int],
    progress: Progress | None = None,
) -> Iterator[dict[str, Any]]:
    """Setting (c): one record per (predictor, epoch, draw).

    trajectory: measured pass rates, shape (N, epochs), NaN where a question was not measured. At every epoch K references are drawn and
    take their measured rates of that epoch; the others are predicted and compared with theirs. A ``HistoryPredictor`` has
    seen, at epoch e, every question's groups of the epochs before e (each epoch counts as one policy version).
    """
    for predictor in predictors.values():
        predictor.prepare(pool)
    histories = [p for p in predictors.values() if isinstance(p, HistoryPredictor)]
    for epoch in range(max(epochs) + 1):
        if epoch in epochs:
            for history in histories:
                history.advance(epoch)
            yield from _one_epoch(trajectory[:, epoch], predictors, protocol, epoch)
            if progress is not None:
                progress(f"epoch {epoch}", sum(e <= epoch for e in epochs), len(epochs))
        measured = np.flatnonzero(~np.isnan(trajectory[:, epoch]))
        for history in histories:
            history.observe(measured, trajectory[measured, epoch], protocol.rollouts, epoch)


def _one_epoch(
    rates: FloatArray, predictors: dict[str, DifficultyPredictor], protocol: EvaluationProtocol, epoch: int
) -> Iterator[dict[str, Any]]:
    measured = np.flatnonzero(~np.isnan(rates))
    if protocol.references >= len(measured):
        raise UserError(f"epoch {epoch}: {protocol.references} references leave none of {len(measured)} questions to predict")
    for draw in range(protocol.draws):
        rng = np.random.default_rng([protocol.seed, epoch, draw])
        references = rng.choice(measured, protocol.references, replace=False)
        queries = np.setdiff1d(measured, references)
        for name, predictor in predictors.items():
            predicted = predictor.predict(references, rates[references], queries)
            record: dict[str, Any] = {
                "predictor": name,
                "epoch": epoch,
                "draw": draw,
                **prediction_quality(predicted, rates[queries]).to_json(),
            }
            if draw == 0:
                record["calibration"] = calibration_curve(predicted, rates[queries])
            yield record


def summarise(records: Sequence[dict[str, Any]], by: Sequence[str]) -> list[dict[str, Any]]:
    """Mean and standard deviation over reference draws, grouped by the fields ``by``.

    The mean over targets or epochs is taken within each draw first, so ± is the spread over reference draws.
    """
    groups: dict[tuple[Any, ...], dict[int, list[dict[str, Any]]]] = {}
    for record in records:
        groups.setdefault(tuple(record[k] for k in by), {}).setdefault(record["draw"], []).append(record)
    rows = []
    for key, draws in groups.items():
        row: dict[str, Any] = {**dict(zip(by, key, strict=True)), "draws": len(draws)}
        for metric in ("pearson", "spearman", "mae", "top_b_precision", "random_precision", "best_precision"):
            values = np.array([_mean_known([r[metric] for r in rs]) for rs in draws.values()])
            row[metric], row[f"{metric}_sd"] = float(values.mean()), float(values.std(ddof=1)) if len(values) > 1 else 0.0
        rows.append(row)
    return rows


def _mean_known(values: Sequence[float]) -> float:
    known = [v for v in values if v == v]
    return float(np.mean(known)) if known else float("nan")
