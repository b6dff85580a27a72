"""Metrics by hand, and the evaluation protocol on a table whose truth is known."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from harness.errors import UserError
from harness.numerics.prediction_quality import calibration_curve, diagnostics, prediction_quality, ranks
from harness.predictor.history import HistoryPredictor
from harness.predictor.irt import IrtPredictor, fit_irt
from harness.predictor.lab.evaluation import EvaluationProtocol, evaluate_families, evaluate_fitted, evaluate_trajectory, summarise
from harness.predictor.lab.evaluation_report import report_rows, write_report
from harness.predictor.lab.pass_rate_table import PassRateTable, read_table
from harness.predictor.questions import PoolFeatures, question_key


def test_metrics_by_hand() -> None:
    """Four questions worked out on paper: MAE, top-2 near ½, the pool's share and the best possible."""
    predicted, true = np.array([0.5, 0.45, 0.9, 0.1]), np.array([0.5, 1.0, 0.75, 0.0])
    quality = prediction_quality(predicted, true, top_b=2)
    assert quality.mae == pytest.approx((0 + 0.55 + 0.15 + 0.1) / 4)
    assert quality.top_b_precision == 0.5  # questions 0 and 1 are nearest ½; only question 0 is informative
    assert quality.random_precision == 0.5
    assert quality.best_precision == 1.0
    assert quality.pearson == pytest.approx(np.corrcoef(predicted, true)[0, 1])


def test_spearman_equals_scipy_with_ties() -> None:
    """Our ranks and Spearman are scipy's, ties included."""
    stats = pytest.importorskip("scipy.stats", reason="scipy is a development dependency")
    rng = np.random.default_rng(0)
    x, y = rng.integers(0, 9, 200) / 8, rng.integers(0, 9, 200) / 8
    assert prediction_quality(x, y).spearman == pytest.approx(stats.spearmanr(x, y)[0])
    np.testing.assert_array_equal(ranks(np.array([3.0, 1.0, 3.0])), [2.5, 1.0, 2.5])


def test_a_constant_prediction_has_no_correlation() -> None:
    """NaN, not 0 and not a warning; and lengths that differ are a programming error."""
    assert np.isnan(prediction_quality(np.full(5, 0.5), np.linspace(0, 1, 5)).pearson)
    with pytest.raises(ValueError, match="equal vectors"):
        prediction_quality(np.zeros(3), np.zeros(4))


def test_calibration_curve_by_hand() -> None:
    """Two bins of two: means of prediction and truth; empty bins are left out; 1.0 belongs to the last bin."""
    curve = calibration_curve(np.array([0.1, 0.2, 0.9, 1.0]), np.array([0.0, 0.5, 1.0, 0.5]), bins=2)
    assert curve == [
        {"predicted": pytest.approx(0.15), "true": 0.25, "n": 2.0},
        {"predicted": pytest.approx(0.95), "true": 0.75, "n": 2.0},
    ]


@pytest.fixture(scope="module")
def table() -> tuple[PassRateTable, Any]:
    """200 questions, three families of two models each; easiness is a function of a 4-wide embedding plus what text cannot tell."""
    rng = np.random.default_rng(0)
    embeddings = rng.standard_normal((200, 4)).astype(np.float32)
    easiness = embeddings @ np.array([1.0, -0.5, 0.5, 0.2]) + 0.8 * rng.standard_normal(200)
    ability = np.array([-1, 0, 0.5, 1, -0.5, 0.2])
    rates = rng.binomial(50, 1 / (1 + np.exp(-(easiness[:, None] + ability)))) / 50
    models = tuple(f"{family}{variant}__k50" for family in "ABC" for variant in ("", "-Instruct"))
    split = tuple("train" if i < 120 else "test" for i in range(200))
    return PassRateTable(tuple(f"q{i}" for i in range(200)), models, rates, (50,) * 6, split), embeddings


