"""Item-response, history and ensemble predictors: numbers by hand, recovery of a known truth, artifacts, bad input."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from harness.errors import UserError
from harness.numerics.logistic import fit_logistic
from harness.predictor.artifact import save_artifact
from harness.predictor.ensemble import EnsemblePredictor, save_ensemble
from harness.predictor.history import HistoryPredictor
from harness.predictor.irt import IrtPredictor, fit_irt, item_parameters
from harness.predictor.load import load_predictor
from harness.predictor.questions import PoolFeatures, question_key
from harness.predictor.references import Info


def sigmoid(x: Any) -> Any:
    return 1 / (1 + np.exp(-x))


@pytest.fixture(scope="module")
def world() -> dict[str, Any]:
    """300 questions of a true two-parameter model: easiness is linear in a 6-wide embedding plus noise; 7 models, 1 policy."""
    rng = np.random.default_rng(0)
    embeddings = rng.standard_normal((300, 6)).astype(np.float32)
    easiness = embeddings @ rng.standard_normal(6) * 0.7 + 0.3 * rng.standard_normal(300)
    ability = np.linspace(-1.5, 1.5, 7)
    return {
        "embeddings": embeddings,
        "texts": [f"question {i}" for i in range(300)],
        "rates": sigmoid(easiness[:, None] + ability[None]),
        "policy": sigmoid(1.2 * easiness + 0.4),
    }


@pytest.fixture(scope="module")
def irt_folder(world: dict[str, Any], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Fitted on the first 200 questions."""
    out = tmp_path_factory.mktemp("irt")
    keys = [question_key(t) for t in world["texts"][:200]]
    rng = np.random.default_rng(1)
    rates = rng.binomial(50, world["rates"][:200]) / 50
    fit_irt(world["embeddings"][:200], rates, keys, embedder="toy", out=out, seed=1, rollouts=50)
    return out


def correlation(predictor: Any, world: dict[str, Any], rows: Any, with_keys: bool = True) -> float:
    texts = [world["texts"][i] for i in rows]
    pool = PoolFeatures.of(world["embeddings"][rows], texts) if with_keys else PoolFeatures(world["embeddings"][rows])
    predictor.prepare(pool)
    references = np.arange(0, len(rows), 3)
    queries = np.setdiff1d(np.arange(len(rows)), references)
    truth = world["policy"][rows]
    observed = np.random.default_rng(2).binomial(8, truth[references]) / 8
    return float(np.corrcoef(predictor.predict(references, observed, queries), truth[queries])[0, 1])


@pytest.mark.slow
def test_irt_knows_questions_other_models_have_tried(world: dict[str, Any], irt_folder: Path) -> None:
    """On questions seen through other models the policy's pass rates are predicted at Pearson > .95."""
    assert correlation(IrtPredictor.load(irt_folder), world, np.arange(90)) > 0.95


def test_irt_predicts_new_questions_from_embeddings_only_less_well(world: dict[str, Any], irt_folder: Path) -> None:
    """On new questions the embedding is the prior: > .8, and less than for known ones; without keys all questions are new."""
    new = correlation(IrtPredictor.load(irt_folder), world, np.arange(200, 300))
    assert 0.8 < new < correlation(IrtPredictor.load(irt_folder), world, np.arange(100))
    predictor = IrtPredictor.load(irt_folder)
    correlation(predictor, world, np.arange(90), with_keys=False)
    assert predictor.info["irt_seen_questions"] == 0


def test_rasch_by_hand() -> None:
    """Rank-one logits come back exactly: b is the row mean, centred, and every discrimination is 0."""
    easiness, ability = np.array([-1.0, 0.0, 1.0, 2.0]), np.array([-0.5, 0.5, 1.5])
    rates = sigmoid(easiness[:, None] + ability[None])
    items = item_parameters(rates, np.array([1e12]), 2)
    np.testing.assert_allclose(items[:, 0], easiness - easiness.mean(), atol=1e-6)
    np.testing.assert_allclose(items[:, 1:], 0, atol=1e-6)


def test_missing_rates_are_filled_in_by_the_model() -> None:
    """With one rate of a rank-one table missing, the item parameters are those of the full table."""
    easiness, ability = np.linspace(-1, 2, 9), np.array([-0.5, 0.5, 1.5, 0.2])
    rates = sigmoid(easiness[:, None] + ability[None])
    holed = rates.copy()
    holed[3, 1] = np.nan
    np.testing.assert_allclose(
        item_parameters(holed, np.array([1e12]), 2)[:, 0], item_parameters(rates, np.array([1e12]), 2)[:, 0], atol=1e-3
    )


