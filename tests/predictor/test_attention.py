"""The attention predictor against the paper's equations written out literally."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from harness.errors import UserError
from harness.numerics.functions import gelu_
from harness.predictor import AttentionSettings
from tests.predictor.random_predictors import UNITS, WIDTH, random_arrays, random_predictor


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
