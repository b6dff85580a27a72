"""A run on a Ray cluster that is there already, submitted as a job, and one of several processes."""

from __future__ import annotations

import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from harness.records.ledger import read_ledger
from harness.testing.backend_contract import contract_spec
from tests.backends.verl.recording import record

pytestmark = [pytest.mark.slow_verl, pytest.mark.timeout(1500)]

ROOT = Path(__file__).resolve().parents[3]
RAY = str(Path(sys.executable).parent / "ray")
SUITE = """
name = "nodes"
description = "One run over two machines of a cluster."
seeds = [1]
baseline = "fair-replay"
[algorithm]
groups_per_step = 8
group_size = 4
max_steps = 2
max_completion_tokens = 12
[evaluation]
every_steps = 2
diagnostic_questions = 0
[execution]
device = "cpu"
processes = 2
nodes = 2
[[combinations]]
name = "words"
backend = "verl"
model = "embedded:llama-64x2"
task = { name = "spell-backward", train = 96, test = 16, validation = 16, adapter = 16 }
[[strategies]]
name = "fair-replay"
config = { capacity = 16 }
"""


def test_two_processes(tmp_path: Path, cache: Path) -> None:
    """Data-parallel training: every row reaches the loss of one rank, once; costs are the engine's; the ranks' weights stay one policy."""
    spec = contract_spec("verl", processes=2)
    training = record(spec, tmp_path / "run", cache)
    for seen, step in zip(training.steps, training.log.steps, strict=True):
        wanted = [tuple(r.completion_token_ids.tolist()) for g in seen.batch.groups for r in g.rollouts]
        assert sorted(row.completion for row in seen.rows) == sorted(wanted)
        assert np.isfinite(step.loss)
        assert step.fresh_log_ratio is not None
        assert step.fresh_log_ratio < 1e-4  # both engines sample from what both ranks trained
    costs = training.log.steps[-1].costs
    assert costs.fresh_rollouts + costs.filtered_rollouts == training.generated_rollouts
    assert costs.generated_tokens == training.generated_tokens


@pytest.fixture
def cluster(monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """Two nodes of one logical GPU each on this machine, as ``ray start`` makes them; yields the address that jobs are submitted to."""
    from ray.cluster_utils import Cluster

    monkeypatch.setenv("RAY_worker_register_timeout_seconds", "600")  # a busy machine starts Ray's processes slowly
    made = Cluster(
        initialize_head=True,
        head_node_args={"num_cpus": 16, "num_gpus": 1, "include_dashboard": True, "dashboard_port": 8299},
    )
    made.add_node(num_cpus=16, num_gpus=1)
    try:
        yield "http://127.0.0.1:8299"
    finally:
        made.shutdown()


def test_a_submitted_job_over_two_nodes(tmp_path: Path, cache: Path, cluster: str) -> None:
    """``ray job submit -- halfway run SUITE`` with nodes = 2 trains on both nodes of the cluster, and leaves it standing."""
    (tmp_path / "nodes.toml").write_text(SUITE)
    runs = tmp_path / "runs"
    submitted = [RAY, "job", "submit", "--address", cluster, "--", "env", f"HALFWAY_CACHE={cache}", f"PYTHONPATH={ROOT}", sys.executable]
    asked = [*submitted, "-m", "harness.cli", "run", str(tmp_path / "nodes.toml"), "--runs-dir", str(runs)]
    deadline = time.monotonic() + 300
    while True:
        done = subprocess.run(asked, capture_output=True, text=True, timeout=1200, check=False)
        said = done.stdout[-3000:] + done.stderr[-2000:]
        if "No available agent" not in said or time.monotonic() > deadline:  # of the node, which is still starting
            break
        time.sleep(5)
    assert done.returncode == 0, said
    (ledger,) = runs.glob("nodes/*/ledger.jsonl")
    log = read_ledger(ledger)
    assert [step.step for step in log.steps] == [1, 2]
    from ray.util.state import list_actors

    trainers = [actor for actor in list_actors(address=cluster, limit=1000) if "WorkerDict" in str(actor.class_name)]
    assert len({actor.node_id for actor in trainers}) == 2, trainers