def irt_trainer(folder: Path, seen: list[tuple[str, ...]]) -> Any:
    def train(part: PassRateTable, features: Any, family: str) -> dict[str, Any]:
        seen.append((family, *part.models))
        out = folder / family
        fit_irt(
            features, part.pass_rates, [question_key(q) for q in part.questions], embedder="toy", out=out, seed=0, rollouts=part.rollouts
        )
        return {"irt": IrtPredictor.load(out)}

    return train


@pytest.mark.slow
def test_a_family_is_never_trained_on_itself(table: tuple[PassRateTable, Any], tmp_path: Path) -> None:
    """Leave-one-family-out: three trainings, none with a column of the held-out family; every target and draw gives a record."""
    seen: list[tuple[str, ...]] = []
    records = list(evaluate_families(*table, "new-model", irt_trainer(tmp_path, seen), EvaluationProtocol(references=40, draws=3)))
    assert [s[0] for s in seen] == ["A", "B", "C"]
    assert all(not model.startswith(family) for family, *models in seen for model in models)
    assert len(records) == 6 * 3
    assert {r["n"] for r in records} == {160}
    overall = summarise(records, ["predictor"])[0]
    assert overall["pearson"] > 0.9
    assert overall["draws"] == 3


@pytest.mark.slow
def test_new_questions_are_really_new(table: tuple[PassRateTable, Any], tmp_path: Path) -> None:
    """Training sees the train split only, the pool is the test split; known questions are predicted better."""
    sizes: list[int] = []

    def train(part: PassRateTable, features: Any, family: str) -> dict[str, Any]:
        sizes.append(len(part.questions))
        assert set(part.questions) <= {f"q{i}" for i in range(120)}
        return irt_trainer(tmp_path, [])(part, features, family)  # type: ignore[no-any-return]

    new = summarise(list(evaluate_families(*table, "new-questions", train, EvaluationProtocol(references=30, draws=3))), ["predictor"])[0]
    old = summarise(
        list(evaluate_families(*table, "new-model", irt_trainer(tmp_path, []), EvaluationProtocol(references=30, draws=3))), ["predictor"]
    )[0]
    assert sizes == [120] * 3
    assert 0.6 < new["pearson"] < old["pearson"]


@pytest.mark.slow
def test_the_same_seed_draws_the_same_references(table: tuple[PassRateTable, Any], tmp_path: Path) -> None:
    """The protocol is deterministic under its seed, and another seed draws others."""
    runs = [
        list(evaluate_families(*table, "new-model", irt_trainer(tmp_path, []), EvaluationProtocol(40, draws=2, seed=s))) for s in (1, 1, 2)
    ]
    values = [[r["pearson"] for r in records] for records in runs]
    assert values[0] == values[1] != values[2]


def test_history_beats_its_prior_along_a_trajectory() -> None:
    """Pass rates drift slowly over epochs: remembering past epochs predicts better than the prior, from the second epoch on."""
    rng = np.random.default_rng(0)
    start = rng.standard_normal(150)
    truth = 1 / (1 + np.exp(-(start[:, None] + 0.2 * np.arange(6) + 0.1 * rng.standard_normal((150, 6)))))
    measured = rng.binomial(8, truth) / 8
    measured[0, 5] = np.nan
    predictors: dict[str, Any] = {"history": HistoryPredictor(half_life=1)}
    pool = PoolFeatures(np.zeros((150, 1)))
    records = list(evaluate_trajectory(measured, pool, predictors, EvaluationProtocol(references=30, draws=2), [0, 2, 5]))
    by_epoch = {r["epoch"]: r["pearson"] for r in summarise(records, ["epoch"])}
    assert np.isnan([r["pearson"] for r in records if r["epoch"] == 0]).all()  # nothing known yet: one value for all
    assert by_epoch[2] > 0.6
    assert {r["n"] for r in records if r["epoch"] == 5} == {119}


