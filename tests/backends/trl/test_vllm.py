"""vLLM under TRL, on the CPU build of vLLM: in an environment of its own (nox -s trl_vllm), skipped in any other.

Where torch sees a GPU, on that. The engine is TRL's own colocated one; its model is wide enough for vLLM's CPU kernels (heads of 32).
"""

from __future__ import annotations

import importlib.util
import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from harness.records.checkpoint import newest_complete
from harness.records.ledger import RunLog, read_ledger
from harness.spec import ModelSpec, RunSpec
from harness.testing.backend_contract import contract_spec
from tests.backends.trl.conftest import make_spec, start, train, with_lora, worst
from tests.backends.trl.test_runs import numbers

pytestmark = [
    pytest.mark.timeout(600),
    pytest.mark.skipif(importlib.util.find_spec("vllm") is None, reason="needs the CPU build of vLLM: nox -s trl_vllm"),
]

#: Several engines fit on one GPU; compiling their tiny models would take longer than running them.
ENGINE: dict[str, Any] = {"vllm_gpu_memory_utilization": 0.1, "vllm": {"enforce_eager": True}}
WIDE = ModelSpec(name="embedded:llama-192x2")


def rounding() -> float:
    """How far the engine's log-probs may be off with the same weights: its kernels are others, with CUDA not even in the run's precision.

    6e-3 was measured there; weights of the step before would be further off than this.
    """
    import torch

    return 2e-2 if torch.cuda.is_available() else 1e-4


def wide(spec: RunSpec, **algorithm: Any) -> RunSpec:
    """The same run with a model that vLLM's CPU kernels take."""
    changed = {
        "combination": spec.combination.model_copy(update={"model": WIDE}),
        "algorithm": spec.algorithm.model_copy(update=algorithm),
    }
    return spec.model_copy(update=changed)


def vllm_spec(strategy: str = "grpo", config: dict[str, Any] | None = None, seed: int = 1, **algorithm: Any) -> RunSpec:
    """A small run through vLLM."""
    return wide(
        make_spec(strategy, config, algorithm, seed=seed, generation="vllm-colocate", device="auto", engine=ENGINE, keep_rollouts=True)
    )


def run(spec: RunSpec, run_dir: Path, cache: Path, resume_from: Path | None = None) -> RunLog:
    """Train one run in a process of its own, on one thread: two of vLLM's wait for each other for longer than they compute."""
    if resume_from is None:
        start(spec, run_dir)
    else:
        spec.save(run_dir / "spec.json")
    command = [sys.executable, "-m", "tests.backends.trl.one_run", str(run_dir), str(cache), *([str(resume_from)] if resume_from else [])]
    subprocess.run(command, check=True, env={**os.environ, "OMP_NUM_THREADS": "1"}, timeout=500)
    return read_ledger(run_dir / "ledger.jsonl")


def rollouts(run_dir: Path) -> pd.DataFrame:
    """Every rollout that was trained on."""
    return pd.concat([pd.read_parquet(file) for file in sorted((run_dir / "rollouts").iterdir())])


def test_refusals_refills_and_replay(tmp_path: Path, cache: Path) -> None:
    """The contract's strategy: weights reach the engine every step, μ is the policy's to rounding, replayed tokens have aged."""
    log = run(wide(contract_spec("trl", generation="vllm-colocate", device="auto", engine=ENGINE)), tmp_path, cache)
    assert 0 < worst(log) < rounding()
    replaying = [step for step in log.steps if step.replayed_question_ids]
    assert replaying
    assert all(step.importance_ratio["max"] - step.importance_ratio["min"] > 0.1 for step in replaying)
    assert log.steps[-1].costs.filtered_rollouts > 0


def test_dots_and_replay_with_probes_and_several_updates(tmp_path: Path, cache: Path) -> None:
    """Probes, selection, replay and two updates a batch: the engine samples with the weights of the running step throughout."""
    spec = vllm_spec("dots-rr", {"references": 8, "capacity": 16, "interval": 2, "fresh_fraction": 0.75}, updates_per_batch=2, max_steps=6)
    log = run(spec, tmp_path, cache)
    assert worst(log) < rounding()
    assert log.steps[-1].costs.probe_rollouts > 0
    assert any(step.replayed_question_ids for step in log.steps)


def test_a_seed_repeats_itself_and_another_does_not(tmp_path: Path, cache: Path) -> None:
    """The run's seed reaches the engine: same seed, same ledger and texts; other seed, other rollouts of the same first weights."""
    first, again, other = (run(vllm_spec(seed=seed), tmp_path / str(i), cache) for i, seed in enumerate((1, 1, 2)))
    assert numbers(first) == numbers(again)
    texts = [rollouts(tmp_path / str(i)).completion.tolist() for i in range(3)]
    assert texts[0] == texts[1] != texts[2]
    assert numbers(first) != numbers(other)


