"""A run of several processes loses one of them: it is interrupted, not failed, and goes on as if nothing had happened."""

from __future__ import annotations

import io
import os
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest

from harness.display.lines import LineDisplay
from harness.records.ledger import read_ledger
from harness.records.run_folder import run_paths
from harness.runner.suite_runner import run_suite
from tests.backends.trl.conftest import make_spec
from tests.backends.trl.test_runs import numbers

SPEC = make_spec("rr", {"capacity": 16}, {"max_steps": 4}, processes=2)


def rank_of(run_dir: Path, rank: int) -> int | None:
    """Process id of a rank of this run."""
    for folder in Path("/proc").glob("[0-9]*"):
        try:
            mine = str(run_dir.resolve()).encode() in (folder / "cmdline").read_bytes().split(b"\0")
            if mine and f"RANK={rank}".encode() in (folder / "environ").read_bytes().split(b"\0"):
                return int(folder.name)
        except OSError:
            continue
    return None


@pytest.mark.fault(
    "SIGKILL of one rank of a TRL run on several processes",
    "started again from its checkpoint, same records as undisturbed",
)
@pytest.mark.slow
@pytest.mark.timeout(600)
def test_a_killed_rank_interrupts_the_run(tmp_path: Path, cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """SIGKILL of rank 1 after step 3: the runner starts the run again from the checkpoint of step 2; it ends with the records of a calm
    one, each step once, and no process is left of the first attempt."""
    monkeypatch.setenv("HALFWAY_CACHE", str(cache))
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    folder = run_paths(tmp_path, SPEC).root
    shot: list[int] = []
    leftover: list[int] = []

    def shoot() -> None:
        ledger = folder / "ledger.jsonl"
        while not (ledger.exists() and b'{"type":"step","step":3,' in ledger.read_bytes()):
            time.sleep(0.005)
        victim, other = rank_of(folder, 1), rank_of(folder, 0)
        if victim and other:
            leftover.append(other)
            shot.append(victim)
            os.kill(victim, signal.SIGKILL)

    gunman = threading.Thread(target=shoot, daemon=True)
    gunman.start()
    said = io.StringIO()
    result = run_suite([SPEC], tmp_path, LineDisplay(said), max_parallel=1)
    assert result.exit_code == 0, said.getvalue()
    assert shot
    assert "words/rr/1: one of its 2 processes died (see the attempt's log.txt) at step " in said.getvalue()
    assert not any(Path(f"/proc/{pid}").exists() for pid in leftover)
    killed = read_ledger(folder / "ledger.jsonl")
    assert [attempt.resumed_from for attempt in killed.attempts] == [0, 2]
    assert [step.step for step in killed.steps] == [1, 2, 3, 4]
    assert killed.failure is None
    assert killed.lost_seconds > 0
    calm = run_paths(tmp_path / "calm", SPEC)
    calm.root.mkdir(parents=True)
    SPEC.save(calm.spec)
    assert subprocess.run([sys.executable, "-m", "harness.worker", str(calm.root)], check=False).returncode == 0
    assert numbers(killed) == numbers(read_ledger(calm.ledger))
