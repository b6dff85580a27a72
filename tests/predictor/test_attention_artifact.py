"""The attention predictor's training, and the artifact that it leaves."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from harness.errors import UserError
from harness.predictor import AttentionPredictor
from harness.predictor.network import HEADS, adapt, platt_coefficients
from tests.predictor.random_predictors import WIDTH, random_arrays, random_predictor


@pytest.fixture(scope="module")
def table() -> tuple[Any, Any]:
    """80 questions whose difficulty is a smooth function of their embedding, seen by 6 models of different strength."""
    rng = np.random.default_rng(0)
    features = rng.standard_normal((240, 8)).astype(np.float32)
    difficulty = features @ rng.standard_normal(8) / 1.5
    ability = np.linspace(-1.5, 1.5, 6)
    return features, 1 / (1 + np.exp(difficulty[:, None] - ability[None]))


@pytest.fixture(scope="module")
def trained(table: tuple[Any, Any], tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, dict[str, Any]]:
    training = pytest.importorskip("harness.predictor.lab.attention_training", exc_type=ImportError)
    from harness.predictor.lab.training_settings import TrainingSettings

    out = tmp_path_factory.mktemp("predictor")
    settings = TrainingSettings(units=24, epochs=40, rollouts=8, references=64)
    facts = training.train_predictor(table[0][:160], table[1][:160, :5], embedder="toy", out=out, seed=1, settings=settings)
    return out, facts


def test_training_learns_and_the_artifact_predicts_unseen_questions_of_an_unseen_model(
    table: tuple[Any, Any], trained: tuple[Path, dict[str, Any]]
) -> None:
    """On questions and a model never seen in training, Pearson with the truth exceeds 0.8; untrained weights stay below 0.5."""
    features, rates = table[0][160:], table[1][160:, 5]
    predictor = AttentionPredictor.load(trained[0], embedder="toy")
    predictor.project_queries(features)
    ids = np.arange(0, 80, 2)
    queries = np.arange(1, 80, 2)
    observed = np.random.default_rng(0).binomial(8, rates[ids]) / 8
    learned = np.corrcoef(predictor.predict(ids, observed, queries), rates[queries])[0, 1]
    assert learned > 0.8
    fresh = random_predictor(0, width=8, units=24)
    fresh.project_queries(features)
    assert np.corrcoef(fresh.predict(ids, observed, queries), rates[queries])[0, 1] < 0.5


def test_numpy_inference_equals_the_trained_torch_network(table: tuple[Any, Any], trained: tuple[Path, dict[str, Any]]) -> None:
    """What is trained is what is used: the torch forward and the numpy path agree to 1e-5."""
    torch = pytest.importorskip("torch")
    from safetensors.torch import load_file

    from harness.predictor.lab.attention_network import AttentionNetwork

    network = AttentionNetwork(8, 24, shared=False, dropout=0.1, head="paper")
    network.load_state_dict(load_file(trained[0] / "weights.safetensors"))
    network.eval()
    features = table[0]
    ids, queries = np.arange(20), np.arange(20, 60)
    rates = np.linspace(0, 1, 20)
    with torch.no_grad():
        logits = network(
            torch.from_numpy(features[queries]),
            torch.from_numpy(features[ids]),
            torch.from_numpy(rates.astype(np.float32)).expand(40, 20),
        )
    predictor = AttentionPredictor.load(trained[0])
    predictor.project_queries(features)
    np.testing.assert_allclose(predictor.predict(ids, rates, queries), torch.sigmoid(logits).numpy(), atol=1e-5)


def test_training_is_deterministic_and_leaves_the_global_generator_alone(table: tuple[Any, Any], tmp_path: Path) -> None:
    """Same seed, same weights; another seed, other weights; torch's global generator is not consumed."""
    torch = pytest.importorskip("torch")
    from harness.predictor.lab.attention_training import train_predictor
    from harness.predictor.lab.training_settings import TrainingSettings

    settings = TrainingSettings(units=16, epochs=2, shared=True)
    before = torch.random.get_rng_state()
    weights = []
    for name, seed in (("a", 1), ("b", 1), ("c", 2)):
        train_predictor(table[0], table[1], embedder="toy", out=tmp_path / name, seed=seed, settings=settings)
        weights.append((tmp_path / name / "weights.safetensors").read_bytes())
    assert weights[0] == weights[1] != weights[2]
    assert torch.equal(before, torch.random.get_rng_state())


