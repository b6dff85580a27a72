"""Embedded models are deterministic, cached whole or not at all, and load like any other model."""

from __future__ import annotations

import hashlib
import random
import subprocess
import sys
import textwrap
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from small_task import small_task

from backends.common import tiny_models
from backends.common.cached_folder import cached_folder
from backends.common.char_tokenizer import build_tokenizer
from backends.common.decoder import Decoder
from backends.common.evaluator import Evaluator
from backends.common.model_loading import load_model
from backends.common.tiny_models import Architecture, build_siblings, build_tiny_model, model_metadata
from harness.errors import UserError
from harness.task import WARM_UP
from suites.tasks.spell_backward import SpellBackward

NAMES = ("embedded:llama-32x1", "embedded:qwen2-32x1")


def weights_hash(folder: Path) -> str:
    return hashlib.sha256((folder / "model.safetensors").read_bytes()).hexdigest()


@pytest.mark.parametrize("name", NAMES)
def test_same_seed_same_bytes(name: str, tmp_path: Path) -> None:
    """Two builds give the same file, whatever state torch's generator or thread count is in; another seed does not."""
    task = small_task()
    torch.manual_seed(1)
    one = build_tiny_model(name, task, 0, tmp_path / "a")
    torch.manual_seed(2)
    torch.set_num_threads(2)
    state = torch.get_rng_state()
    two = build_tiny_model(name, task, 0, tmp_path / "b")
    assert torch.equal(torch.get_rng_state(), state)
    assert torch.get_num_threads() == 2
    assert weights_hash(one) == weights_hash(two)
    assert weights_hash(build_tiny_model(name, task, 1, tmp_path / "a")) != weights_hash(one)


@pytest.mark.parametrize("name", NAMES)
def test_loads_like_any_model(name: str, tmp_path: Path) -> None:
    """AutoModel and AutoTokenizer read the folder offline; the tokenizer round-trips prompts and answers character by character."""
    task = small_task()
    folder = build_tiny_model(name, task, 0, tmp_path)
    loaded = load_model(str(folder))
    assert type(loaded.model).__name__ == ("LlamaForCausalLM" if "llama" in name else "Qwen2ForCausalLM")
    assert loaded.model.dtype == torch.float32
    assert not loaded.model.training
    assert loaded.tokenizer.is_fast
    assert loaded.eos_ids == (loaded.tokenizer.eos_token_id,)
    assert loaded.pad_id not in loaded.eos_ids
    for question in task.split("test"):
        for text in (question.prompt, question.answer):
            ids = loaded.tokenizer(text)["input_ids"]
            assert len(ids) == len(text)
            assert loaded.tokenizer.decode([*ids, loaded.eos_ids[0]], skip_special_tokens=True) == text
    assert loaded.tokenizer.unk_token_id not in loaded.tokenizer(task.alphabet)["input_ids"]
    metadata = model_metadata(folder)
    assert metadata["seconds"] > 0
    assert metadata["parameters"] == sum(p.numel() for p in loaded.model.parameters())


def test_the_default_has_a_tenth_of_a_million_parameters() -> None:
    """64 wide, two layers: 98,496 parameters over spell-backward's alphabet (31 tokens), counted by hand."""
    from transformers import AutoModelForCausalLM

    tokenizer = build_tokenizer("llama", small_task().alphabet)
    model = AutoModelForCausalLM.from_config(Architecture.parse("embedded:llama-64x2").config(tokenizer, 128))
    per_layer = 4 * 64 * 64 + 3 * 64 * 160 + 2 * 64
    assert sum(p.numel() for p in model.parameters()) == 2 * 31 * 64 + 2 * per_layer + 64 == 98_496


