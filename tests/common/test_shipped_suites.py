"""The suites that the paper's shape is cut down to: ``mini`` on CPU and ``gpu-small`` on one GPU."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch

from backends.common.char_tokenizer import build_tokenizer
from backends.common.tiny_models import Architecture, build_tiny_model, model_metadata
from harness.registry import load_task
from harness.spec import RunSpec
from harness.suite import find_suite, load_suite, plan
from harness.task import WARM_UP, TaskData

SMALL_SPLITS = {"train": 32, "validation": 8, "test": 8, "adapter": 32, "warm_up": 64, "warm_up_steps": 1}
SHORT = {"family_config": {"min_words": 2, "max_words": 3}}


def specs_of(suite: str) -> list[RunSpec]:
    return plan(load_suite(find_suite(suite)))


def task_of(spec: RunSpec, **sizes: Any) -> TaskData:
    task: TaskData = load_task(spec.combination.task.name)({**spec.combination.task.config, **sizes}).build()
    return task


def parameters(spec: RunSpec) -> int:
    """Counted without memory for weights."""
    from transformers import AutoModelForCausalLM

    task, architecture = task_of(spec, **_sizes(spec)), Architecture.parse(spec.combination.model.name)
    with torch.device("meta"):
        tokenizer = build_tokenizer(architecture.family, task.alphabet, task.tokens)
        return int(AutoModelForCausalLM.from_config(architecture.config(tokenizer, 256)).num_parameters())


def _sizes(spec: RunSpec) -> dict[str, int]:
    return {k: v for k, v in SMALL_SPLITS.items() if k in spec.combination.task.config}


def test_mini_has_the_papers_shape() -> None:
    """Six combinations of three sizes, two architectures and four families; one task on all sizes; 4 strategies × 5 seeds."""
    runs = specs_of("mini")
    combinations = {run.combination.name: run for run in runs}
    assert len(combinations) == 6
    assert len(runs) == 6 * 4 * 5
    assert {run.strategy.label for run in runs} == {"grpo", "dots", "rr", "dots-rr"}
    models = {run.combination.model.name for run in combinations.values()}
    assert len({parameters(run) for run in combinations.values()}) >= 3
    assert {Architecture.parse(name).family for name in models} == {"llama", "qwen2"}
    families: dict[str, set[str]] = {}
    for run in combinations.values():
        task = run.combination.task
        families.setdefault(str(task.config.get("family", task.name)), set()).add(run.combination.model.name)
    assert len(families) >= 4
    assert set(max(families.values(), key=len)) == models
    assert sum(run.algorithm.updates_per_batch == 8 for run in combinations.values()) >= 2


def test_the_completion_limit_of_mini_fits_its_answers() -> None:
    """No gold answer or worked solution is longer than what a model may write, end token included."""
    seen = {}
    for run in specs_of("mini"):
        seen.setdefault(run.combination.name, run)
    for run in seen.values():
        task = task_of(run, **{**_sizes(run), "warm_up": 2048})
        tokenizer = build_tokenizer(Architecture.parse(run.combination.model.name).family, task.alphabet, task.tokens)
        longest = max(len(tokenizer(q.answer)["input_ids"]) for name in ("train", "test", WARM_UP) for q in task.split(name))
        assert longest + 1 <= run.algorithm.max_completion_tokens, run.combination.name


def test_gpu_small_is_of_the_size_it_says() -> None:
    """Three strategies, one seed, bfloat16, 8 updates per batch, 50 to 150 million parameters."""
    runs = specs_of("gpu-small")
    assert [run.strategy.label for run in runs] == ["grpo", "dots-rr", "oracle"]
    assert 50_000_000 <= parameters(runs[0]) <= 150_000_000
    assert all(run.algorithm.precision == "bfloat16" and run.algorithm.updates_per_batch == 8 for run in runs)


def test_gpu_small_trains_on_cpu_where_it_is_made_smaller(tmp_path: Path) -> None:
    """Two steps of each strategy through the real trainer, bfloat16 autocast included, with narrower models and smaller batches."""
    pytest.importorskip("trl", reason="needs the extra [trl]")
    from backends.trl.backend import TrlBackend
    from harness.ledger import SCHEMA, LedgerWriter, read_ledger

    for spec in specs_of("gpu-small"):
        small = _smaller(spec)
        ledger = LedgerWriter(tmp_path / spec.strategy.label / "ledger.jsonl")
        ledger.write("run", schema=SCHEMA, run_id=small.run_id, spec=small.model_dump(mode="json"))
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
