"""The runner keeps control: retries, watchdog, Ctrl-C, two commands at once, no orphans."""

from __future__ import annotations

import os
import signal
import subprocess
import time
from pathlib import Path

import pytest
from toy_place import SUITE, ToyPlace, alive, children, fork_attempt, new_run, wait_for, what_counts

from harness.records.file_locks import FileLock
from harness.records.ledger import read_ledger
from tests.edits import edited

pytestmark = pytest.mark.end_to_end

SLOW = edited(SUITE, {"max_steps = 8": "max_steps = 400"})


def steps(folder: Path) -> int:
    """Lines in a run's ledger."""
    ledger = folder / "ledger.jsonl"
    return ledger.read_bytes().count(b"\n") if ledger.exists() else 0


def start_slow(place: ToyPlace, *words: str) -> subprocess.Popen[str]:
    """A command whose two runs are in the middle of training."""
    place.write(SLOW)
    process = place.start("run", "toy.toml", "--max-parallel", "2", *words, TOY_STEP_SECONDS="0.05")
    wait_for(lambda: all(steps(folder) > 5 for folder in place.folders().values()))
    return process


@pytest.mark.fault("SIGKILL of a worker under a running command", "started again from its checkpoint, same records as undisturbed")
def test_an_interrupted_worker_is_started_again(place: ToyPlace) -> None:
    """A worker that the kernel kills is started again from its checkpoint, and the result is that of a calm run."""
    once = place.folder / "once"
    once.mkdir()
    result, text = place.run(TOY_FAULT="kill@step 5 begins", TOY_FAULT_ONCE=str(once))
    assert result.exit_code == 0
    assert "bandit/grpo/1: killed by signal 9 (SIGKILL) at step 4; starting it again" in text
    assert text.count("going on from step 3") == 2
    calm = new_run(place.folder / "calm")
    assert fork_attempt(calm) == 0
    assert what_counts(place.folders()["grpo/1"]) == what_counts(calm)


@pytest.mark.parametrize(
    ("fault", "words"),
    [
        ("kill", "killed by signal 9 (SIGKILL) twice at step 4 (often the kernel, out of memory"),
        ("segv", "killed by signal 11 (SIGSEGV) twice at step 4 (see "),
    ],
)
def test_two_deaths_at_one_step_are_a_failure(place: ToyPlace, fault: str, words: str) -> None:
    """What dies at the same step twice would do so for ever: it fails with a sentence, in the ledger too; the others go on."""
    result, text = place.run(TOY_FAULT=f"{fault}@step 5 begins&grpo/1")
    assert result.exit_code == 1
    assert words in text
    log = read_ledger(place.folders()["grpo/1"] / "ledger.jsonl")
    assert log.failure is not None
    assert log.failure.kind == "killed"
    assert words in log.failure.message
    assert len(log.attempts) == 2
    assert place.states() == {"grpo/1": "failed", "grpo-fast/1": "complete"}


def test_attempts_are_bounded(place: ToyPlace) -> None:
    """A worker that dies elsewhere each time is started execution.attempts times; then it waits for the next command."""
    place.write(edited(SUITE, {"[execution]": "[execution]\nattempts = 2"}))
    faults = {"TOY_FAULT": "kill@step 2 begins;kill@step 5 begins;kill@step 7 begins", "TOY_FAULT_ONCE": str(place.folder)}
    result, text = place.run(only="grpo/1", **faults)
    assert result.exit_code == 1
    assert "killed by signal 9 (SIGKILL) at step 4, attempt 2 of 2; start the same command again to go on" in text
    assert place.states()["grpo/1"] == "interrupted"
    assert place.run(only="grpo/1", **faults)[0].exit_code == 0


@pytest.mark.fault("a worker that hangs, twice at one step", "killed by the watchdog, then a failure with a sentence", times=2)
def test_a_silent_worker_is_stopped(place: ToyPlace) -> None:
    """A worker that records nothing for silence_seconds is killed; hanging twice at one step is a failure."""
    place.write(edited(SUITE, {"[execution]": "[execution]\nsilence_seconds = 3.0"}))
    result, text = place.run(TOY_FAULT="hang@step 5 begins&grpo/1")
    assert result.exit_code == 1
    assert "bandit/grpo/1: stopped after recording nothing for 3 s at step 4; starting it again" in text
    assert "stopped after recording nothing for 3 s twice at step 4 (often a reward function" in text
    assert place.states() == {"grpo/1": "failed", "grpo-fast/1": "complete"}