def test_standardised_embeddings_make_units_irrelevant(table: tuple[Any, Any], tmp_path: Path) -> None:
    """With ``standardize`` an embedding measured in other units (each dimension scaled and shifted) gives the same predictions."""
    training = pytest.importorskip("harness.predictor.lab.attention_training", exc_type=ImportError)
    from harness.predictor.lab.training_settings import TrainingSettings

    settings = TrainingSettings(units=16, epochs=2, standardize=True)
    ids, rates = np.arange(20), np.linspace(0, 1, 20)
    scale, shift = np.linspace(0.5, 30, 8).astype(np.float32), np.linspace(-5, 5, 8).astype(np.float32)
    found = []
    for name, features in (("plain", table[0]), ("scaled", table[0] * scale + shift)):
        training.train_predictor(features, table[1], embedder="toy", out=tmp_path / name, seed=1, settings=settings)
        predictor = AttentionPredictor.load(tmp_path / name)
        predictor.project_queries(features)
        found.append(predictor.predict(ids, rates))
    np.testing.assert_allclose(found[0], found[1], atol=2e-3)


def test_facts_are_the_artifacts_description(trained: tuple[Path, dict[str, Any]]) -> None:
    """predictor.json holds widths, embedder, settings and seconds, and equals the returned facts."""
    out, facts = trained
    stored = json.loads((out / "predictor.json").read_text())
    assert stored.pop("schema") == 2
    assert stored == json.loads(json.dumps(facts))
    assert stored["width"] == 8
    assert stored["units"] == 24
    assert stored["training"]["models"] == 5
    assert stored["training"]["seconds"] > 0
    assert stored["training"]["optimizer_steps"] == 40 * 4  # 160 questions x 5 models in batches of 256


def edit(change: Callable[[dict[str, Any]], None]) -> Callable[[Path], None]:
    def apply(folder: Path) -> None:
        description = json.loads((folder / "predictor.json").read_text())
        change(description)
        (folder / "predictor.json").write_text(json.dumps(description))

    return apply


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (lambda f: (f / "predictor.json").unlink(), "predictor.json is missing"),
        (lambda f: (f / "predictor.json").write_text("{"), "not a predictor description"),
        (lambda f: (f / "predictor.json").write_text("[]"), "not a predictor description"),
        (lambda f: (f / "weights.safetensors").write_bytes(b"torn"), "cannot read"),
        (lambda f: (f / "weights.safetensors").unlink(), "cannot read"),
        (edit(lambda d: d.update(schema=9)), "schema 9"),
        (edit(lambda d: d.update(schema=1)), "trained by an older version"),
        (edit(lambda d: d.update(head="other")), "unknown calibration head 'other'"),
        (edit(lambda d: d.update(kind="irt")), "of kind 'irt'"),
        (edit(lambda d: d.update(embedder="hf:other")), "trained on embeddings of 'hf:other'"),
        (edit(lambda d: d.update(width=9)), "do not fit its description"),
    ],
)
def test_broken_or_foreign_artifacts_are_refused_with_a_sentence(
    trained: tuple[Path, dict[str, Any]], tmp_path: Path, damage: Callable[[Path], None], message: str
) -> None:
    """A missing, torn, newer or foreign artifact is one clear sentence."""
    for name in ("predictor.json", "weights.safetensors"):
        (tmp_path / name).write_bytes((trained[0] / name).read_bytes())
    damage(tmp_path)
    with pytest.raises(UserError, match=message):
        AttentionPredictor.load(tmp_path, embedder="toy")


@pytest.mark.parametrize(
    ("features", "rates", "message"),
    [
        (np.zeros((20, 3)), np.zeros((19, 2)), "needs embeddings"),
        (np.full((20, 3), np.nan), np.zeros((20, 2)), "NaN or infinite"),
        (np.zeros((20, 3)), np.full((20, 2), 1.2), "outside"),
        (np.zeros((20, 3)), np.full((20, 2), np.nan), "0 measured questions"),
    ],
)
def test_bad_training_tables_are_refused(features: Any, rates: Any, message: str, tmp_path: Path) -> None:
    """Shapes that do not fit, NaN features, rates outside [0, 1] and empty columns are UserErrors."""
    pytest.importorskip("torch")
    from harness.predictor.lab.attention_training import train_predictor

    with pytest.raises(UserError, match=message):
        train_predictor(features, rates, embedder="toy", out=tmp_path, seed=1)


def test_adapter_and_head_are_public_pieces() -> None:
    """The adapter's output is LayerNormed per row; a head's slope is positive and its shift within (−1, 1)."""
    arrays = random_arrays(np.random.default_rng(9))
    arrays["query.output_norm.weight"][:] = 1
    arrays["query.output_norm.bias"][:] = 0
    z = adapt(arrays, "query", np.random.default_rng(1).standard_normal((4, WIDTH)))
    np.testing.assert_allclose(z.mean(axis=1), 0, atol=1e-9)
    np.testing.assert_allclose(z.var(axis=1), 1, atol=1e-3)
    for head in HEADS:
        slope, shift = platt_coefficients(arrays, head, np.array([0.0, 1.0, 0.5]))
        assert slope > 0
        assert -1 < shift < 1
