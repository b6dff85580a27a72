"""The attention predictor against the paper's equations written out literally, and its training and artifact."""

from __future__ import annotations

import json
import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from harness.errors import UserError
from harness.numerics.functions import gelu_
from harness.predictor import AttentionPredictor, AttentionSettings
from harness.predictor.network import HEADS, adapt, platt_coefficients

WIDTH, UNITS, HIDDEN = 12, 20, 6


def random_arrays(rng: np.random.Generator, shared: bool = False, width: int = WIDTH, units: int = UNITS) -> dict[str, Any]:
    arrays: dict[str, Any] = {}
    for prefix in ("query",) if shared else ("query", "reference"):
        for name, size in (("input_norm", width), ("output_norm", units)):
            arrays[f"{prefix}.{name}.weight"] = 1 + 0.3 * rng.standard_normal(size)
            arrays[f"{prefix}.{name}.bias"] = 0.3 * rng.standard_normal(size)
        for layer in range(3):
            fan_in = units if layer else width
            arrays[f"{prefix}.layers.{layer}.weight"] = rng.standard_normal((units, fan_in)) / math.sqrt(fan_in)
            arrays[f"{prefix}.layers.{layer}.bias"] = 0.2 * rng.standard_normal(units)
    for layer, (rows, columns) in enumerate(((HIDDEN, 2), (2, HIDDEN))):
        arrays[f"calibration.{layer}.weight"] = rng.standard_normal((rows, columns))
        arrays[f"calibration.{layer}.bias"] = rng.standard_normal(rows)
    return arrays


def random_predictor(
    seed: int, settings: AttentionSettings | None = None, shared: bool = False, dtype: Any = np.float64, head: str = "paper", **sizes: int
) -> AttentionPredictor:
    arrays = random_arrays(np.random.default_rng(seed), shared, **sizes)
    description = {
        "shared": shared,
        "width": sizes.get("width", WIDTH),
        "units": sizes.get("units", UNITS),
        "embedder": "test",
        "head": head,
    }
    return AttentionPredictor({k: v.astype(dtype) for k, v in arrays.items()}, description, settings)


def literal_gelu(x: float) -> float:
    return x * 0.5 * (1 + math.erf(x / math.sqrt(2)))


def literal_norm(x: Any, weight: Any, bias: Any) -> Any:
    mean = sum(x) / len(x)
    variance = sum((v - mean) ** 2 for v in x) / len(x)
    return np.array([(v - mean) / math.sqrt(variance + 1e-5) * w + b for v, w, b in zip(x, weight, bias, strict=True)])


def literal_adapter(arrays: dict[str, Any], prefix: str, x: Any) -> Any:
    x = literal_norm(x, arrays[f"{prefix}.input_norm.weight"], arrays[f"{prefix}.input_norm.bias"])
    for layer in range(3):
        rows = zip(arrays[f"{prefix}.layers.{layer}.weight"], arrays[f"{prefix}.layers.{layer}.bias"], strict=True)
        x = np.array([float(row @ x) + bias for row, bias in rows])
        if layer < 2:
            x = np.array([literal_gelu(v) for v in x])
    return literal_norm(x, arrays[f"{prefix}.output_norm.weight"], arrays[f"{prefix}.output_norm.bias"])


def literal_difficulty(
    arrays: dict[str, Any],
    query: Any,
    references: Any,
    d_ref: Any,
    *,
    reference_prefix: str = "reference",
    temperature: float = 1.0,
    top_k: int | None = None,
    platt: bool = True,
    head: str = "paper",
) -> float:
    """One query's difficulty, step by step; projects every reference again."""
    z_q = literal_adapter(arrays, "query", query)
    h = len(z_q)
    z = [literal_adapter(arrays, reference_prefix, r) for r in references]
    scores = [float(z_q @ z_i) / math.sqrt(h) / temperature for z_i in z]
    kept = sorted(range(len(scores)), key=lambda i: -scores[i])[: top_k or len(scores)]
    total = sum(math.exp(scores[i]) for i in kept)
    d_hat = sum(math.exp(scores[i]) / total * d_ref[i] for i in kept)
    if not platt:
        return float(d_hat)
    seen = [1 - d for d in d_ref] if head == "code" else list(d_ref)
    mean = sum(seen) / len(seen)
    std = math.sqrt(sum((v - mean) ** 2 for v in seen) / (len(seen) - 1))
    hidden = [
        max(0.0, row[0] * mean + row[1] * std + bias)
        for row, bias in zip(arrays["calibration.0.weight"], arrays["calibration.0.bias"], strict=True)
    ]
    out = [
        float(row @ np.array(hidden)) + bias for row, bias in zip(arrays["calibration.1.weight"], arrays["calibration.1.bias"], strict=True)
    ]
    scale, b = math.log1p(math.exp(out[0])), math.tanh(out[1])
    d_hat = min(max(d_hat, 1e-4), 1 - 1e-4)
    if head == "code":
        rate = 1 - d_hat
        return 1 - 1 / (1 + math.exp(-(math.log(rate / (1 - rate)) / min(max(scale, 0.01), 10.0) + b)))
    return 1 / (1 + math.exp(-(scale * math.log(d_hat / (1 - d_hat)) + b)))


