"""Bringing a run home from a node that does not see the runs folder: what is at home can always go on."""

from __future__ import annotations

import json
import shutil
import time
from pathlib import Path
from typing import Any

import pytest
from toy_place import HERE, ROOT, SUITE, fork_attempt, new_run, wait_for, what_counts

from harness.records.checkpoint import newest_complete
from harness.records.run_folder import RunPaths, check_spec
from harness.runner.executors.ray_actor import NodeWorker, WorkOrder
from harness.runner.executors.ray_files import LocalCopy


@pytest.fixture
def node(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """This process as a node with a scratch folder of its own."""
    monkeypatch.setenv("PYTHONPATH", f"{ROOT}:{HERE}")
    monkeypatch.setenv("HALFWAY_CACHE", str(tmp_path / "cache"))
    monkeypatch.setenv("HALFWAY_SCRATCH", str(tmp_path / "scratch"))
    (tmp_path / "scratch").mkdir()
    return tmp_path / "scratch"


def order(run: Path) -> WorkOrder:
    spec = check_spec(RunPaths(run))
    return WorkOrder(spec.model_dump_json(), str(run), "ledger.jsonl", None, ("token", "x"), str(run.parent))


def run_it(run: Path, worker: NodeWorker, moments: list[Path] | None = None, stop_after: int | None = None) -> int | None:
    """Run on the node and collect; with ``moments``, a copy of the folder at home after each look."""
    home = LocalCopy(run, "ledger.jsonl")
    home.send(["spec.json", "ledger.jsonl"], worker)
    worker.start()
    looks = 0
    while True:
        look = worker.snapshot(home.offset, True)
        home.take(look, worker)
        looks += 1
        if moments is not None and (look.added or look.code is not None):
            moments.append(run.parent.parent / "moments" / str(len(moments)) / run.name)
            shutil.copytree(run, moments[-1])
        if look.code is not None or looks == stop_after:
            return look.code
        time.sleep(0.01)


@pytest.mark.fault("the driver gone at any moment of copying a run from a node", "what is at home can always go on")
@pytest.mark.slow
def test_a_run_comes_home(tmp_path: Path, node: Path) -> None:
    """Ledger, logs and the last checkpoint are there; the scratch folder is gone; every moment on the way could have been the last."""
    run, calm = new_run(tmp_path / "home"), new_run(tmp_path / "calm")
    assert fork_attempt(calm) == 0
    worker = NodeWorker(order(run))
    assert worker.begin().shared is False
    assert worker.folder.parent.parent == node
    moments: list[Path] = []
    assert run_it(run, worker, moments) == 0
    worker.close()
    assert not list(node.iterdir())
    assert what_counts(run) == what_counts(calm)
    assert (run / "attempts" / "1" / "env.json").exists()
    newest = newest_complete(run / "checkpoints")
    assert newest is not None
    assert newest[0] == 8
    assert not list(run.rglob("*.partial"))
    assert len(moments) >= 2
    for moment in moments:
        assert fork_attempt(moment) == 0
        assert what_counts(moment) == what_counts(calm)


@pytest.mark.slow
def test_going_on_elsewhere(tmp_path: Path, node: Path) -> None:
    """Another node gets the ledger, the checkpoint and the number of attempts, and goes on where the lost one was."""
    run, calm = new_run(tmp_path / "home"), new_run(tmp_path / "calm")
    assert fork_attempt(calm) == 0
    assert fork_attempt(run, TOY_FAULT="kill@step 5 begins") < 0
    with open(run / "ledger.jsonl", "ab") as file:
        file.write(b'{"type":"step","st')  # the driver was killed too
    (run / "checkpoints" / "coming.step-6").mkdir()
    worker = NodeWorker(order(run))
    worker.begin()
    assert run_it(run, worker) == 0
    worker.close()
    assert what_counts(run) == what_counts(calm)
    assert sorted(p.name for p in (run / "attempts").iterdir()) == ["1", "2"]
    attempts = [r for r in map(json.loads, (run / "ledger.jsonl").read_text().splitlines()) if r["type"] == "attempt"]
    assert [attempt["resumed_from"] for attempt in attempts] == [0, 3]
    assert not list(run.glob("checkpoints/coming*"))


def test_files_that_go_away_are_left_out(tmp_path: Path, node: Path) -> None:
    """A checkpoint that the worker removes while it is being copied does not arrive in part."""
    run = new_run(tmp_path / "home")
    worker = NodeWorker(order(run))
    worker.begin()
    assert run_it(run, worker) == 0
    shutil.rmtree(run / "checkpoints")
    home, look = LocalCopy(run, "ledger.jsonl"), worker.snapshot(0, True)

    class Vanishing:
        def read(self, name: str, offset: int, size: int) -> bytes:
            if name.endswith("npz"):
                raise FileNotFoundError(name)
            return worker.read(name, offset, size)

        def put(self, name: str, offset: int, data: bytes) -> None:
            raise AssertionError

    home.offset = (run / "ledger.jsonl").stat().st_size
    home.take(worker.snapshot(home.offset, True), Vanishing())
    assert look.checkpoints
    assert newest_complete(run / "checkpoints") is None
    assert not list((run / "checkpoints").rglob("*"))
    home.take(worker.snapshot(home.offset, True), worker)
    assert newest_complete(run / "checkpoints") is not None
    worker.close()


def test_big_files_come_in_pieces(tmp_path: Path, node: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Files larger than a message arrive whole, both ways, empty ones too."""
    monkeypatch.setattr("harness.runner.executors.ray_files.CHUNK", 7)
    run = new_run(tmp_path / "home")
    worker = NodeWorker(order(run))
    worker.begin()
    for size in (0, 6, 7, 8, 21):
        data = bytes(range(size))
        (run / f"f{size}").write_bytes(data)
        LocalCopy(run, "ledger.jsonl").send([f"f{size}"], worker)
        assert (worker.folder / f"f{size}").read_bytes() == data
        (run / f"f{size}").unlink()
        LocalCopy(run, "ledger.jsonl").take(worker.snapshot(0, True), worker)
        assert (run / f"f{size}").read_bytes() == data
    worker.close()


def test_what_a_killed_actor_left_is_cleared(tmp_path: Path, node: Path) -> None:
    """Scratch folders whose holder is gone are removed by the next one; those in use are not."""
    run = new_run(tmp_path / "home")
    (node / "halfway-dead").mkdir()
    (node / "halfway-dead" / ".held").write_text("")
    (node / "somebody-else").mkdir()
    first, second = NodeWorker(order(run)), NodeWorker(order(run))
    first.begin()
    second.begin()
    assert {p.name for p in node.iterdir()} == {"somebody-else", first.folder.parent.name, second.folder.parent.name}
    first.close()
    second.close()


def test_a_shared_folder_is_seen(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A node that finds the driver's token works in the driver's folder."""
    monkeypatch.delenv("HALFWAY_SCRATCH", raising=False)
    run = new_run(tmp_path)
    (run.parent / "token").write_text("x")
    worker = NodeWorker(order(run))
    assert worker.begin().shared is True
    assert worker.folder == run
    worker.close()
    assert run.exists()
    (run.parent / "token").write_text("another driver's")
    worker = NodeWorker(order(run))
    assert worker.begin().shared is False
    worker.close()


@pytest.mark.slow
def test_killing_reaches_the_worker(tmp_path: Path, node: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """``kill`` and ``terminate`` act on the process on the node."""
    monkeypatch.setenv("TOY_STEP_SECONDS", "0.2")
    for way, code in (("kill", -9), ("terminate", 75)):
        run = new_run(tmp_path / way, SUITE)
        worker = NodeWorker(order(run))
        worker.begin()
        home = LocalCopy(run, "ledger.jsonl")
        home.send(["spec.json"], worker)
        worker.start()
        wait_for(lambda o=worker: b'"step"' in o.snapshot(0).added)
        getattr(worker, way)()
        look: Any = wait_for(lambda o=worker: (found := o.snapshot(0)).code is not None and found)
        assert look.code == code
        worker.close()
