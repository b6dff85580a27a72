"""Low-rank adapters through verl's real trainer: which policy samples, and that a run goes on as if it had never stopped."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import pytest

from harness.errors import UserError
from harness.records.checkpoint import newest_complete
from harness.records.ledger import RunLog
from harness.registry import strategy_entry
from harness.spec import LoraSpec, RunSpec
from harness.testing.backend_contract import RESUME_AFTER, STEPS, contract_spec
from tests.backends.verl.recording import record

pytestmark = pytest.mark.timeout(900)

#: Sampling and training compute the same adapters; base weights alone would be further off than 1e-2 after an update.
SAME_POLICY = 1e-4


def adapted(algorithm: dict[str, Any] | None = None, lora: dict[str, Any] | None = None, **execution: Any) -> RunSpec:
    """The run of the contract, with replayed rollouts weighted by ρ, that trains adapters in large steps."""
    spec = contract_spec("verl", "fair-replay", **execution)
    config = strategy_entry("fair-replay").resolve_config({"capacity": 16})
    spec = spec.model_copy(update={"strategy": spec.strategy.model_copy(update={"config": config})})
    model = spec.combination.model.model_copy(update={"lora": LoraSpec(**{"rank": 4, **(lora or {})})})
    combination = spec.combination.model_copy(update={"model": model})
    settings = spec.algorithm.model_copy(update={"learning_rate": 3e-3, **(algorithm or {})})
    return spec.model_copy(update={"combination": combination, "algorithm": settings})


def fresh(log: RunLog) -> list[float]:
    """Largest |log π_old − log μ| over the fresh tokens of each step."""
    found = [step.fresh_log_ratio for step in log.steps]
    assert None not in found
    return [value for value in found if value is not None]


def aged(log: RunLog) -> list[float]:
    """Per step that replayed: how far apart the importance ratios of its stored tokens are."""
    return [step.importance_ratio["max"] - step.importance_ratio["min"] for step in log.steps if step.importance_ratio]


def test_the_adapted_policy_samples_and_resumes(tmp_path: Path, cache: Path) -> None:
    """Behaviour log-probs are the adapted policy's in every step, replayed ones have aged; after a stop the same numbers follow."""
    spec = adapted()
    whole = record(spec, tmp_path / "whole", cache, copy_at=(RESUME_AFTER, tmp_path / "stopped"), watch=False).log
    assert max(fresh(whole)) < SAME_POLICY
    assert max(aged(whole)) > 1e-2
    found = newest_complete(tmp_path / "stopped" / "checkpoints")
    assert found is not None
    assert found[0] == RESUME_AFTER
    rest = record(spec, tmp_path / "stopped", cache, resume_from=found[1], watch=False).log
    for name in ("question_ids", "pass_rates", "replayed_question_ids"):
        assert [getattr(s, name) for s in rest.steps[-(STEPS - RESUME_AFTER) :]] == [getattr(s, name) for s in whole.steps[RESUME_AFTER:]]
    assert rest.evaluations[-1].accuracies == whole.evaluations[-1].accuracies
    shutil.rmtree(tmp_path / "stopped")


def test_a_layer_that_is_not_there(tmp_path: Path, cache: Path) -> None:
    """One sentence with the nearest, before Ray is started."""
    with pytest.raises(UserError, match=r"has no linear layer 'q_porj'; did you mean 'q_proj'\?"):
        record(adapted(lora={"modules": ["q_porj"]}), tmp_path, cache)


@pytest.mark.slow_verl
@pytest.mark.parametrize(
    ("algorithm", "lora", "execution"),
    [
        ({"kl_coefficient": 0.1, "updates_per_batch": 1}, {}, {}),
        ({"drop_degenerate": True}, {"modules": ["q_proj", "v_proj"], "alpha": 8.0}, {"processes": 2}),
    ],
    ids=["KL against the model without adapters", "chosen layers, two processes"],
)
def test_variants(algorithm: dict[str, Any], lora: dict[str, Any], execution: dict[str, Any], tmp_path: Path, cache: Path) -> None:
    """The policy that samples is the one that is trained there, too, and it moves."""
    log = record(adapted({"max_steps": 4, **algorithm}, lora, **execution), tmp_path, cache, watch=False).log
    assert max(fresh(log)) < SAME_POLICY
    assert max(aged(log)) > 1e-3