def test_found_again_without_building(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The second call is a look-up that still reports what the building cost."""
    first = build_tiny_model(NAMES[0], small_task(), 0, tmp_path)
    seconds = model_metadata(first)["seconds"]
    monkeypatch.setattr(tiny_models, "_warm_up", None)
    assert build_tiny_model(NAMES[0], small_task(), 0, tmp_path) == first
    assert model_metadata(first)["seconds"] == seconds


@pytest.mark.parametrize("change", [{"steps": 6}, {"noise_slope": 0.1}, {"learning_rate": 1e-3}, {"batch_size": 4}])
def test_whatever_determines_the_weights_is_in_the_name(change: dict[str, Any], tmp_path: Path) -> None:
    """Other warm-up settings are another folder; other training questions are the same one."""
    task = small_task()
    folder = build_tiny_model(NAMES[0], task, 0, tmp_path)
    assert build_tiny_model(NAMES[0], small_task(**change), 0, tmp_path) != folder
    fewer = replace(task, splits={**task.splits, "train": task.split("train")[:5]})
    assert build_tiny_model(NAMES[0], fewer, 0, tmp_path) == folder
    other_questions = replace(task, splits={**task.splits, WARM_UP: task.split(WARM_UP)[:-1]})
    assert build_tiny_model(NAMES[0], other_questions, 0, tmp_path) != folder


def test_only_warm_up_questions_are_learned(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Every prompt that the warm-up sees is one of the warm-up split."""
    task = small_task()
    seen: set[str] = set()
    original = tiny_models._loss

    def spy(model: Any, token_ids: Any, targets: Any) -> Any:
        tokenizer = build_tokenizer("llama", task.alphabet)
        for ids, wanted in zip(token_ids, targets, strict=True):
            start = int((wanted != -100).nonzero()[0])
            seen.add(tokenizer.decode(ids[:start]))
        return original(model, token_ids, targets)

    monkeypatch.setattr(tiny_models, "_loss", spy)
    build_tiny_model(NAMES[0], task, 0, tmp_path)
    assert seen
    assert seen <= {q.prompt for q in task.split(WARM_UP)}


def test_targets_are_corrupted_at_the_rate_asked_for() -> None:
    """Noise .04·(length − 2) per character: over 4,000 five-letter targets 12 % of the characters are drawn anew (± 1 point)."""
    task = small_task()
    batches = tiny_models._Batches(task, build_tokenizer("llama", task.alphabet), random.Random(0))
    letters = len(batches._letters)
    words = [q for q in task.split(WARM_UP) if len(q.answer) == 5]
    pairs = [(q.answer, batches._corrupt(q, 1.0)) for q in words * (4_000 // len(words))]
    changed = sum(a != b for word, noisy in pairs for a, b in zip(word, noisy, strict=True)) / sum(len(w) for w, _ in pairs)
    assert abs(changed - 0.12 * (1 - 1 / letters)) < 0.01
    assert all(batches._corrupt(q, 0.0) == list(q.answer) for q in words)


def test_a_level_is_corrupted_at_its_own_rate() -> None:
    """The same words as a level without noise, where nothing changes, and as one with .3 per character beyond two: .9 at length 5."""
    task = small_task()
    warm_up = replace(task.warm_up, levels=(("clean", 0.0, 2.0), ("noisy", 0.3, 2.0)))
    batches = tiny_models._Batches(replace(task, warm_up=warm_up), build_tokenizer("llama", task.alphabet), random.Random(0))
    words = [q for q in task.split(WARM_UP) if len(q.answer) == 5]
    changed = {"clean": 0, "noisy": 0}
    for level in changed:
        for question in words * (1_000 // len(words)):
            noisy = batches._corrupt(replace(question, metadata={**question.metadata, "level": level}), 1.0)
            changed[level] += sum(a != b for a, b in zip(question.answer, noisy, strict=True))
    assert changed["clean"] == 0
    share = changed["noisy"] / (5 * len(words) * (1_000 // len(words)))
    assert abs(share - 0.9 * (1 - 1 / len(batches._letters))) < 0.03


def test_warm_up_lowers_the_loss(tmp_path: Path) -> None:
    """Sixty steps on clean targets bring the loss well below that of guessing letters."""
    folder = build_tiny_model("embedded:llama-64x2", small_task(steps=60, batch_size=32, noise_slope=0.0), 0, tmp_path)
    assert model_metadata(folder)["loss"] < 2.4  # ln 27 is 3.3


@pytest.mark.slow
@pytest.mark.parametrize("name", ["embedded:llama-64x2", "embedded:qwen2-64x2"])
def test_the_default_models_know_the_task_but_are_unsure(name: str, tmp_path: Path) -> None:
    """Calibration (validation questions, 8 rollouts): mean pass rate .05 to .2, 30 to 75 % of groups informative, greedy ≥ .8 right."""
    task = SpellBackward({}).build()
    loaded = load_model(str(build_tiny_model(name, task, 0, tmp_path)))
    decoder = Decoder(loaded.model, loaded.eos_ids, loaded.pad_id)

    def pass_rates(samples: int, temperature: float) -> Any:
        evaluator = Evaluator(
            task,
            loaded.tokenizer,
            lambda items: np.array([float(c == gold) for c, gold, _ in items]),
            sets=["validation"],
            samples_per_question=samples,
            temperature=temperature,
            max_new_tokens=16,
            seed=0,
        )
        return evaluator.pass_rates(decoder.generate, "validation")

    rates = pass_rates(8, 1.0)
    assert 0.05 <= rates.mean() <= 0.2
    assert 0.3 <= ((rates > 0) & (rates < 1)).mean() <= 0.75
    assert pass_rates(1, 0.0).mean() >= 0.8


def test_siblings_are_four_other_models(tmp_path: Path) -> None:
    """Four folders, all different, none the policy, none the sibling of another seed."""
    task = small_task(steps=10)
    policy = build_tiny_model(NAMES[0], task, 0, tmp_path)
    siblings = build_siblings(NAMES[0], task, 0, tmp_path)
    hashes = [weights_hash(folder) for folder in (policy, *siblings)]
    assert len(set(hashes)) == 5
    assert [model_metadata(s)["steps"] for s in siblings] == [7, 9, 10, 11]


def test_progress_is_reported(tmp_path: Path) -> None:
    """The last call says that everything is done."""
    calls: list[tuple[str, int, int]] = []
    build_tiny_model(NAMES[0], small_task(), 0, tmp_path, lambda *call: calls.append(call))
    assert calls[-1][1:] == (5, 5)


@pytest.mark.parametrize(
    "name",
    ["embedded:llama", "embedded:gpt-64x2", "embedded:llama-64", "embedded:llama-50x2", "embedded:llama-64x0", "embedded:llama-4096x2"],
)
def test_unknown_names_are_refused(name: str, tmp_path: Path) -> None:
    """The message shows what a name looks like or what its bounds are."""
    with pytest.raises(UserError, match=name):
        build_tiny_model(name, small_task(), 0, tmp_path)


def test_a_task_without_warm_up_questions_is_refused(tmp_path: Path) -> None:
    """The message says which setting to change."""
    task = small_task()
    with pytest.raises(UserError, match="no warm-up questions"):
        build_tiny_model(NAMES[0], replace(task, splits={**task.splits, WARM_UP: ()}), 0, tmp_path)


def test_characters_of_several_bytes_are_one_token() -> None:
    """é (two bytes) and – (three) are one token in both families, and come back as they were."""
    for family in ("llama", "qwen2"):
        tokenizer = build_tokenizer(family, "abcé–\n ")
        ids = tokenizer("é \n–a")["input_ids"]
        assert len(ids) == len(set(ids)) == 5
        assert tokenizer.unk_token_id not in ids
        assert tokenizer.decode(ids) == "é \n–a"
    assert build_tokenizer("llama", "abcé\n ")("é \n")["input_ids"] == [9, 5, 4]  # after four special tokens: newline, space, a, b, c, é
    named = {"<|endoftext|>": 0, "<|im_start|>": 1, "<|im_end|>": 2, "<unk>": 3, "\u0120": 4, "=": 5, "a": 6, "b": 7, "\u010a": 8}
    assert build_tokenizer("qwen2", "ab= \n").get_vocab() == named


def test_a_model_that_cannot_be_loaded_is_named(tmp_path: Path) -> None:
    """A folder that does not exist and a precision that is unknown are one sentence each."""
    with pytest.raises(UserError, match="cannot load the model") as caught:
        load_model(str(tmp_path / "nothing"))
    assert "\n" not in str(caught.value)
    with pytest.raises(UserError, match="unknown precision 'fp32'"):
        load_model("anything", precision="fp32")


def test_a_failed_build_leaves_nothing(tmp_path: Path) -> None:
    """An exception in the middle leaves no folder that counts; the next call builds again."""

    def broken(folder: Path) -> None:
        (folder / "half").write_text("x")
        raise OSError("disk full")

    with pytest.raises(OSError, match="disk full"):
        cached_folder(tmp_path, "thing", {"a": 1}, broken)
    assert [p for p in tmp_path.iterdir() if p.is_dir()] == []
    done = cached_folder(tmp_path, "thing", {"a": 1}, lambda folder: (folder / "whole").touch())
    assert [p.name for p in done.iterdir()] == ["whole"]


def test_a_killed_build_leaves_nothing_that_counts(tmp_path: Path) -> None:
    """SIGKILL in the middle: the folder is not there, and the next call finds the lock free, builds and cleans up."""
    code = """
        import sys, time
        from pathlib import Path
        from backends.common.cached_folder import cached_folder
        def build(folder):
            (folder / "half").write_text("x")
            print("building", flush=True)
            time.sleep(60)
        cached_folder(Path(sys.argv[1]), "thing", {"a": 1}, build)
    """
    root = Path(__file__).resolve().parents[3]
    process = subprocess.Popen(
        [sys.executable, "-c", textwrap.dedent(code), str(tmp_path)], stdout=subprocess.PIPE, env={"PYTHONPATH": str(root)}
    )
    assert process.stdout is not None
    process.stdout.readline()
    process.kill()
    process.wait()
    process.stdout.close()
    done = cached_folder(tmp_path, "thing", {"a": 1}, lambda folder: (folder / "whole").touch())
    assert [p.name for p in done.iterdir()] == ["whole"]
    assert [p for p in tmp_path.iterdir() if p.is_dir()] == [done]


def test_a_wide_model_takes_smaller_steps_and_says_where_it_was_built(tmp_path: Path) -> None:
    """Width 768 warms up at a sixth of the learning rate of width 128; the device is part of what determines its weights."""
    assert Architecture.parse("embedded:llama-768x12").learning_rate_scale == pytest.approx(1 / 6)
    assert Architecture.parse("embedded:llama-128x3").learning_rate_scale == 1.0
    assert not Architecture.parse("embedded:llama-320x1").is_tiny
    wide = model_metadata(build_tiny_model("embedded:llama-320x1", small_task(steps=1), 0, tmp_path))["identity"]
    tiny = model_metadata(build_tiny_model("embedded:llama-32x1", small_task(steps=1), 0, tmp_path, device="cuda"))["identity"]
    assert wide["device"] == "cpu"
    assert "device" not in tiny
