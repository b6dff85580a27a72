"""Runs on a real Ray cluster of two nodes, one of which is killed while runs are on it."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
from toy_place import HERE, ROOT, SUITE, ToyPlace, alive, fork_attempt, new_run, wait_for, what_counts

from harness.errors import UserError
from harness.records.checkpoint import newest_complete
from harness.records.ledger import read_ledger
from harness.records.run_folder import RunPaths, check_spec
from harness.runner.executors.ray import fit, needs
from tests.edits import edited

pytestmark = pytest.mark.end_to_end

pytest.importorskip("ray")

SIX = edited(SUITE, {"seeds = [1]": "seeds = [1, 2, 3]", "max_steps = 8": "max_steps = 12"})


@dataclass
class TwoNodes:
    """The cluster: its address, and the folder in which node "apart" works."""

    process: subprocess.Popen[str]
    address: str
    scratch: Path

    def kill_apart(self) -> None:
        """End a node without a goodbye."""
        assert self.process.stdin is not None
        assert self.process.stdout is not None
        self.process.stdin.write("kill\n")
        self.process.stdin.flush()
        assert self.process.stdout.readline() == "killed\n"

    def apart(self) -> set[str]:
        """Ids of the runs that were or are on node "apart"."""
        return {path.parent.name for path in self.scratch.glob("halfway-*/*/spec.json")}


@pytest.fixture
def cluster(tmp_path_factory: pytest.TempPathFactory, place: ToyPlace) -> Iterator[TwoNodes]:
    """A fresh cluster whose workers work as slowly as it takes to kill a node under them."""
    scratch = tmp_path_factory.mktemp("scratch")
    log = open(scratch.parent / "cluster.log", "w")  # noqa: SIM115
    process = subprocess.Popen(
        [sys.executable, str(HERE / "two_nodes.py"), str(scratch)],
        stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=log, text=True,
        env=place.env(TOY_STEP_SECONDS="0.25", PYTHONPATH=os.pathsep.join([str(ROOT), str(HERE)])),
    )  # fmt: skip
    assert process.stdout is not None
    try:
        yield TwoNodes(process, process.stdout.readline().strip(), scratch)
    finally:
        process.communicate(timeout=60)
        log.close()


@pytest.mark.fault("a node of a Ray cluster killed under two runs", "its runs go on elsewhere; same records as undisturbed")
@pytest.mark.slow
@pytest.mark.timeout(600)
def test_a_node_is_killed_with_runs_on_it(place: ToyPlace, cluster: TwoNodes) -> None:
    """Six runs on two nodes, one sharing the runs folder and one apart from it; the latter is killed in the middle of two runs, and a
    worker of the other is killed too: every run is finished once, none twice, none lost, with the records of a calm one. Then a Ctrl-C
    ends cleanly, and a run that fits no node is refused."""
    place.write(SIX)
    command = place.start("run", "toy.toml", "--executor", "ray", RAY_ADDRESS=cluster.address)
    specs = {folder.name: folder for folder in place.folders().values()}
    lost = wait_for(lambda: len(runs := cluster.apart()) == 2 and all(saved(specs[run]) for run in runs) and runs, 90)
    assert all((specs[run] / "lock").exists() for run in lost)
    assert "running" in place.states().values()
    cluster.kill_apart()
    near = wait_for(lambda: [f for run, f in specs.items() if run not in lost and saved(f)], 90)
    shot = next((folder for folder in near if (pid := worker_of(folder)) and not os.kill(pid, signal.SIGKILL)), None)
    _, said = command.communicate(timeout=200)
    assert command.returncode == 0, said
    assert set(place.states().values()) == {"complete"}
    assert said.count("its node of the Ray cluster was lost at step") == 2
    for index, (name, folder) in enumerate(place.folders().items()):
        written = [json.loads(line) for line in (folder / "ledger.jsonl").read_text().splitlines()]
        assert [record["type"] for record in written].count("complete") == 1, name
        attempts = len(read_ledger(folder / "ledger.jsonl").attempts)
        assert attempts == 1 + (folder.name in lost) + (folder == shot), name
        calm = new_run(place.folder / f"calm-{index}", SIX, index)
        assert fork_attempt(calm) == 0
        assert what_counts(folder) == what_counts(calm)
    resumed = [read_ledger(specs[run] / "ledger.jsonl").attempts[-1].resumed_from for run in lost]
    assert resumed
    assert min(resumed) >= 3, "what was collected before the node was lost was not used"
    assert not list(place.runs.glob(".seen-*"))
    again = place.halfway("run", "toy.toml", "--executor", "ray", RAY_ADDRESS=cluster.address)
    assert again.returncode == 0
    assert "6 runs, 6 already done" in again.stderr
    place.write(edited(SIX, {"max_steps = 12": "max_steps = 400"}))
    command = place.start("run", "toy.toml", "--executor", "ray", RAY_ADDRESS=cluster.address)
    working = wait_for(lambda: [pid for folder in specs.values() if (pid := worker_of(folder))], 90)
    wait_for(lambda: "interrupted" not in [place.states()[name] for name in ("grpo/1", "grpo/2")], 60)
    command.send_signal(signal.SIGINT)
    _, said = command.communicate(timeout=60)
    assert command.returncode == 130, said
    assert not any(alive(pid) for pid in working)
    place.write(edited(SIX, {"[execution]": "[execution]\nthreads = 3"}))
    too_big = place.halfway("run", "toy.toml", "--executor", "ray", RAY_ADDRESS=cluster.address)
    assert too_big.returncode == 2
    assert "no node of the Ray cluster has the 3 CPUs and 0 GPUs that one run needs (nodes: 2 CPUs and 0 GPUs; 0 CPUs" in too_big.stderr


def saved(folder: Path) -> bool:
    """Whether there is a checkpoint to go on from."""
    return newest_complete(folder / "checkpoints") is not None


def worker_of(folder: Path) -> int | None:
    """The process that works in this folder."""
    for path in Path("/proc").glob("[0-9]*/cmdline"):
        try:
            words = path.read_bytes().split(b"\0")
        except OSError:
            continue
        if b"harness.worker" in words and str(folder.resolve()).encode() in words:
            return int(path.parent.name)
    return None


def test_no_cluster(place: ToyPlace) -> None:
    """Without a cluster: what to do, exit code 2."""
    done = place.halfway("run", "toy.toml", "--executor", "ray", RAY_ADDRESS="127.0.0.1:1")
    assert done.returncode == 2
    assert "no Ray cluster can be reached" in done.stderr
    assert "start one with 'ray start --head', or set RAY_ADDRESS" in done.stderr
    assert "Traceback" not in done.stderr


def test_other_executors(place: ToyPlace) -> None:
    """A misspelt executor is one sentence."""
    done = place.halfway("run", "toy.toml", "--executor", "rai")
    assert done.returncode == 2
    assert "halfway: --executor rai: must be one of local, ray; did you mean 'ray'?" in done.stderr


@pytest.mark.parametrize(
    ("execution", "nodes", "wanted", "runs"),
    [
        ({"threads": 2}, [{"CPU": 5.0}], {"CPU": 2}, 2),
        ({"threads": 2, "processes": 2}, [{"CPU": 8.0}], {"CPU": 4}, 2),
        ({"processes": 2}, [{"CPU": 16.0, "GPU": 5.0}], {"CPU": 2, "GPU": 2}, 2),
        ({"processes": 2}, [{"CPU": 16.0, "GPU": 1.0}, {"CPU": 3.0, "GPU": 8.0}], {"CPU": 2, "GPU": 2}, 1),
        ({}, [{"CPU": 4.0}], {"CPU": 1}, 4),
        ({"device": "cpu"}, [{"CPU": 4.0, "GPU": 4.0}], {"CPU": 1}, 4),
        ({"device": "cuda"}, [{"CPU": 4.0}], {"CPU": 1, "GPU": 1}, 0),
    ],
)
def test_what_a_run_needs(
    tmp_path: Path, execution: dict[str, object], nodes: list[dict[str, float]], wanted: dict[str, float], runs: int
) -> None:
    """A CPU per thread; a GPU per process where there are GPUs; all on one node."""
    spec = check_spec(RunPaths(new_run(tmp_path)))
    run = spec.model_copy(update={"execution": spec.execution.model_copy(update=execution)})
    assert needs(run, nodes) == wanted
    assert sum(fit(wanted, node) for node in nodes) == runs


@pytest.mark.parametrize("execution", [{"device": "cuda:1"}, {"nodes": 2}])
def test_what_ray_cannot_place(tmp_path: Path, execution: dict[str, object]) -> None:
    """A GPU of one machine by number, and runs over several machines, are refused with a message."""
    spec = check_spec(RunPaths(new_run(tmp_path)))
    run = spec.model_copy(update={"execution": spec.execution.model_copy(update=execution)})
    with pytest.raises(UserError, match=r"with --executor ray it must be auto|use --executor local"):
        needs(run, [{"CPU": 4.0, "GPU": 2.0}])
