"""Real TRL training on a tiny embedded model; nothing here imports torch at collection time."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("trl", reason="the TRL backend's tests need the extra [trl]")

from harness.records.ledger import RunLog, read_ledger
from harness.records.ledger_records import start_of
from harness.records.stopping_ledger import RunLedger
from harness.registry import strategy_entry
from harness.spec import (
    AlgorithmSpec,
    CombinationSpec,
    EvaluationSpec,
    ExecutionSpec,
    LoraSpec,
    ModelSpec,
    RunSpec,
    StrategySpec,
    TaskSpec,
)

#: Small and quick; degenerate and informative groups both occur in every batch.
ALGORITHM = {"groups_per_step": 8, "group_size": 4, "max_steps": 4, "max_completion_tokens": 12}
TASK = TaskSpec(name="spell-backward", config={"train": 256, "test": 64, "validation": 16, "adapter": 128})


@pytest.fixture(scope="session")
def cache(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Embedded models are built once for all tests (and found again by the next run of the tests)."""
    return tmp_path_factory.getbasetemp().parent / "halfway-model-cache"


def on_device(device: str) -> str:
    """The device, of a test that is skipped where there is none. Tests run on the CPU unless they say otherwise: numbers are compared."""
    if device == "cuda":
        import torch

        if not torch.cuda.is_available():
            pytest.skip("no CUDA device here")
    return device


def make_spec(
    strategy: str = "grpo",
    config: dict[str, Any] | None = None,
    algorithm: dict[str, Any] | None = None,
    evaluation: dict[str, Any] | None = None,
    seed: int = 1,
    **execution: Any,
) -> RunSpec:
    """A resolved run spec of the test combination."""
    entry = strategy_entry(strategy)
    return RunSpec(
        suite="test",
        combination=CombinationSpec(name="words", backend="trl", model=ModelSpec(name="embedded:llama-64x2"), task=TASK),
        strategy=StrategySpec(
            label=strategy,
            name=entry.name,
            version=entry.version,
            config=entry.resolve_config(config or {}),
            uncharged_oracle=entry.uncharged_oracle,
        ),
        algorithm=AlgorithmSpec(**{**ALGORITHM, **(algorithm or {})}),
        evaluation=EvaluationSpec(**{"every_steps": 2, "diagnostic_questions": 8, "diagnostic_every": 1, **(evaluation or {})}),
        seed=seed,
        execution=ExecutionSpec(**{"threads": 1, "checkpoint_every_steps": 2, "device": "cpu", **execution}),
    )


def with_lora(spec: RunSpec, **lora: Any) -> RunSpec:
    """The same run, training adapters."""
    model = spec.combination.model.model_copy(update={"lora": LoraSpec(**lora)})
    return spec.model_copy(update={"combination": spec.combination.model_copy(update={"model": model})})


def worst(log: RunLog) -> float:
    """The largest |log π_old − log μ| of a fresh token in a run."""
    return max(step.fresh_log_ratio or 0.0 for step in log.steps)


def start(spec: RunSpec, run_dir: Path) -> RunLedger:
    """A run folder as the worker makes it."""
    run_dir.mkdir(parents=True, exist_ok=True)
    spec.save(run_dir / "spec.json")
    ledger = RunLedger(run_dir / "ledger.jsonl", spec.budget, spec.algorithm.max_steps)
    ledger.write(start_of(spec))
    return ledger


def train(spec: RunSpec, run_dir: Path, cache: Path) -> RunLog:
    """Train one run through the backend, in this process."""
    from backends.trl.backend import TrlBackend

    TrlBackend().train(spec, run_dir, cache, start(spec, run_dir), None)
    return read_ledger(run_dir / "ledger.jsonl")


@pytest.fixture
def recorded(monkeypatch: pytest.MonkeyPatch) -> Callable[[], list[dict[str, Any]]]:
    """Every batch that reaches TRL's loss, with the groups of its step, as the real trainer passes them."""
    from backends.trl.trainer import HalfwayGRPOTrainer

    seen: list[dict[str, Any]] = []
    original = HalfwayGRPOTrainer.compute_loss

    def compute_loss(self: Any, model: Any, inputs: Any, *args: Any, **kwargs: Any) -> Any:
        copied = {k: v.clone() if hasattr(v, "clone") else v for k, v in inputs.items()}
        seen.append({"inputs": copied, "batch": self.session.run.batch})
        return original(self, model, inputs, *args, **kwargs)

    monkeypatch.setattr(HalfwayGRPOTrainer, "compute_loss", compute_loss)
    return lambda: seen
