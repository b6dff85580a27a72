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
from harness.runner.executors.ray_actor import Order, Outpost
from harness.runner.executors.ray_files import Home


@pytest.fixture
def node(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """This process as a node with a scratch folder of its own."""
    monkeypatch.setenv("PYTHONPATH", f"{ROOT}:{HERE}")
    monkeypatch.setenv("HALFWAY_CACHE", str(tmp_path / "cache"))
    monkeypatch.setenv("HALFWAY_SCRATCH", str(tmp_path / "scratch"))
    (tmp_path / "scratch").mkdir()
    return tmp_path / "scratch"


def order(run: Path) -> Order:
    spec = check_spec(RunPaths(run))
    return Order(spec.model_dump_json(), str(run), "ledger.jsonl", None, ("token", "x"), str(run.parent))


def run_it(run: Path, outpost: Outpost, moments: list[Path] | None = None, stop_after: int | None = None) -> int | None:
    """Run on the node and collect; with ``moments``, a copy of the folder at home after each look."""
    home = Home(run, "ledger.jsonl")
    home.send(["spec.json", "ledger.jsonl"], outpost)
    outpost.start()
    looks = 0
    while True:
        look = outpost.look(home.offset, True)
        home.take(look, outpost)
        looks += 1
        if moments is not None and (look.added or look.code is not None):
            moments.append(run.parent.parent / "moments" / str(len(moments)) / run.name)
            shutil.copytree(run, moments[-1])
        if look.code is not None or looks == stop_after:
            return look.code
        time.sleep(0.01)


def test_a_run_comes_home(tmp_path: Path, node: Path) -> None:
    """Ledger, logs and the last checkpoint are there; the scratch folder is gone; every moment on the way could have been the last."""
    run, calm = new_run(tmp_path / "home"), new_run(tmp_path / "calm")
    assert fork_attempt(calm) == 0
    outpost = Outpost(order(run))
    assert outpost.begin().shared is False
    assert outpost.folder.parent.parent == node
    moments: list[Path] = []
    assert run_it(run, outpost, moments) == 0
    outpost.close()
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


def test_going_on_elsewhere(tmp_path: Path, node: Path) -> None:
    """Another node gets the ledger, the checkpoint and the number of attempts, and goes on where the lost one was."""
    run, calm = new_run(tmp_path / "home"), new_run(tmp_path / "calm")
    assert fork_attempt(calm) == 0
    assert fork_attempt(run, TOY_FAULT="kill@step 5 begins") < 0
    with open(run / "ledger.jsonl", "ab") as file:
        file.write(b'{"type":"step","st')  # the driver was killed too
    (run / "checkpoints" / "coming.step-6").mkdir()
    outpost = Outpost(order(run))
    outpost.begin()
    assert run_it(run, outpost) == 0
    outpost.close()
    assert what_counts(run) == what_counts(calm)
    assert sorted(p.name for p in (run / "attempts").iterdir()) == ["1", "2"]
    attempts = [r for r in map(json.loads, (run / "ledger.jsonl").read_text().splitlines()) if r["type"] == "attempt"]
    assert [attempt["resumed_from"] for attempt in attempts] == [0, 3]
    assert not list(run.glob("checkpoints/coming*"))


def test_files_that_go_away_are_left_out(tmp_path: Path, node: Path) -> None:
    """A checkpoint that the worker removes while it is being copied does not arrive in part."""
    run = new_run(tmp_path / "home")
    outpost = Outpost(order(run))
    outpost.begin()
    assert run_it(run, outpost) == 0
    shutil.rmtree(run / "checkpoints")
    home, look = Home(run, "ledger.jsonl"), outpost.look(0, True)

    class Vanishing:
        def read(self, name: str, offset: int, size: int) -> bytes:
            if name.endswith("npz"):
                raise FileNotFoundError(name)
            return outpost.read(name, offset, size)

        def put(self, name: str, offset: int, data: bytes) -> None:
            raise AssertionError

    home.offset = (run / "ledger.jsonl").stat().st_size
    home.take(outpost.look(home.offset, True), Vanishing())
    assert look.checkpoints
    assert newest_complete(run / "checkpoints") is None
    assert not list((run / "checkpoints").rglob("*"))
    home.take(outpost.look(home.offset, True), outpost)
    assert newest_complete(run / "checkpoints") is not None
    outpost.close()


def test_big_files_come_in_pieces(tmp_path: Path, node: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Files larger than a message arrive whole, both ways, empty ones too."""
    monkeypatch.setattr("harness.runner.executors.ray_files.CHUNK", 7)
    run = new_run(tmp_path / "home")
    outpost = Outpost(order(run))
    outpost.begin()
    for size in (0, 6, 7, 8, 21):
        data = bytes(range(size))
        (run / f"f{size}").write_bytes(data)
        Home(run, "ledger.jsonl").send([f"f{size}"], outpost)
        assert (outpost.folder / f"f{size}").read_bytes() == data
        (run / f"f{size}").unlink()
        Home(run, "ledger.jsonl").take(outpost.look(0, True), outpost)
        assert (run / f"f{size}").read_bytes() == data
    outpost.close()


def test_what_a_killed_actor_left_is_cleared(tmp_path: Path, node: Path) -> None:
    """Scratch folders whose holder is gone are removed by the next one; those in use are not."""
    run = new_run(tmp_path / "home")
    (node / "halfway-dead").mkdir()
    (node / "halfway-dead" / ".held").write_text("")
    (node / "somebody-else").mkdir()
    first, second = Outpost(order(run)), Outpost(order(run))
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
    outpost = Outpost(order(run))
    assert outpost.begin().shared is True
    assert outpost.folder == run
    outpost.close()
    assert run.exists()
    (run.parent / "token").write_text("another driver's")
    outpost = Outpost(order(run))
    assert outpost.begin().shared is False
    outpost.close()


def test_killing_reaches_the_worker(tmp_path: Path, node: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """``kill`` and ``terminate`` act on the process on the node."""
    monkeypatch.setenv("TOY_STEP_SECONDS", "0.2")
    for way, code in (("kill", -9), ("terminate", 75)):
        run = new_run(tmp_path / way, SUITE)
        outpost = Outpost(order(run))
        outpost.begin()
        home = Home(run, "ledger.jsonl")
        home.send(["spec.json"], outpost)
        outpost.start()
        wait_for(lambda o=outpost: b'"step"' in o.look(0).added)
        getattr(outpost, way)()
        look: Any = wait_for(lambda o=outpost: (found := o.look(0)).code is not None and found)
        assert look.code == code
        outpost.close()