VARIANTS: list[tuple[AttentionSettings, dict[str, Any]]] = [
    (AttentionSettings(), {}),
    (AttentionSettings(calibration="none"), {"platt": False}),
    (AttentionSettings(top_k=3), {"top_k": 3}),
    (AttentionSettings(temperature=0.5), {"temperature": 0.5}),
    (AttentionSettings(), {"head": "code"}),
]


@pytest.mark.parametrize(("settings", "literal"), VARIANTS)
@pytest.mark.parametrize("shared", [False, True])
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_agrees_with_the_equations_to_1e_6(settings: AttentionSettings, literal: dict[str, Any], shared: bool, dtype: Any) -> None:
    """Random weights and inputs: the batched predictor equals the per-query equations to 1e-6, in both precisions."""
    rng = np.random.default_rng(7)
    predictor = random_predictor(3, settings, shared, dtype, literal.get("head", "paper"))
    arrays = random_arrays(np.random.default_rng(3), shared)
    pool = rng.standard_normal((40, WIDTH)).astype(dtype)
    ids = rng.permutation(40)[:9]
    rates = rng.integers(0, 9, 9) / 8
    predictor.project_queries(pool)
    queries = np.setdiff1d(np.arange(40), ids)
    got = predictor.predict(ids, rates, queries)
    prefix = "query" if shared else "reference"
    expected = [1 - literal_difficulty(arrays, pool[q], pool[ids], 1 - rates, reference_prefix=prefix, **literal) for q in queries]
    np.testing.assert_allclose(got, expected, atol=1e-6, rtol=0)


def test_a_reference_does_not_attend_to_itself() -> None:
    """The prediction for a reference uses the other references only: a leave-one-out prediction."""
    rng = np.random.default_rng(1)
    predictor = random_predictor(5, AttentionSettings(calibration="none"))
    pool = rng.standard_normal((10, WIDTH))
    predictor.project_queries(pool)
    ids, rates = np.array([4, 1, 7]), np.array([0.25, 1.0, 0.5])
    arrays = random_arrays(np.random.default_rng(5))
    expected = 1 - literal_difficulty(arrays, pool[1], pool[[4, 7]], 1 - rates[[0, 2]], platt=False)
    assert predictor.predict(ids, rates, np.array([1]))[0] == pytest.approx(expected, abs=1e-6)


def test_all_questions_equal_some_questions_and_chunks_do_not_matter(monkeypatch: pytest.MonkeyPatch) -> None:
    """predict() for all, for a subset in any order, and in tiny chunks give the same numbers."""
    rng = np.random.default_rng(2)
    predictor = random_predictor(1)
    predictor.project_queries(rng.standard_normal((50, WIDTH)))
    ids, rates = np.arange(0, 50, 5), rng.integers(0, 9, 10) / 8
    everything = predictor.predict(ids, rates)
    some = np.array([44, 3, 0, 17])
    np.testing.assert_allclose(predictor.predict(ids, rates, some), everything[some], atol=1e-12)
    monkeypatch.setattr("harness.predictor.attention._SCORE_CELLS", 30)
    np.testing.assert_allclose(predictor.predict(ids, rates), everything, atol=1e-12)


def test_with_self_attention_a_reference_attends_to_itself_too() -> None:
    """The repository's way: the prediction for a reference uses all references, itself included."""
    rng = np.random.default_rng(1)
    predictor = random_predictor(5, AttentionSettings(calibration="none", exclude_self=False))
    pool = rng.standard_normal((10, WIDTH))
    predictor.project_queries(pool)
    ids, rates = np.array([4, 1, 7]), np.array([0.25, 1.0, 0.5])
    expected = 1 - literal_difficulty(random_arrays(np.random.default_rng(5)), pool[1], pool[ids], 1 - rates, platt=False)
    assert predictor.predict(ids, rates, np.array([1]))[0] == pytest.approx(expected, abs=1e-6)


@pytest.mark.parametrize("rises", [True, False])
def test_platt_and_linear_by_hand(rises: bool) -> None:
    """platt+linear applies the least-squares line of observed on predicted pass rates of the references, whatever its slope, unclipped."""
    rng = np.random.default_rng(0)
    pool, ids, rates = rng.standard_normal((60, WIDTH)), np.arange(30), rng.integers(0, 9, 30) / 8
    temperature = 0.3 if rises else 10.0  # almost uniform attention: leaving a hard one out lowers its own prediction
    if rises:  # two kinds of questions, so that a reference resembles those of its own difficulty
        pool[::2, :6] += 3
        rates[::2] /= 4
    plain = random_predictor(3, AttentionSettings(temperature=temperature), shared=True)
    linear = random_predictor(3, AttentionSettings("platt+linear", temperature=temperature), shared=True)
    plain.project_queries(pool)
    linear.project_queries(pool)
    x, y = plain.predict(ids, rates, ids), rates
    slope = float(((x - x.mean()) * (y - y.mean())).sum() / ((x - x.mean()) ** 2).sum())
    assert (slope > 0) == rises
    got = linear.predict(ids, rates)
    np.testing.assert_allclose(got, y.mean() + slope * (plain.predict(ids, rates) - x.mean()), atol=1e-9)
    assert linear.info["linear_slope"] == pytest.approx(slope)
    assert rises or got.max() > 1  # a steep line leaves [0, 1]