@pytest.mark.fault("Ctrl-C", "workers end, no torn line, exit code 130; the next command goes on")
def test_ctrl_c_ends_cleanly(place: ToyPlace) -> None:
    """Ctrl-C asks the workers to end, says how to go on, leaves no process and no torn line; exit code 130."""
    process = start_slow(place)
    workers = children(process.pid)
    process.send_signal(signal.SIGINT)
    _, stderr = process.communicate(timeout=10)
    assert process.returncode == 130
    assert "stopped; 'halfway run toy.toml --max-parallel 2' goes on from the last checkpoints" in stderr
    assert "Traceback" not in stderr
    assert len(workers) == 2
    assert not any(alive(pid) for pid in workers)
    for folder in place.folders().values():
        assert (folder / "ledger.jsonl").read_bytes().endswith(b"\n")
        assert "Traceback" not in (folder / "attempts" / "1" / "log.txt").read_text()
    assert set(place.states().values()) == {"interrupted"}


def test_second_ctrl_c_kills(place: ToyPlace) -> None:
    """Workers that do not listen are killed by the second Ctrl-C."""
    process = start_slow(place)
    workers = children(process.pid)
    for pid in workers:
        os.kill(pid, signal.SIGSTOP)
    process.send_signal(signal.SIGINT)
    time.sleep(0.3)
    assert process.poll() is None
    process.send_signal(signal.SIGINT)
    process.communicate(timeout=10)
    assert process.returncode == 130
    assert not any(alive(pid) for pid in workers)


@pytest.mark.fault("SIGKILL of the runner", "its workers end with it; the next command goes on at once")
def test_workers_die_with_the_runner(place: ToyPlace) -> None:
    """When the runner is killed, its workers do not train on unseen; the next command starts at once."""
    process = start_slow(place)
    workers = children(process.pid)
    process.kill()
    process.wait()
    wait_for(lambda: not any(alive(pid) for pid in workers), 5)
    assert set(place.states().values()) == {"interrupted"}


@pytest.mark.fault("a second command on the same folder", "refused with a sentence, nothing changed")
def test_two_commands_on_one_folder(place: ToyPlace) -> None:
    """The second refuses with a message and changes nothing; status shows that the runs are running."""
    process = start_slow(place)
    assert set(place.states().values()) == {"running"}
    second = place.halfway("run", "toy.toml")
    assert second.returncode == 2
    assert f"runs/toy is being run by process {process.pid} on " in second.stderr
    assert "wait for it (--wait), stop it, or choose another --runs-dir" in second.stderr
    assert process.poll() is None
    folder = place.folders()["grpo/1"]
    third = place.worker(folder)
    assert third.returncode == 2
    assert "is being worked on by process" in third.stderr
    assert len(list(folder.glob("attempts/*"))) == 1


@pytest.mark.fault("a second command with --wait", "starts when the first is through")
def test_waiting_for_another_command(place: ToyPlace) -> None:
    """With --wait the second command starts when the first is through."""
    place.runs.mkdir(parents=True)
    lock = FileLock(place.runs / ".lock")
    assert lock.acquire()
    second = place.start("run", "toy.toml", "--only", "strategy=grpo", "--wait")
    assert second.stderr is not None
    assert f"waiting for process {os.getpid()} on " in second.stderr.readline()
    assert not list(place.runs.glob("*/ledger.jsonl"))
    lock.release()
    second.communicate(timeout=30)
    assert second.returncode == 0


def test_never_more_than_max_parallel(place: ToyPlace) -> None:
    """--max-parallel 1 runs one after the other; what runs share is built once, before."""
    trace = place.folder / "trace"
    result, text = place.run(max_parallel=1, TOY_TRACE=str(trace), TOY_STEP_SECONDS="0.02")
    assert result.exit_code == 0
    events = trace.read_text().splitlines()
    assert events.count("prepare") == 1
    assert events[0] == "prepare"
    first = [event for event in events if event.startswith("step 1 begins") or event == "trained"]
    assert first == ["step 1 begins", "trained", "step 1 begins", "trained"]
    assert text.index("bandit/grpo/1: complete") < text.index("bandit/grpo-fast/1: started")
    logs = [read_ledger(p) for p in place.runs.glob("*/ledger.jsonl")]
    assert [log.one_off[0].seconds for log in logs] == [1.5, 1.5]


def test_threads_and_environment_reach_the_worker(place: ToyPlace) -> None:
    """The attempt's record holds versions, hardware and a fingerprint that depends on the threads per run."""
    fingerprints = []
    for threads in (1, 2):
        run = new_run(place.folder / str(threads), edited(SUITE, {"[execution]": f"[execution]\nthreads = {threads}"}))
        assert fork_attempt(run) == 0
        environment = read_ledger(run / "ledger.jsonl").environment
        assert environment["threads"] == threads
        assert environment["cores"] >= 1
        assert environment["versions"]["numpy"]
        assert environment["versions"]["toy"] == "1.0"
        fingerprints.append(environment["fingerprint"])
    assert fingerprints[0] != fingerprints[1]
