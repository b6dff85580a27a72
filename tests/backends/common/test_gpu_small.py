"""``gpu-small`` without a GPU: its model at full width, and steps of its strategies through the real trainer with a narrower one.

Not both at once: a step of the 82M-parameter model takes a CPU core minutes. What the suite does on a GPU is not tested anywhere.
"""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
import torch
from shipped import SMALL_SPLITS, parameters, specs_of, task_of

from backends.common.tiny_models import Architecture, build_tiny_model, model_metadata
from harness.records.ledger_records import start_of
from harness.spec import RunSpec

SHORT = {"family_config": {"min_words": 2, "max_words": 3}}


def test_gpu_small_is_of_the_size_it_says() -> None:
    """Three strategies, one seed, bfloat16, 8 updates per batch, 50 to 150 million parameters."""
    runs = specs_of("gpu-small")
    assert [run.strategy.label for run in runs] == ["grpo", "dots-rr", "oracle"]
    assert 50_000_000 <= parameters(runs[0]) <= 150_000_000
    assert all(run.algorithm.precision == "bfloat16" and run.algorithm.updates_per_batch == 8 for run in runs)


def test_its_model_is_built_at_full_width_and_speaks_in_bfloat16(tmp_path: Path) -> None:
    """One warm-up step of two questions at width 768, and one forward pass in the precision of its rollouts."""
    from transformers import AutoModelForCausalLM, AutoTokenizer

    spec = specs_of("gpu-small")[0]
    task = task_of(spec, **SMALL_SPLITS, **SHORT)
    task = replace(task, warm_up=replace(task.warm_up, batch_size=2))
    folder = build_tiny_model(spec.combination.model.name, task, 0, tmp_path)
    assert model_metadata(folder)["parameters"] == pytest.approx(parameters(spec), rel=0.01)
    model = AutoModelForCausalLM.from_pretrained(folder, dtype=torch.bfloat16)
    question = task.split("test")[0]
    prompt = AutoTokenizer.from_pretrained(folder)(question.prompt, return_tensors="pt")["input_ids"]
    with torch.no_grad():
        logits = model(input_ids=prompt).logits
    assert logits.shape == (1, len(question.prompt), model.config.vocab_size)
    assert logits.dtype == torch.bfloat16
    assert torch.isfinite(logits).all()


def test_gpu_small_trains_on_cpu_where_it_is_made_smaller(tmp_path: Path) -> None:
    """Two steps of each strategy through the real trainer, bfloat16 autocast included, with narrower models and smaller batches."""
    pytest.importorskip("trl", reason="needs the extra [trl]")
    from backends.trl.backend import TrlBackend
    from harness.records.ledger import LedgerWriter, read_ledger

    for spec in specs_of("gpu-small"):
        small = _smaller(spec)
        ledger = LedgerWriter(tmp_path / spec.strategy.label / "ledger.jsonl")
        ledger.write(start_of(small))
        backend = TrlBackend()
        backend.prepare(small, tmp_path / "cache", lambda *_: None)
        backend.train(small, tmp_path / spec.strategy.label, tmp_path / "cache", ledger, None)
        log = read_ledger(ledger.path)
        assert [s.step for s in log.steps] == [1, 2]
        assert all(s.updates == 8 and s.costs.rollouts > 0 for s in log.steps)


def _smaller(spec: RunSpec) -> RunSpec:
    combination = spec.combination
    task = combination.task.model_copy(update={"config": {**combination.task.config, **SMALL_SPLITS, **SHORT}})
    model = combination.model.model_copy(update={"name": "embedded:llama-320x1"})
    changes = {"groups_per_step": 8, "group_size": 2, "max_steps": 2, "max_completion_tokens": 8}
    strategy = {**spec.strategy.config, **{k: 4 for k in ("references", "capacity") if k in spec.strategy.config}}
    return spec.model_copy(
        update={
            "combination": combination.model_copy(update={"task": task, "model": model}),
            "algorithm": spec.algorithm.model_copy(update=changes),
            "strategy": spec.strategy.model_copy(update={"config": strategy}),
            "evaluation": spec.evaluation.model_copy(update={"every_steps": 2, "diagnostic_questions": 0}),
            "execution": spec.execution.model_copy(update={"device": "cpu", "threads": 1}),
        }
    )


def test_a_wide_model_takes_smaller_steps_and_says_where_it_was_built(tmp_path: Path) -> None:
    """Width 768 warms up at a sixth of the learning rate of width 128; the device is part of what determines its weights."""
    assert Architecture.parse("embedded:llama-768x12").learning_rate_scale == pytest.approx(1 / 6)
    assert Architecture.parse("embedded:llama-128x3").learning_rate_scale == 1.0
    assert not Architecture.parse("embedded:llama-320x1").is_tiny
    task = task_of(specs_of("gpu-small")[0], **SMALL_SPLITS, **SHORT)
    wide = model_metadata(build_tiny_model("embedded:llama-320x1", task, 0, tmp_path))["identity"]
    tiny = model_metadata(build_tiny_model("embedded:llama-32x1", task, 0, tmp_path, device="cuda"))["identity"]
    assert wide["device"] == "cpu"
    assert "device" not in tiny