@pytest.mark.slow
def test_report_files(table: tuple[PassRateTable, Any], tmp_path: Path) -> None:
    """evaluation.csv has one line per draw, evaluation.md the means, evaluation.png is a PNG."""
    records = list(evaluate_families(*table, "new-model", irt_trainer(tmp_path, []), EvaluationProtocol(40, draws=2)))
    files = write_report(records, tmp_path / "out", "title")
    assert [f.name for f in files] == ["evaluation.csv", "evaluation.md", "evaluation.png"]
    assert len(files[0].read_text().splitlines()) == 1 + 12
    assert files[2].read_bytes()[:8] == b"\x89PNG\r\n\x1a\n"
    headers, rows = report_rows(records)
    assert len(rows) == 1 + 6
    assert all(len(row) == len(headers) for row in rows)


def test_impossible_protocols_are_refused(table: tuple[PassRateTable, Any], tmp_path: Path) -> None:
    """One family, no split, no column with enough rollouts, more references than questions: UserErrors."""
    rates, embeddings = table
    trainer = irt_trainer(tmp_path, [])
    with pytest.raises(UserError, match="at least two model families"):
        list(evaluate_families(rates.columns([0, 1]), embeddings, "new-model", trainer, EvaluationProtocol()))
    bare = PassRateTable(rates.questions, rates.models, rates.pass_rates, rates.rollouts)
    with pytest.raises(UserError, match="column 'split'"):
        list(evaluate_families(bare, embeddings, "new-questions", trainer, EvaluationProtocol()))
    with pytest.raises(UserError, match="100 rollouts or more"):
        list(evaluate_families(rates, embeddings, "new-model", trainer, EvaluationProtocol(least_rollouts=100)))
    with pytest.raises(UserError, match="leave none of 200"):
        list(evaluate_families(rates, embeddings, "new-model", trainer, EvaluationProtocol(references=200)))


DATA = Path(__file__).resolve().parents[2] / "../shared/data"


@pytest.mark.slow
@pytest.mark.skipif(not (DATA / "math12500_pass_rates.parquet").is_file(), reason="the real pass-rate table is not beside the repository")
def test_real_models_other_models_predict_a_new_family_well(tmp_path: Path) -> None:
    """Real data, setting (a): 22 columns of other families and 256 references at G = 8 give Pearson > .83 for Qwen2.5-Math-1.5B."""
    full = read_table(DATA / "math12500_pass_rates.parquet")
    rows = np.random.default_rng(0).permutation(len(full.questions))[:900]
    part = full.rows(np.sort(rows))
    others = [m for m in range(len(part.models)) if part.family(m) != "Qwen2.5-Math-1.5B"]
    train = part.columns(others)
    embeddings = np.zeros((900, 2), dtype=np.float32) + np.arange(900)[:, None] / 900  # every question is known: no features needed
    keys = [question_key(q) for q in train.questions]
    fit_irt(embeddings, train.pass_rates, keys, embedder="none", out=tmp_path, seed=0, rollouts=train.rollouts)
    target = part.columns([part.models.index("Qwen2.5-Math-1.5B__k50_t1.0")])
    records = list(evaluate_fitted(target, embeddings, {"irt": IrtPredictor.load(tmp_path)}, EvaluationProtocol(draws=3)))
    assert summarise(records, ["predictor"])[0]["pearson"] > 0.83


def test_diagnostics_are_what_an_evaluation_record_holds() -> None:
    """Perfect order, shifted by .1: correlations 1, error .1; a constant has none; ties share their rank; reliability by tenths."""
    observed = np.array([0.0, 0.25, 0.5, 0.75])
    found = diagnostics(observed + 0.1, observed)
    assert found.pop("reliability") == [[1.0, pytest.approx(p), pytest.approx(p - 0.1)] for p in observed + 0.1]
    assert found == pytest.approx({"n": 4, "mae": 0.1, "pearson": 1, "spearman": 1})
    assert set(diagnostics(np.full(4, 0.5), observed)) == {"n", "mae", "reliability"}
    ties = diagnostics(np.array([1.0, 1.0, 2.0, 3.0]), np.array([1.0, 2.0, 3.0, 4.0]))
    assert ties["spearman"] == pytest.approx(4.5 / np.sqrt(4.5 * 5))  # ranks 1.5 1.5 3 4 against 1 2 3 4
