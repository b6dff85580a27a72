"""A disk that is full at each kind of write, memory that is not there, clocks that jump, other machines: one sentence, nothing lost."""

from __future__ import annotations

import ast
import itertools
import os
import random
import resource
import sys
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from toy_place import ROOT, SUITE, ToyPlace, fork_attempt, fork_attempt_saying, in_a_child, new_run, what_counts

from harness.records import tail
from harness.records.checkpoint import MANIFEST, newest_complete, prune
from harness.records.file_locks import FileLock, is_locked
from harness.records.ledger import LedgerError, read_ledger
from harness.records.run_folder import RunPaths, check_spec, run_status
from harness.records.tail import Tail
from harness.runner.jobs import Watchdog
from harness.spec import RunSpec
from tests.edits import edit_file, edited

pytestmark = pytest.mark.end_to_end

KEEPING = edited(SUITE, {"[execution]": "[execution]\nkeep_rollouts = true"})

#: what is written -> the event after which the kernel lets no file grow
WRITES = {
    "what runs share": "prepare",
    "step record": "step 3 begins",
    "rollouts": "step 3 written",
    "evaluation record": "step 2 written",
    "checkpoint state": "checkpoint 3 begins",
    "checkpoint file of the engine": "checkpoint 3 half written",
    "checkpoint manifest": "checkpoint 3 unsealed",
    "checkpoint record": "checkpoint 3 sealed",
    "last record": "trained",
}


