"""Real workers, real SIGKILLs, real TRL: what comes out is what an undisturbed run gives."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from backends.common.prepare import prepare
from harness.records.checkpoint import MANIFEST, newest_complete
from harness.records.ledger import RunLog, read_ledger
from tests.backends.trl.conftest import make_spec
from tests.backends.trl.test_runs import numbers
from tests.reports.pages import build_report

SPEC = make_spec("dots-rr", {"references": 8, "capacity": 16, "interval": 2}, {"max_steps": 6, "updates_per_batch": 2, "staleness": 1})


def start(run_dir: Path, cache: Path) -> subprocess.Popen[bytes]:
    """One worker on one run folder, as the runner starts it."""
    run_dir.mkdir(parents=True, exist_ok=True)
    if not (run_dir / "spec.json").exists():
        SPEC.save(run_dir / "spec.json")
    environment = {**os.environ, "HALFWAY_CACHE": str(cache), "OMP_NUM_THREADS": "1"}
    return subprocess.Popen([sys.executable, "-m", "harness.worker", str(run_dir)], env=environment, start_new_session=True)


def kill_when(worker: subprocess.Popen[bytes], reached: Callable[[], bool]) -> None:
    """SIGKILL the worker, and everything it started, the moment the condition holds."""
    deadline = time.monotonic() + 120
    while not reached():
        assert worker.poll() is None, "the worker ended before it could be killed"
        assert time.monotonic() < deadline
        time.sleep(0.0005)
    os.killpg(worker.pid, signal.SIGKILL)
    worker.wait()


def lines(run_dir: Path, kind: str, step: int) -> Callable[[], bool]:
    """The ledger holds a record of this kind and step, written by the running attempt."""
    path = run_dir / "ledger.jsonl"
    before = path.stat().st_size if path.exists() else 0
    needle = f'{{"type":"{kind}","step":{step},'.encode()

    def reached() -> bool:
        if not path.exists():
            return False
        with open(path, "rb") as file:
            file.seek(before)
            return needle in file.read()

    return reached


def without_seconds(csv: Path) -> list[list[str]]:
    """A report's table without what depends on the machine's speed."""
    rows = [line.split(",") for line in csv.read_text(encoding="utf-8").splitlines()]
    keep = [i for i, name in enumerate(rows[0]) if "second" not in name and name not in ("attempts", "fingerprint")]
    return [[row[i] for i in keep] for row in rows]


@pytest.mark.fault(
    "SIGKILL of a TRL run before, between, in and after checkpoints", "same selections, losses, evaluations and report", times=4
)
@pytest.mark.slow
@pytest.mark.timeout(600)
def test_a_run_killed_four_times_is_the_run_that_never_was(tmp_path: Path, cache: Path) -> None:
    """Killed before its first checkpoint, between the files of one, after one, and at an evaluation: same selections, losses,
    evaluation points, costs and report; the lost work is reported as lost."""
    calm, killed = tmp_path / "calm" / SPEC.run_id, tmp_path / "killed" / SPEC.run_id
    assert start(calm, cache).wait(timeout=200) == 0
    kill_when(start(killed, cache), lines(killed, "step", 1))
    torn = killed / "checkpoints" / "checkpoint-4"
    kill_when(start(killed, cache), lambda: torn.exists() and any(torn.iterdir()) and not (torn / MANIFEST).exists())
    assert newest_complete(killed / "checkpoints") is None
    kill_when(start(killed, cache), lines(killed, "checkpoint", 2))
    kill_when(start(killed, cache), lines(killed, "evaluation", 4))
    assert start(killed, cache).wait(timeout=200) == 0

    undisturbed, disturbed = (read_ledger(d / "ledger.jsonl") for d in (calm, killed))
    assert numbers(disturbed) == numbers(undisturbed)
    assert disturbed.complete
    assert len(disturbed.attempts) == 5
    assert [a.resumed_from for a in disturbed.attempts] == [0, 0, 0, 2, 2]
    assert disturbed.lost_seconds > 0
    assert undisturbed.lost_seconds == 0
    _same_report(undisturbed, disturbed, tmp_path)


LIMITED = """
import resource, signal, sys
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
resource.setrlimit(resource.RLIMIT_FSIZE, (200_000, 200_000))
from harness.worker.__main__ import main
sys.exit(main())
"""


@pytest.mark.slow
@pytest.mark.parametrize("place", ["checkpoints", "models"])
def test_a_disk_that_fills_up_is_named_and_loses_nothing(place: str, tmp_path: Path, cache: Path) -> None:
    """Files over 200 kB cannot be written: saving the trained model, or the starting one that is built first, fails with a
    sentence that names the place; with room again the run goes on from its ledger."""
    if place == "models":
        cache = tmp_path / "cache"
    else:
        prepare(SPEC, cache, lambda *_: None)
    run_dir = tmp_path / SPEC.run_id
    run_dir.mkdir()
    SPEC.save(run_dir / "spec.json")
    environment = {**os.environ, "HALFWAY_CACHE": str(cache), "OMP_NUM_THREADS": "1"}
    full = subprocess.run(
        [sys.executable, "-c", LIMITED, str(run_dir)], env=environment, capture_output=True, text=True, timeout=200, check=False
    )
    assert full.returncode == 2, full.stderr
    log = read_ledger(run_dir / "ledger.jsonl")
    assert log.failure is not None
    assert log.failure.kind == "disk"
    assert "cannot write" in full.stderr
    assert f"/{place}" in full.stderr
    assert "Traceback" not in full.stderr
    assert newest_complete(run_dir / "checkpoints") is None
    assert start(run_dir, cache).wait(timeout=200) == 0
    assert read_ledger(run_dir / "ledger.jsonl").complete


def _same_report(a: RunLog, b: RunLog, folder: Path) -> None:
    for name, log in (("a", a), ("b", b)):
        build_report([log], folder / name, title="t", baseline="dots-rr", target={"accuracy": 0.01, "crossing": "first"})
    assert without_seconds(folder / "a" / "curves.csv") == without_seconds(folder / "b" / "curves.csv")
