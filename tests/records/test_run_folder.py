"""Run folders and derived states."""

from __future__ import annotations

import io
import os
import subprocess
import sys
import time
from pathlib import Path

import pytest
from toy_place import ROOT, new_run, wait_for

from harness.errors import FailureKind
from harness.records.file_locks import FileLock, is_locked
from harness.records.ledger import LedgerWriter
from harness.records.ledger_records import Attempt, Complete, Failure, Record, RunStart
from harness.records.run_folder import RunPaths, check_spec, run_status
from harness.spec import BudgetSpec, SpecError
from harness.types import Costs, EvalPoint, StepRecord
from tests import made_records

COSTS = Costs(training_seconds=10.0, generated_tokens=500)
START = RunStart("0123456789ab", {})
NAN = Failure(FailureKind.NAN, "NaN")


def step(number: int, size: int = 4) -> StepRecord:
    return made_records.step(number, COSTS, size)


def evaluation(number: int, accuracy: float) -> EvalPoint:
    return made_records.evaluation(number, accuracy, COSTS)


HISTORY: list[tuple[str, list[Record]]] = [
    ("pending", []),
    ("interrupted", [START]),
    ("interrupted", [START, Attempt(1, {}, 0), evaluation(0, 0.1), step(1)]),
    ("failed", [START, Attempt(1, {}, 0), step(1), NAN]),
    ("interrupted", [START, NAN, Attempt(1, {}, 0)]),
    ("complete", [START, Attempt(1, {}, 0), step(8), evaluation(8, 0.5), Complete(8)]),
    ("interrupted", [START, Attempt(1, {}, 0), step(4), Complete(4)]),
]


@pytest.mark.parametrize(("state", "records"), HISTORY)
def test_state_is_what_the_ledger_says(tmp_path: Path, state: str, records: list[Record]) -> None:
    """States are derived from the records; a run that is complete at fewer steps than now asked for goes on."""
    paths = RunPaths(new_run(tmp_path))
    ledger = LedgerWriter(paths.ledger)
    for record in records:
        ledger.write(record)
    status = run_status(paths, check_spec(paths))
    assert status.state == state
    assert status.failure == ("NaN" if state == "failed" else None)


def test_a_complete_run_with_a_damaged_line_is_not_complete(tmp_path: Path) -> None:
    """One flipped digit in the middle of a ledger whose last line says complete: the report leaves it out, so status says why."""
    paths = RunPaths(new_run(tmp_path))
    ledger = LedgerWriter(paths.ledger)
    for record in (START, Attempt(1, {}, 0), step(8), evaluation(8, 0.5), Complete(8)):
        ledger.write(record)
    lines = paths.ledger.read_bytes().split(b"\n")
    lines[2] = lines[2].replace(b'"step":8', b'"step":9', 1)
    paths.ledger.write_bytes(b"\n".join(lines))
    status = run_status(paths, check_spec(paths))
    assert status.state == "failed"
    assert status.failure is not None
    assert "line 3 is damaged; move the run's folder away and run it again" in status.failure


def test_a_budget_ends_and_a_raised_budget_goes_on(tmp_path: Path) -> None:
    """Exhausted is derived from the costs and today's budget."""
    paths = RunPaths(new_run(tmp_path))
    spec = check_spec(paths)
    ledger = LedgerWriter(paths.ledger)
    ledger.write(START)
    ledger.write(step(3))
    for budget, state in ((10.0, "exhausted"), (9.0, "exhausted"), (11.0, "interrupted"), (None, "interrupted")):
        changed = spec.model_copy(update={"budget": BudgetSpec(training_seconds=budget)})
        assert run_status(paths, changed).state == state


