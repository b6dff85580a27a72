"""TRL and verl side by side: the same spec and seed on both, through their real trainers.

Needs the interpreter of an environment with verl in HALFWAY_PYTHON_VERL (``nox -s verl_env``); skipped where there is none.
"""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

import numpy as np
import pytest

from harness.records.ledger import RunLog, read_ledger
from harness.spec import RunSpec
from harness.testing.backend_contract import contract_spec
from tests.backends.trl.conftest import train

PYTHON = os.environ.get("HALFWAY_PYTHON_VERL")

pytestmark = [
    pytest.mark.slow_verl,
    pytest.mark.timeout(1500),
    pytest.mark.skipif(PYTHON is None, reason="needs HALFWAY_PYTHON_VERL, the Python of an environment with verl"),
]


def one_update(backend: str) -> RunSpec:
    """GRPO with one update per batch and advantages without a standard deviation: nothing is left for the libraries to differ in."""
    spec = contract_spec(backend, "grpo")
    algorithm = spec.algorithm.model_copy(update={"updates_per_batch": 1, "advantage_normalization": "none", "learning_rate": 3e-4})
    return spec.model_copy(update={"algorithm": algorithm})


def on_verl(spec: RunSpec, folder: Path, cache: Path) -> RunLog:
    run_dir = folder / spec.run_id
    run_dir.mkdir(parents=True)
    spec.save(run_dir / "spec.json")
    environment = {**os.environ, "HALFWAY_CACHE": str(cache), "OMP_NUM_THREADS": "1"}
    subprocess.run([str(PYTHON), "-P", "-m", "harness.worker", str(run_dir)], env=environment, check=True, timeout=1200)
    return read_ledger(run_dir / "ledger.jsonl")


def test_the_backends_agree(tmp_path: Path, cache: Path) -> None:
    """Same questions in every step; the first step's rollouts equal in number and length; pass rates and accuracies close after it.

    From the second step on the weights differ in their last digits, so that now and then another token is drawn.
    """
    trl, verl = train(one_update("trl"), tmp_path / "trl", cache), on_verl(one_update("verl"), tmp_path, cache)
    assert [s.question_ids for s in trl.steps] == [s.question_ids for s in verl.steps]
    first = trl.steps[0], verl.steps[0]
    assert first[0].pass_rates == first[1].pass_rates
    assert first[0].costs.generated_tokens == first[1].costs.generated_tokens
    assert abs(first[0].loss - first[1].loss) < 1e-6
    gaps = [abs(a - b) for s, t in zip(trl.steps, verl.steps, strict=True) for a, b in zip(s.pass_rates, t.pass_rates, strict=True)]
    assert float(np.mean(gaps)) <= 0.05
    assert trl.evaluations[0].accuracies == verl.evaluations[0].accuracies
    assert abs(trl.evaluations[-1].accuracy - verl.evaluations[-1].accuracy) <= 0.1
    assert max(s.fresh_log_ratio or 0.0 for log in (trl, verl) for s in log.steps) < 1e-4