def test_rollouts_of_a_question_differ(tmp_path: Path, cache: Path) -> None:
    """Every row has random numbers of its own: a group is not one completion repeated."""
    run(vllm_spec(max_steps=1), tmp_path, cache)
    distinct = rollouts(tmp_path).groupby("question_id").completion.nunique()
    assert (distinct > 1).mean() > 0.5


def test_resume_continues_as_if_never_stopped(tmp_path: Path, cache: Path) -> None:
    """Stopped after a checkpoint and resumed with a new engine: same questions, losses and accuracies."""
    settings = ("rr", {"capacity": 16, "fresh_fraction": 0.5})
    whole = run(vllm_spec(*settings, max_steps=4), tmp_path / "whole", cache)
    run(vllm_spec(*settings, max_steps=2), tmp_path / "parts", cache)
    found = newest_complete(tmp_path / "parts" / "checkpoints")
    assert found is not None
    assert found[0] == 2
    parts = run(vllm_spec(*settings, max_steps=4), tmp_path / "parts", cache, resume_from=found[1])
    assert numbers(parts) == numbers(whole)


def test_greedy_evaluation_is_the_decoders(tmp_path: Path, cache: Path) -> None:
    """The starting policy, evaluated greedily: vLLM and Halfway's decoder agree on every question."""
    greedy = {"temperature": 0.0, "diagnostic_questions": 0}
    once = {"max_steps": 1}
    logs = [
        run(
            wide(make_spec(evaluation=greedy, algorithm=once, generation="vllm-colocate", device="auto", engine=ENGINE)),
            tmp_path / "vllm",
            cache,
        ),
        train(wide(make_spec(evaluation=greedy, algorithm=once, device="auto")), tmp_path / "decoder", cache),
    ]
    mine, decoders = (log.evaluations[0] for log in logs)
    assert mine.accuracy == decoders.accuracy
    assert mine.accuracy > 0


def test_a_nucleus_leaves_the_whole_policys_log_probs(tmp_path: Path, cache: Path) -> None:
    """With top_p < 1 the actor's log-probs are stored: fresh tokens have weight 1, where the engine's would be off by up to −log top_p."""
    spec = vllm_spec("rr", {"capacity": 16, "fresh_fraction": 0.5}, top_p=0.8, behaviour_log_probs="actor")
    log = run(spec, tmp_path, cache)
    assert worst(log) < rounding()
    assert any(step.replayed_question_ids for step in log.steps)


@pytest.mark.parametrize("precision", ["float32", "bfloat16"])
def test_the_engine_has_the_runs_precision_and_seed(precision: str, tmp_path: Path, cache: Path) -> None:
    """Not TRL's own choice (bfloat16 wherever the weights are float32, seed 0)."""
    run(vllm_spec(seed=5, max_steps=1, precision=precision), tmp_path, cache)
    assert json.loads((tmp_path / "facts.json").read_text()) == {"dtype": f"torch.{precision}", "seed": 5}


def test_adapters_reach_the_engine(tmp_path: Path, cache: Path) -> None:
    """LoRA: TRL merges the adapters into what it ships; the engine samples with the adapted policy, to the rounding of the merge."""
    pytest.importorskip("peft", reason="adapters need the extra [lora]")
    spec = vllm_spec("rr", {"capacity": 16, "fresh_fraction": 0.75}, max_steps=6, learning_rate=1e-2)
    log = run(with_lora(spec, rank=4), tmp_path, cache)
    assert worst(log) < rounding()
    assert any(step.replayed_question_ids and step.importance_ratio["max"] > 1.01 for step in log.steps)


def test_two_processes(tmp_path: Path, cache: Path) -> None:
    """Each rank with its own engine: the ledger counts all rollouts, and μ is the policy's on both."""
    import torch

    if torch.cuda.is_available() and torch.cuda.device_count() < 2:
        pytest.skip("two processes need two GPUs")
    spec = vllm_spec("rr", {"capacity": 16, "fresh_fraction": 0.5}).model_copy(
        update={"execution": make_spec(generation="vllm-colocate", device="auto", engine=ENGINE, processes=2).execution}
    )
    log = run(spec, tmp_path, cache)
    assert [step.step for step in log.steps] == [1, 2, 3, 4]
    assert worst(log) < rounding()
    assert log.steps[0].costs.fresh_rollouts == spec.algorithm.groups_per_step * spec.algorithm.group_size
