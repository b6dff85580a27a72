"""verl's stock vLLM rollout, on the CPU build of vLLM: in an environment of its own (nox -s verl_vllm), skipped in any other."""

from __future__ import annotations

import importlib.util
from pathlib import Path

import numpy as np
import pytest

from harness.spec import ModelSpec
from harness.testing.backend_contract import contract_spec
from tests.backends.verl.recording import record

pytestmark = [
    pytest.mark.slow_verl,
    pytest.mark.timeout(1500),
    pytest.mark.skipif(importlib.util.find_spec("vllm") is None, reason="needs the CPU build of vLLM: nox -s verl_vllm"),
]


def test_replay_through_vllm(tmp_path: Path, cache: Path) -> None:
    """Refused, refilled and replayed groups through vLLM: every row whole and once, costs the engine's, weights shipped every step."""
    spec = contract_spec("verl", generation="vllm", device="cpu")
    model = ModelSpec(name="embedded:llama-192x2")  # vLLM's CPU kernels need heads at least 32 wide
    spec = spec.model_copy(update={"combination": spec.combination.model_copy(update={"model": model})})
    training = record(spec, tmp_path / "run", cache)
    replayed = 0
    for seen, step in zip(training.steps, training.log.steps, strict=True):
        wanted = [tuple(r.completion_token_ids.tolist()) for g in seen.batch.groups for r in g.rollouts]
        assert sorted(row.completion for row in seen.rows) == sorted(wanted)
        assert np.isfinite(step.loss)
        assert step.fresh_log_ratio is not None
        assert step.fresh_log_ratio < 1e-3  # other kernels, the same weights: stale ones would be further off
        replayed += len(step.replayed_question_ids)
    assert replayed > 0
    costs = training.log.steps[-1].costs
    assert costs.fresh_rollouts + costs.filtered_rollouts == training.generated_rollouts
    assert costs.generated_tokens == training.generated_tokens