def test_a_line_through_equal_predictions_is_level() -> None:
    """Questions that all look alike are predicted alike: the mean of the references' pass rates."""
    predictor = random_predictor(2, AttentionSettings("platt+linear"))
    predictor.project_queries(np.ones((6, WIDTH)))
    rates = np.array([0.0, 0.5, 1.0, 0.25])
    linear = random_predictor(2, AttentionSettings.of("code"))
    linear.project_queries(np.ones((6, WIDTH)))
    np.testing.assert_allclose(linear.predict(np.arange(4), rates), rates.mean(), atol=1e-12)


def test_a_variant_chooses_the_settings_and_single_ones_override() -> None:
    """``code`` regresses and lets references attend to themselves; what is named takes precedence, None leaves the variant's."""
    assert AttentionSettings.of("paper") == AttentionSettings()
    assert AttentionSettings.of("code") == AttentionSettings("platt+linear", exclude_self=False)
    assert AttentionSettings.of("code", calibration="platt", temperature=None) == AttentionSettings("platt", exclude_self=False)
    with pytest.raises(UserError, match="did you mean 'paper'"):
        AttentionSettings.of("papr")


@pytest.mark.parametrize("value", [0.0, 1.0])
def test_uninformative_references_fall_back_and_say_so(value: float) -> None:
    """All references failed, or all solved: one constant finite prediction, named in the info."""
    predictor = random_predictor(1, AttentionSettings(calibration="platt+linear"))
    predictor.project_queries(np.random.default_rng(0).standard_normal((30, WIDTH)))
    got = predictor.predict(np.arange(12), np.full(12, value))
    assert np.isfinite(got).all()
    assert np.ptp(got) < 1e-9
    assert f"every reference has pass rate {int(value)}" in str(predictor.info["predictor_fallback"])


@pytest.mark.parametrize(
    ("ids", "rates", "message"),
    [
        ([0, 1], [0.5, math.nan], "pass rate of reference question 1 is nan"),
        ([0, 1], [0.5, 1.5], "must lie in"),
        ([0, 0], [0.5, 0.5], "question 0 is given twice"),
        ([0, 99], [0.5, 0.5], "question 99 is not in the pool of 5"),
        ([0], [0.5, 0.5], "1 reference questions but 2 pass rates"),
        ([], [], "at least one reference"),
        (list(range(6)), [0.5] * 6, "6 reference questions do not fit a pool of 5"),
    ],
)
def test_bad_references_are_refused_with_a_sentence(ids: list[int], rates: list[float], message: str) -> None:
    """Every kind of broken reference set gives a UserError that names the fault."""
    predictor = random_predictor(0)
    predictor.project_queries(np.random.default_rng(0).standard_normal((5, WIDTH)))
    with pytest.raises(UserError, match=message):
        predictor.predict(np.array(ids, dtype=int), np.array(rates))


def test_one_reference_predicts_its_own_difficulty_for_all() -> None:
    """K = 1 works: everybody, the reference included, gets its (calibrated) difficulty."""
    predictor = random_predictor(0, AttentionSettings(calibration="none"))
    predictor.project_queries(np.random.default_rng(0).standard_normal((5, WIDTH)))
    np.testing.assert_allclose(predictor.predict(np.array([2]), np.array([0.375])), 0.375)


def test_gelu_is_exact() -> None:
    """GELU(x) = x·Φ(x) to 1e-8 over the whole range, far tails included."""
    x = np.concatenate([np.linspace(-9, 9, 4001), [-1e6, 1e6, 0.0]])
    np.testing.assert_allclose(gelu_(x.copy()[:, None])[:, 0], [literal_gelu(v) for v in x], atol=1e-8, rtol=1e-9)


def test_project_queries_checks_width_and_values_and_fills_a_float16_map(tmp_path: Path) -> None:
    """Wrong width and NaN embeddings are refused; a memory-mapped float16 cache predicts the same to half precision."""
    predictor = random_predictor(0, dtype=np.float32)
    pool = np.random.default_rng(0).standard_normal((30, WIDTH)).astype(np.float32)
    with pytest.raises(UserError, match="width 12"):
        predictor.project_queries(pool[:, :5])
    with pytest.raises(UserError, match="NaN"):
        predictor.project_queries(np.where(np.arange(WIDTH) == 3, np.nan, pool))
    predictor.project_queries(pool)
    ids, rates = np.arange(8), np.arange(8) / 8
    full = predictor.predict(ids, rates)
    cache = np.lib.format.open_memmap(tmp_path / "z.npy", "w+", np.float16, (30, UNITS))
    predictor.project_queries(pool, out=cache)
    np.testing.assert_allclose(predictor.predict(ids, rates), full, atol=5e-3)
    with pytest.raises(UserError, match="do not fit"):
        predictor.attach(pool, np.zeros((3, UNITS)))


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