def test_logistic_map_by_hand() -> None:
    """One intercept, two observations with mean ½ + prior N(0, 1): the gradient at the optimum is zero."""
    x, p = np.ones((2, 1)), np.array([0.75, 1.0])
    w = fit_logistic(x, p, 8, np.zeros(1), np.ones(1))
    assert 8 * (p - sigmoid(w[0])).sum() - w[0] == pytest.approx(0, abs=1e-6)


@given(st.sampled_from([0.0, 1.0]), st.integers(1, 30))
def test_logistic_map_exists_for_separable_outcomes(value: float, count: int) -> None:
    """All solved or all failed: the prior keeps the maximum finite, with the sign of the outcomes."""
    features = np.column_stack([np.ones(count), np.linspace(-5, 5, count)])
    w = fit_logistic(features, np.full(count, value), 8, np.zeros(2), np.ones(2))
    assert np.isfinite(w).all()
    assert (w[0] > 0) == (value == 1)


def test_irt_falls_back_to_the_prior_and_says_so(world: dict[str, Any], irt_folder: Path) -> None:
    """All references failed: finite low predictions, named in the info."""
    predictor = IrtPredictor.load(irt_folder)
    predictor.prepare(PoolFeatures.of(world["embeddings"][:50], world["texts"][:50]))
    got = predictor.predict(np.arange(10), np.zeros(10))
    assert got.max() < 0.9
    assert np.isfinite(got).all()
    assert "abilities from the prior" in str(predictor.info["predictor_fallback"])


def test_irt_refuses_what_it_cannot_use(world: dict[str, Any], irt_folder: Path, tmp_path: Path) -> None:
    """One model, rows that nobody measured, and embeddings of another width are UserErrors."""
    with pytest.raises(UserError, match="at least two models"):
        fit_irt(world["embeddings"], world["rates"][:, :1], ["00"] * 300, embedder="toy", out=tmp_path, seed=1)
    holed = world["rates"].copy()
    holed[7] = np.nan
    with pytest.raises(UserError, match="question row 7"):
        fit_irt(world["embeddings"], holed, ["00"] * 300, embedder="toy", out=tmp_path, seed=1)
    with pytest.raises(UserError, match="width 6"):
        IrtPredictor.load(irt_folder).prepare(PoolFeatures(np.zeros((4, 5))))
    with pytest.raises(UserError, match="embeddings of 'toy'"):
        IrtPredictor.load(irt_folder, embedder="other")


class Constant:
    """Always predicts the same vector; enough to test those that build on others."""

    kind = "constant"

    def __init__(self, rates: Any) -> None:
        self.rates, self.info = np.asarray(rates, dtype=float), Info()

    def prepare(self, pool: PoolFeatures) -> None:
        assert len(pool) == len(self.rates)

    def predict(self, reference_ids: Any, reference_pass_rates: Any, query_ids: Any = None) -> Any:
        return self.rates if query_ids is None else self.rates[query_ids]


def test_history_posterior_by_hand() -> None:
    """n₀ = 4 at prior ½; 8 of 8 solved one half-life ago counts 4 of 4: (2 + 4)/(4 + 4) = .75; unseen questions keep the prior."""
    history = HistoryPredictor(Constant([0.5, 0.5, 0.2]), prior_rollouts=4, half_life=3, rollouts=8)
    history.prepare(PoolFeatures(np.zeros((3, 1))))
    history.observe(np.array([0]), np.array([1.0]), 8, policy_version=2)
    history.advance(5)
    got = history.predict(np.array([1]), np.array([0.25]))
    np.testing.assert_allclose(got, [0.75, (2 + 2) / (4 + 8), 0.2])
    assert history.info["history_questions"] == 1


@pytest.mark.parametrize(("prior", "expected"), [("truth", 16.0), ("noise", 2.0)])
def test_the_references_decide_how_much_the_prior_counts(prior: str, expected: float) -> None:
    """A prior that is the truth gets the largest weight of the grid, one that is noise at most 2 rollouts."""
    rng = np.random.default_rng(0)
    truth = rng.uniform(0.05, 0.95, 400)
    history = HistoryPredictor(Constant(truth if prior == "truth" else rng.permutation(truth)))
    history.prepare(PoolFeatures(np.zeros((400, 1))))
    history.observe(np.arange(400), rng.binomial(8, truth) / 8, 8, 1)
    ids = np.arange(200)
    history.predict(ids, rng.binomial(8, truth[ids]) / 8)
    weight = float(history.info["history_prior_rollouts"])
    assert weight == expected if prior == "truth" else weight <= expected