@pytest.fixture(scope="module")
def calm(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """What an undisturbed run records."""
    run = new_run(tmp_path_factory.mktemp("calm"))
    assert fork_attempt(run) == 0
    return what_counts(run)


def full_disk() -> None:
    """From now on the kernel lets no file of this process grow."""
    resource.setrlimit(resource.RLIMIT_FSIZE, (0, resource.getrlimit(resource.RLIMIT_FSIZE)[1]))


@pytest.mark.fault("a full disk, at each kind of write", "one sentence, exit code 2; with room again the same records as undisturbed")
@pytest.mark.parametrize("write", WRITES)
def test_a_disk_full_at_each_kind_of_write(tmp_path: Path, calm: dict[str, Any], write: str) -> None:
    """One sentence that names the file, exit code 2, no half record; with room again the run ends as if nothing had happened."""
    keeping = write == "rollouts"  # they come between a step's record and its evaluation
    run = new_run(tmp_path, KEEPING if keeping else SUITE)
    code, words = fork_attempt_saying(run, TOY_FAULT=f"full@{WRITES[write]}")
    assert code == 2, words
    assert words.count("\n") == 1
    assert "File too large; free some space and start the same command again" in words
    ledger = run / "ledger.jsonl"
    assert ledger.read_bytes().endswith(b"\n")
    assert run_status(RunPaths(run), check_spec(RunPaths(run))).state == "interrupted"
    assert fork_attempt(run) == 0
    assert what_counts(run) == calm
    assert len(list((run / "rollouts").glob("*.parquet"))) == (8 if keeping else 0)
    assert not list(run.rglob("*.partial"))


def test_a_disk_full_before_an_attempt_begins(tmp_path: Path, calm: dict[str, Any]) -> None:
    """Neither the lock, nor the log, nor the environment can be written: a sentence; the lock holds and is let go all the same."""
    run = new_run(tmp_path)

    def attempt() -> int:
        from harness.worker.attempt import run_attempt

        full_disk()
        return run_attempt(run)

    code, words = in_a_child(attempt)
    assert code == 2, words
    assert words == f"cannot write to {run}/ledger.jsonl: File too large; free some space and start the same command again\n"
    assert words.count("\n") == 1
    assert not is_locked(run / "lock")
    assert fork_attempt(run) == 0
    assert what_counts(run) == calm


def test_a_lock_needs_no_room(tmp_path: Path) -> None:
    """On a full disk a lock keeps others out, though it cannot name its holder."""

    def hold() -> int:
        full_disk()
        first, second = FileLock(tmp_path / "lock"), FileLock(tmp_path / "lock")
        return 0 if first.acquire() and not second.acquire() and is_locked(tmp_path / "lock") else 1

    assert in_a_child(hold)[0] == 0


@pytest.mark.fault("a full disk when the runner writes", "one sentence, exit code 2; the next command does it all")
@pytest.mark.parametrize(
    ("what", "words"),
    [
        ("save", "failed: cannot start bandit/grpo/1: File too large"),
        ("model_dump", "failed: preparing bandit failed: File too large"),
    ],
)
def test_a_disk_full_when_the_runner_writes(place: ToyPlace, what: str, words: str) -> None:
    """spec.json and the list of what to prepare: the command says so and exits with 2; the next one does it all."""

    def command() -> int:
        real: Callable[..., Any] = getattr(RunSpec, what)

        def on_a_full_disk(self: RunSpec, *args: Any, **named: Any) -> Any:
            if what == "save" or sys._getframe(1).f_code.co_filename.endswith("preparation.py"):
                full_disk()
            return real(self, *args, **named)

        setattr(RunSpec, what, on_a_full_disk)
        result, text = place.run()
        os.write(2, text.encode())
        return result.exit_code

    code, text = in_a_child(command)
    assert code == 2, text
    assert words in text
    assert not list(place.runs.glob("*/ledger.jsonl"))
    assert place.run()[0].exit_code == 0
    assert set(place.states().values()) == {"complete"}


@pytest.mark.fault("a full disk at the report", "one sentence, exit code 2; the runs are unchanged")
def test_a_disk_full_at_the_report(place: ToyPlace) -> None:
    """A report that cannot be written is one sentence and exit code 2; the runs are as they were."""
    assert place.run()[0].exit_code == 0
    before = {path: path.read_bytes() for path in place.runs.glob("*/ledger.jsonl")}
    code = f"import resource, sys; resource.setrlimit(resource.RLIMIT_FSIZE, (0, 0)); sys.argv[1:] = {['report', 'toy.toml']!r}"
    done = place.python(f"{code}; from harness.cli.main import main; main()")
    assert done.returncode == 2, done.stderr
    assert "Traceback" not in done.stderr
    assert "File too large" in done.stderr
    assert {path: path.read_bytes() for path in before} == before


@pytest.mark.fault("an allocation that the kernel refuses", "a failure with a sentence; with less to do the same records as undisturbed")
def test_memory_that_is_not_there(tmp_path: Path, calm: dict[str, Any]) -> None:
    """An allocation that the kernel refuses is a failure to mend, reported in a sentence; with less to do the run goes on."""
    run = new_run(tmp_path)
    code, words = fork_attempt_saying(run, TOY_FAULT="allocate@step 5 begins")
    assert code == 3
    assert words.startswith("out of memory after step 4: lower execution.micro_batch_rollouts")
    status = run_status(RunPaths(run), check_spec(RunPaths(run)))
    assert (status.state, status.mendable, status.is_result) == ("failed", True, False)
    assert fork_attempt(run) == 0
    assert what_counts(run) == calm


# -- ledgers with a flipped bit, or torn anywhere ---------------------------------------------------------------------


@pytest.mark.fault(
    "a flipped bit at a random place of a ledger", "refused by name or read as a torn end, never as other numbers", times=400
)
def test_a_flipped_bit_anywhere_is_seen(tmp_path: Path) -> None:
    """400 single-bit errors at random places: each is refused by name, makes the last line a torn one, or changes nothing that is read."""
    run = new_run(tmp_path)
    assert fork_attempt(run) == 0
    ledger = run / "ledger.jsonl"
    sound = ledger.read_bytes()
    expected, dice, outcomes = what_counts(run), random.Random(3), Counter[str]()
    for _ in range(400):
        place = dice.randrange(len(sound))
        ledger.write_bytes(sound[:place] + bytes([sound[place] ^ 1 << dice.randrange(8)]) + sound[place + 1 :])
        outcomes[_reading(run, expected)] += 1
    assert outcomes["refused"] >= 390
    assert outcomes["changed"] == 0


def _reading(run: Path, expected: dict[str, Any]) -> str:
    """What becomes of a damaged ledger: refused with its name, read as torn at its end, read unharmed, or changed."""
    try:
        read_ledger(run / "ledger.jsonl")
    except LedgerError as error:
        return "refused" if str(run / "ledger.jsonl") in str(error) else "anonymous"
    found = what_counts(run)
    return "unharmed" if found == expected else "torn" if found == {**expected, "complete": False} else "changed"


@pytest.mark.fault("a ledger cut at a random byte after its last checkpoint", "same records as undisturbed", times=12)
def test_torn_at_any_byte(tmp_path: Path, calm: dict[str, Any]) -> None:
    """A ledger cut at 12 random bytes after its last checkpoint record, as a crash leaves it: the run goes on to the same end."""
    stopped = new_run(tmp_path / "stopped")
    assert fork_attempt(stopped, TOY_FAULT="kill@step 6 begins") < 0
    whole = (stopped / "ledger.jsonl").read_bytes()
    safe = whole.index(b"\n", whole.index(b'{"type":"checkpoint"')) + 1
    dice = random.Random(5)
    for i, cut in enumerate(sorted(dice.randrange(safe, len(whole)) for _ in range(12))):
        run = new_run(tmp_path / str(i))
        assert fork_attempt(run, TOY_FAULT="kill@step 6 begins") < 0
        (run / "ledger.jsonl").write_bytes(whole[:cut])
        assert fork_attempt(run) == 0
        assert what_counts(run) == calm


# -- clocks, versions, machines -----------------------------------------------------------------------------------------


@pytest.fixture
def mad_clock(monkeypatch: pytest.MonkeyPatch) -> None:
    """A wall clock that jumps by days, back and forth, at every look."""
    jumps = itertools.cycle([86400.0 * days for days in (-40, 3, 0, -1, 9000)])
    real = time.time
    monkeypatch.setattr(time, "time", lambda: real() + next(jumps))


@pytest.mark.fault("a wall clock that jumps by days at every look", "same records, sane seconds, nobody taken for silent")
@pytest.mark.usefixtures("mad_clock")
def test_a_clock_that_jumps_changes_nothing(place: ToyPlace, calm: dict[str, Any]) -> None:
    """With a mad wall clock in runner and worker: same records, sane seconds, nobody taken for silent."""
    place.write(edited(SUITE, {"[execution]": "[execution]\nsilence_seconds = 30.0"}))
    assert place.run()[0].exit_code == 0
    run = new_run(place.folder / "own")
    assert fork_attempt(run) == 0
    assert what_counts(run) == calm == what_counts(place.folders()["grpo/1"])
    assert all(0 <= step.seconds < 60 for step in read_ledger(run / "ledger.jsonl").steps)


class Deaf:
    """A worker that only notes that it was killed."""

    placed, ended_by, machine_lost = True, None, False
    killed = False

    def poll(self) -> int | None:
        return None

    def terminate(self) -> None: ...

    def kill(self) -> None:
        self.killed = True

    def error_message(self) -> str:
        return ""

    def close(self) -> None: ...


def test_the_watchdog_counts_silence_not_dates(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A ledger dated in 1970 or 2100 is no silence and no life; only changes and monotonic seconds count; waiting is no silence."""
    ledger, worker, now = tmp_path / "ledger.jsonl", Deaf(), [1000.0]
    ledger.write_text("{}\n")
    monkeypatch.setattr(tail.time, "monotonic", lambda: now[0])
    tail_of_ledger = Tail(ledger)
    watchdog = Watchdog(worker, tail_of_ledger, 60)
    for date in (0, 4102444800, 5, 4102444801):
        os.utime(ledger, (date, date))
        tail_of_ledger.new_lines()
        now[0] += 59
        watchdog.check()
        assert not worker.killed
    worker.placed = False
    now[0] += 1000
    watchdog.check()
    worker.placed = True
    now[0] += 59
    watchdog.check()
    assert not worker.killed
    now[0] += 2
    tail_of_ledger.new_lines()
    watchdog.check()
    assert worker.killed
    assert watchdog.fired


def test_no_wall_clock_in_what_measures_or_judges() -> None:
    """``time.time`` and ``datetime.now`` jump; harness and backends measure with monotonic clocks only."""
    forbidden = {"time", "time_ns", "now", "utcnow", "today"}
    for path in [*(ROOT / "harness").rglob("*.py"), *(ROOT / "backends").rglob("*.py")]:
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name) and node.value.id in ("time", "datetime", "date"):
                assert node.attr not in forbidden, f"{path}, line {node.lineno}: {node.value.id}.{node.attr}"


def test_a_checkpoint_of_a_newer_version_is_kept(tmp_path: Path) -> None:
    """It is neither used nor taken for half-written and removed: refused with a message, every file still there."""
    run = new_run(tmp_path)
    assert fork_attempt(run, TOY_FAULT="kill@step 4 written") < 0
    manifest = run / "checkpoints" / "step-3" / MANIFEST
    edit_file(manifest, {'"schema": 1': '"schema": 2'})
    files = {p: p.read_bytes() for p in (run / "checkpoints").rglob("*") if p.is_file()}
    code, words = fork_attempt_saying(run)
    assert code == 2
    assert "step-3 was written with checkpoint schema 2, this Halfway reads 1" in words
    for look in (newest_complete, prune):
        with pytest.raises(Exception, match="checkpoint schema 2"):
            look(run / "checkpoints")
    assert {p: p.read_bytes() for p in files} == files


def test_going_on_elsewhere_is_recorded_and_said(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A run that goes on with other hardware or other versions warns, and every attempt keeps its own fingerprint and versions."""
    run = new_run(tmp_path)
    assert fork_attempt(run, TOY_FAULT="kill@step 4 written") < 0
    monkeypatch.setattr("harness.machine.environment.core_count", lambda: 96)
    assert fork_attempt(run, TOY_FAULT="kill@step 7 written") < 0
    monkeypatch.setattr("harness.worker.attempt.describe", _newer_numpy)
    assert fork_attempt(run) == 0
    log = read_ledger(run / "ledger.jsonl")
    assert len(log.warnings) == 2
    assert log.warnings[0].startswith("goes on with other hardware or threads than it began with (cores ")
    assert " -> 96): its seconds belong to neither machine" in log.warnings[0]
    assert log.warnings[1].startswith("goes on with other versions than it began with: numpy ")
    prints = [attempt.environment["fingerprint"] for attempt in log.attempts]
    assert prints[0] != prints[1] == prints[2]


def _newer_numpy(threads: int) -> dict[str, Any]:
    from harness.machine.environment import describe

    found = describe(threads)
    return {**found, "versions": {**found["versions"], "numpy": "99.0"}}


def test_the_same_place_warns_of_nothing(tmp_path: Path) -> None:
    """Going on where it began is no news."""
    run = new_run(tmp_path)
    assert fork_attempt(run, TOY_FAULT="kill@step 4 written") < 0
    assert fork_attempt(run) == 0
    assert read_ledger(run / "ledger.jsonl").warnings == []
