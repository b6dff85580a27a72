"""``gpu-small`` without a GPU: what it says, and steps of its strategies through the real trainer with a small model."""

from __future__ import annotations

from pathlib import Path

import pytest
from shipped import specs_of, task_of

from harness.records.ledger_records import start_of
from harness.spec import RunSpec

#: The shares of the pool's levels as they are, with few questions of each.
SPLITS = {"train": 32, "validation": 8, "test": 16, "adapter": 32, "warm_up": 64}


def test_gpu_small_is_smollm2_with_a_larger_pool() -> None:
    """The same model, prompt and kinds of questions; 2.5 draws per question, an oracle beside the arms that are charged."""
    runs, small = specs_of("gpu-small"), specs_of("smollm2")[0]
    assert list(dict.fromkeys(run.strategy.label for run in runs)) == ["grpo", "rr", "dots-rr", "frontier", "oracle"]
    assert runs[0].combination.model == small.combination.model
    config, other = runs[0].combination.task.config, small.combination.task.config
    assert config["system_prompt"] == other["system_prompt"]
    assert [level["family_config"] for level in config["levels"]] == [level["family_config"] for level in other["levels"]]
    algorithm = runs[0].algorithm
    assert algorithm.groups_per_step * algorithm.max_steps == 2.5 * len(task_of(runs[0]).split("train"))
    assert all(run.execution.device == "cuda" and run.algorithm.updates_per_batch == 2 for run in runs)


def test_its_arms_train_on_cpu_where_it_is_made_smaller(tmp_path: Path) -> None:
    """Two steps of every arm through the real trainer, with a tiny model and smaller batches."""
    pytest.importorskip("trl", reason="needs the extra [trl]")
    from backends.trl.backend import TrlBackend
    from harness.records.ledger import LedgerWriter, read_ledger

    for spec in (run for run in specs_of("gpu-small") if run.seed == 1):
        small = _smaller(spec)
        ledger = LedgerWriter(tmp_path / spec.strategy.label / "ledger.jsonl")
        ledger.write(start_of(small))
        backend = TrlBackend()
        backend.prepare(small, tmp_path / "cache", lambda *_: None)
        backend.train(small, tmp_path / spec.strategy.label, tmp_path / "cache", ledger, None)
        log = read_ledger(ledger.path)
        assert [s.step for s in log.steps] == [1, 2]
        assert all(s.updates == 2 and s.costs.rollouts > 0 for s in log.steps)


def _smaller(spec: RunSpec) -> RunSpec:
    combination = spec.combination
    task = combination.task.model_copy(
        update={"config": {**combination.task.config, **SPLITS, "warm_up_steps": 1, "system_prompt": None, "noise_slope": 0.0}}
    )
    model = combination.model.model_copy(update={"name": "embedded:llama-64x1"})
    changes = {"groups_per_step": 8, "group_size": 2, "max_steps": 2, "max_completion_tokens": 8}
    strategy = {**spec.strategy.config, **{k: 4 for k in ("references", "capacity", "rollouts") if k in spec.strategy.config}}
    if "predictor" in strategy:
        strategy["predictor"] = None
    return spec.model_copy(
        update={
            "combination": combination.model_copy(update={"task": task, "model": model}),
            "algorithm": spec.algorithm.model_copy(update=changes),
            "strategy": spec.strategy.model_copy(update={"config": strategy}),
            "evaluation": spec.evaluation.model_copy(update={"every_steps": 2, "diagnostic_questions": 0}),
            "execution": spec.execution.model_copy(update={"device": "cpu", "threads": 1}),
        }
    )