def test_history_without_a_prior_starts_at_the_references_mean() -> None:
    """No prior predictor: an unseen question gets the mean of the references."""
    history = HistoryPredictor()
    history.prepare(PoolFeatures(np.zeros((4, 1))))
    assert history.predict(np.array([0, 1]), np.array([0.25, 0.75]))[3] == pytest.approx(0.5)


def test_history_survives_a_crash_and_refuses_bad_groups() -> None:
    """State round trip gives the same predictions; NaN rates and a version that goes back are UserErrors."""
    first, second = HistoryPredictor(), HistoryPredictor()
    for history in (first, second):
        history.prepare(PoolFeatures(np.zeros((5, 1))))
    first.observe(np.array([0, 3, 3]), np.array([0.5, 1.0, 0.0]), 8, 4)
    second.load_state_dict(first.state_dict())
    arguments = (np.array([1]), np.array([0.5]))
    np.testing.assert_array_equal(first.predict(*arguments), second.predict(*arguments))
    with pytest.raises(UserError, match="goes back from policy version 4 to 3"):
        second.observe(np.array([0]), np.array([0.5]), 8, 3)
    with pytest.raises(UserError, match="NaN"):
        second.observe(np.array([0]), np.array([np.nan]), 8, 5)
    with pytest.raises(UserError, match="must be positive"):
        HistoryPredictor(half_life=0)


def test_ensemble_gives_the_weight_to_the_member_that_is_right() -> None:
    """A perfect and a useless member: the perfect one's weight is near 1, the other's near 0, and predictions follow."""
    rng = np.random.default_rng(0)
    truth = sigmoid(1.5 * rng.standard_normal(200))
    ensemble = EnsemblePredictor([Constant(truth), Constant(rng.uniform(0.05, 0.95, 200))])
    ensemble.prepare(PoolFeatures(np.zeros((200, 1))))
    for member in (0, 1):
        ensemble.members[member].kind = f"m{member}"  # type: ignore[misc]
    ids = np.arange(64)
    got = ensemble.predict(ids, rng.binomial(8, truth[ids]) / 8)
    weights = [ensemble.info["ensemble_weight_m0"], ensemble.info["ensemble_weight_m1"]]
    assert float(weights[0]) > 0.7
    assert abs(float(weights[1])) < 0.2
    assert np.corrcoef(got, truth)[0, 1] > 0.97


@pytest.mark.parametrize(("ids", "rates"), [(np.arange(5), np.full(5, 0.5)), (np.arange(30), np.zeros(30))])
def test_ensemble_falls_back_to_the_average(ids: Any, rates: Any) -> None:
    """Too few or uninformative references: the members' plain average of logits, and the info says so."""
    ensemble = EnsemblePredictor([Constant(np.full(40, 0.2)), Constant(np.full(40, 0.8))])
    ensemble.prepare(PoolFeatures(np.zeros((40, 1))))
    np.testing.assert_allclose(ensemble.predict(ids, rates), 0.5)
    assert "predictor_fallback" in ensemble.info


def test_ensemble_artifact_loads_its_members(world: dict[str, Any], irt_folder: Path, tmp_path: Path) -> None:
    """A saved ensemble finds its members in its own folder; one member is too few; unknown kinds are refused."""
    for name in ("a", "b"):
        (tmp_path / name).mkdir()
        for file in irt_folder.iterdir():
            (tmp_path / name / file.name).write_bytes(file.read_bytes())
    save_ensemble(tmp_path, ["a", "b"], "toy")
    loaded = load_predictor(tmp_path, "toy")
    assert isinstance(loaded, EnsemblePredictor)
    assert correlation(loaded, world, np.arange(90)) > 0.95
    with pytest.raises(UserError, match="at least two predictors"):
        EnsemblePredictor([Constant([0.5])])
    save_artifact(tmp_path / "odd", {"kind": "astrology", "embedder": "toy"}, {"x": np.zeros(1)})
    with pytest.raises(UserError, match="unknown kind 'astrology'"):
        load_predictor(tmp_path / "odd")
