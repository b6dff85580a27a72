"""Runs on a GPU through TRL's own trainer, in both precisions; skipped where torch sees none.

The contract and vLLM have GPU cases of their own.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from harness.records.checkpoint import newest_complete
from harness.records.ledger import LedgerWriter, read_ledger
from harness.records.ledger_records import Attempt
from harness.spec import RunSpec
from tests.backends.trl.conftest import make_spec, on_device, train, with_lora, worst

REPLAY: tuple[str, dict[str, Any]] = ("rr", {"capacity": 16, "fresh_fraction": 0.75})
DOTS: tuple[str, dict[str, Any]] = ("dots-rr", {"references": 8, "capacity": 16, "interval": 2, "fresh_fraction": 0.75})
#: |log π_old − log μ| of fresh tokens: the decoder's kernels are not the trainer's, the weights are.
SAME_WEIGHTS = {"float32": 1e-4, "bfloat16": 0.5}


@pytest.fixture(autouse=True)
def _on_a_gpu() -> None:
    on_device("cuda")


def gpu_spec(strategy: str = "grpo", config: dict[str, Any] | None = None, **settings: Any) -> RunSpec:
    """A small run on the GPU; ``lora`` is the rank of adapters."""
    execution = {k: settings.pop(k) for k in ("generation", "gradient_checkpointing") if k in settings}
    evaluation, rank = settings.pop("evaluation", None), settings.pop("lora", None)
    spec = make_spec(strategy, config, settings, evaluation, device="cuda", **execution)
    return spec if rank is None else with_lora(spec, rank=rank)


@pytest.mark.parametrize("precision", ["float32", "bfloat16"])
@pytest.mark.parametrize(
    "settings",
    [
        {"generation": "decoder"},
        {"generation": "generate"},
        {"gradient_checkpointing": False, "updates_per_batch": 2},
        {"lora": 4, "learning_rate": 1e-2},
        {"kl_coefficient": 0.1},
        {"ratio_level": "sequence", "loss_aggregation": "sequence-mean"},
        {"surrogate": "cispo"},
        {"staleness": 1},
    ],
    ids=lambda settings: "-".join(f"{k}={v}" for k, v in settings.items()),
)
def test_replay_and_selection(settings: dict[str, Any], precision: str, tmp_path: Path, cache: Path) -> None:
    """Probes, selection, replay: fresh tokens were sampled by the policy that is trained, or that of the step before."""
    log = train(gpu_spec(*DOTS, max_steps=6, precision=precision, **settings), tmp_path, cache)
    assert [step.step for step in log.steps] == [1, 2, 3, 4, 5, 6]
    assert any(step.replayed_question_ids for step in log.steps)
    assert log.steps[-1].costs.probe_rollouts > 0
    assert "staleness" in settings or worst(log) < SAME_WEIGHTS[precision]


@pytest.mark.parametrize("precision", ["float32", "bfloat16"])
def test_resume_continues_where_it_stopped(precision: str, tmp_path: Path, cache: Path) -> None:
    """Same questions and costs; losses to the rounding of sums that a GPU does in any order."""
    algorithm = {"precision": precision, "learning_rate": 1e-5}
    whole = train(gpu_spec(*REPLAY, max_steps=4, **algorithm), tmp_path / "whole", cache)
    train(gpu_spec(*REPLAY, max_steps=2, **algorithm), tmp_path / "parts", cache)
    found = newest_complete(tmp_path / "parts" / "checkpoints")
    assert found is not None
    ledger = LedgerWriter(tmp_path / "parts" / "ledger.jsonl")
    ledger.write(Attempt(2, {}, found[0]))
    from backends.trl.backend import TrlBackend

    TrlBackend().train(gpu_spec(*REPLAY, max_steps=4, **algorithm), tmp_path / "parts", cache, ledger, found[1])
    parts = read_ledger(tmp_path / "parts" / "ledger.jsonl")
    assert [s.step for s in parts.steps] == [1, 2, 3, 4]
    assert [s.question_ids for s in parts.steps] == [s.question_ids for s in whole.steps]
    assert [s.loss for s in parts.steps] == pytest.approx([s.loss for s in whole.steps], abs=1e-3)


def test_the_start_is_as_accurate_as_on_a_cpu(tmp_path: Path, cache: Path) -> None:
    """Greedy answers of the starting policy in float32: the same accuracy on every question asked."""
    greedy = {"temperature": 0.0, "diagnostic_questions": 0}
    gpu = train(gpu_spec(max_steps=1, evaluation=greedy), tmp_path / "gpu", cache)
    cpu = train(make_spec(evaluation=greedy, algorithm={"max_steps": 1}), tmp_path / "cpu", cache)
    assert gpu.evaluations[0].accuracy == cpu.evaluations[0].accuracy > 0


def test_seconds_are_those_of_finished_work(tmp_path: Path, cache: Path) -> None:
    """The clock waits for the device: every phase of a step has taken time, and phases add up to the step."""
    log = train(gpu_spec(max_steps=3), tmp_path, cache)
    for step in log.steps:
        assert min(step.phases["rollout"], step.phases["update"]) > 0
        assert sum(step.phases.values()) == pytest.approx(step.seconds)