def test_step_accuracy_and_seconds_from_the_tail(tmp_path: Path) -> None:
    """The last step, the last accuracy and the seconds are found from the end, over long lines and a torn last one."""
    paths = RunPaths(new_run(tmp_path))
    ledger = LedgerWriter(paths.ledger)
    ledger.write(START)
    ledger.write(evaluation(4, 0.25))
    for number in range(5, 9):
        ledger.write(step(number, size=9000))  # about 80 kB a line: longer than one read
    with open(paths.ledger, "ab") as file:
        file.write(b'{"type":"step","step":99,"costs":')
    status = run_status(paths, check_spec(paths))
    assert (status.state, status.step, status.accuracy, status.seconds) == ("interrupted", 8, 0.25, 10.0)


HOLD = """
import sys, time
from pathlib import Path
from harness.records.file_locks import FileLock
assert FileLock(Path(sys.argv[1])).acquire()
print("held", flush=True)
time.sleep(60)
"""


def test_running_is_a_living_lock(tmp_path: Path) -> None:
    """A run is running while a process holds its lock, and not one moment longer when that process is killed."""
    paths = RunPaths(new_run(tmp_path))
    spec = check_spec(paths)
    holder = subprocess.Popen([sys.executable, "-c", HOLD, str(paths.lock)], cwd=ROOT, stdout=subprocess.PIPE, text=True)
    try:
        assert holder.stdout is not None
        assert holder.stdout.readline() == "held\n"
        assert run_status(paths, spec).state == "running"
        assert not FileLock(paths.lock).acquire(patience=0.1)
        holder.kill()
        holder.wait()
        assert run_status(paths, spec).state == "pending"
        lock = FileLock(paths.lock)
        assert lock.acquire()
        lock.release()
    finally:
        holder.kill()
        holder.communicate()


def test_a_forked_child_does_not_keep_the_lock(tmp_path: Path) -> None:
    """Reward workers are forked; when the run is killed and they linger, the run must not stay "running"."""
    path, ready = tmp_path / "lock", tmp_path / "ready"
    parent = os.fork()
    if parent == 0:
        FileLock(path).acquire()
        if os.fork() == 0:
            ready.write_text(str(os.getpid()))
            time.sleep(30)
            os._exit(0)
        time.sleep(30)
        os._exit(0)
    lingering = int(wait_for(lambda: ready.exists() and ready.read_text()))
    try:
        assert is_locked(path)
        os.kill(parent, 9)
        os.waitpid(parent, 0)
        assert not is_locked(path)
    finally:
        os.kill(lingering, 9)


def test_one_process_excludes_itself(tmp_path: Path) -> None:
    """Two locks on one file in one process exclude each other too, and looking does not drop the lock."""
    first, second = FileLock(tmp_path / "lock"), FileLock(tmp_path / "lock")
    assert first.acquire()
    assert not second.acquire()
    assert is_locked(tmp_path / "lock")
    first.release()
    assert second.acquire()
    second.release()


def test_a_spec_that_is_not_its_folder(tmp_path: Path) -> None:
    """A renamed folder or an edited spec.json is an error that names both ids."""
    folder = new_run(tmp_path)
    moved = folder.rename(folder.with_name("0123456789ab"))
    with pytest.raises(SpecError, match=f"describes run {folder.name}, but its folder is called 0123456789ab"):
        check_spec(RunPaths(moved))


def test_status_reads_tails(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """However long a ledger is, its status costs one short read: a thousand runs stay below a second."""
    paths = RunPaths(new_run(tmp_path))
    spec = check_spec(paths)
    ledger = LedgerWriter(paths.ledger)
    ledger.write(START)
    for number in range(1, 60):
        ledger.write(step(number, size=400))
        if number % 4 == 0:
            ledger.write(evaluation(number, 0.5))
    ledger.write(Complete(59))
    read = []

    class Counting(io.FileIO):
        def read(self, size: int | None = -1) -> bytes:
            data = super().read(size)
            read.append(len(data))
            return data

    monkeypatch.setattr("harness.records.tail.open", lambda path, mode: Counting(path, mode), raising=False)
    assert run_status(paths, spec).accuracy == 0.5
    assert paths.ledger.stat().st_size > 80_000
    assert 0 < sum(read) <= 1 << 15
