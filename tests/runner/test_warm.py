"""Workers forked from a warm one: the same runs, the same isolation, and every import paid once."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest
from toy_place import SUITE, ToyPlace, alive, children, fork_attempt, new_run, wait_for, what_counts

from harness.records.ledger import read_ledger
from tests.edits import edited

WARM = edited(SUITE, {"toy_engine:ToyBackend": "warm_toy:WarmToy"})
SLOW = edited(WARM, {"max_steps = 8": "max_steps = 400"})


def warm_place(place: ToyPlace, text: str = WARM) -> ToyPlace:
    """The toy place with a backend that preloads; the events of its runs are in the file ``trace``."""
    place.write(text)
    place.environment["TOY_TRACE"] = str(place.folder / "trace")
    return place


def preloads(place: ToyPlace) -> list[int]:
    """Process ids of the warm workers that there have been."""
    return [int(line.split()[1]) for line in traced(place) if line.startswith("preload ")]


def traced(place: ToyPlace) -> list[str]:
    trace = place.folder / "trace"
    return trace.read_text(encoding="utf-8").splitlines() if trace.exists() else []


def steps(folder: Path) -> int:
    ledger = folder / "ledger.jsonl"
    return ledger.read_bytes().count(b"\n") if ledger.exists() else 0


def in_the_middle(place: ToyPlace, *words: str) -> subprocess.Popen[str]:
    """A command whose two forked runs are in the middle of training."""
    warm_place(place, SLOW)
    process = place.start("run", "toy.toml", "--max-parallel", "2", *words, TOY_STEP_SECONDS="0.05")
    wait_for(lambda: all(steps(folder) > 5 for folder in place.folders().values()))
    return process


def test_forked_runs_are_the_runs_of_separate_processes(place: ToyPlace) -> None:
    """Preparation and both runs come from one warm worker, each in a session of its own; records equal those without it."""
    result, _ = warm_place(place).run()
    assert result.exit_code == 0
    assert len(preloads(place)) == 1
    forked = {name: what_counts(folder) for name, folder in place.folders().items()}
    (place.folder / "runs").rename(place.folder / "forked")
    result, _ = place.run(HALFWAY_WARM="0")
    assert result.exit_code == 0
    assert len(preloads(place)) == 1
    assert {name: what_counts(folder) for name, folder in place.folders().items()} == forked


@pytest.mark.fault("SIGKILL of a worker forked from a warm one", "the warm one forks it again; same records as undisturbed")
def test_a_killed_fork_is_forked_again(place: ToyPlace) -> None:
    """The signal that killed a fork is known, its warm worker lives on, and the run ends as a calm one."""
    once = place.folder / "once"
    once.mkdir()
    result, text = warm_place(place).run(TOY_FAULT="kill@step 5 begins&grpo/1", TOY_FAULT_ONCE=str(once))
    assert result.exit_code == 0
    assert "bandit/grpo/1: killed by signal 9 (SIGKILL) at step 4; starting it again" in text
    assert len(preloads(place)) == 1
    calm = new_run(place.folder / "calm", WARM)
    assert fork_attempt(calm) == 0
    assert what_counts(place.folders()["grpo/1"]) == what_counts(calm)


@pytest.mark.parametrize(
    ("fault", "code", "words"),
    [
        ("segv", 1, "killed by signal 11 (SIGSEGV) twice at step 4 (see "),
        ("exit", 1, "its worker ended with code 9 (log: "),
        ("user", 2, "toy engine 2.0 is not installed; pip install toy"),
    ],
)
def test_how_a_fork_ended_is_known(place: ToyPlace, fault: str, code: int, words: str) -> None:
    """Signals, exit codes and the last words of a fork are those of a process."""
    result, text = warm_place(place).run(only="grpo/1", TOY_FAULT=f"{fault}@step 5 begins")
    assert (result.exit_code, len(preloads(place))) == (code, 1)
    assert words in text


@pytest.mark.fault("SIGKILL of a warm worker", "its forks end with it; a new one takes their place, same records as undisturbed")
def test_a_dead_warm_worker_is_started_again(place: ToyPlace) -> None:
    """Its forks die with it and are started again from their checkpoints, from a new warm worker."""
    warm_place(place, edited(WARM, {"max_steps = 8": "max_steps = 40"}))
    process = place.start("run", "toy.toml", "--max-parallel", "2", TOY_STEP_SECONDS="0.05")
    wait_for(lambda: all(steps(folder) > 5 for folder in place.folders().values()))
    (warm,) = preloads(place)
    forks = children(warm)
    assert len(forks) == 2
    os.kill(warm, signal.SIGKILL)
    wait_for(lambda: not any(alive(pid) for pid in forks), 5)
    _, stderr = process.communicate(timeout=60)
    assert process.returncode == 0, stderr
    assert stderr.count("killed by signal 9 (SIGKILL)") == 2
    assert len(preloads(place)) == 2
    calm = new_run(place.folder / "calm", place.suite.read_text(encoding="utf-8"))
    assert fork_attempt(calm) == 0
    assert what_counts(place.folders()["grpo/1"]) == what_counts(calm)


@pytest.mark.parametrize("fault", ["raise", "thread"])
def test_where_forking_does_not_suit_workers_start_by_themselves(place: ToyPlace, fault: str) -> None:
    """An import that fails, or that leaves a thread behind, costs nothing but the fork."""
    result, text = warm_place(place).run(TOY_PRELOAD=fault)
    assert result.exit_code == 0, text
    assert "killed" not in text
    assert len(preloads(place)) == 1  # nor is it tried for every run


def test_plugins_are_imported_in_forks_alone(place: ToyPlace) -> None:
    """A plugin is read anew by every run, and cannot harm the warm worker."""
    noisy = edited(WARM, {'name = "grpo"\nlabel = "grpo-fast"': 'name = "noisy"\nplugin = "noisy_plugin:Noisy"\nlabel = "grpo-fast"'})
    warm_place(place, noisy)
    done = place.halfway("run", "toy.toml")
    assert done.returncode == 0, done.stderr
    imported = {int(line.split()[1]) for line in traced(place) if line.startswith("plugin ")}
    assert len(imported) == 2  # the command, the run
    assert not imported & set(preloads(place))


def test_ctrl_c_ends_forks_and_their_warm_worker(place: ToyPlace) -> None:
    """Exit code 130, no process left, no torn line."""
    process = in_the_middle(place)
    (warm,) = preloads(place)
    forks = children(warm)
    process.send_signal(signal.SIGINT)
    _, stderr = process.communicate(timeout=10)
    assert process.returncode == 130
    assert "Traceback" not in stderr
    assert len(forks) == 2
    assert not any(alive(pid) for pid in [warm, *forks])
    assert set(place.states().values()) == {"interrupted"}
    for folder in place.folders().values():
        assert (folder / "ledger.jsonl").read_bytes().endswith(b"\n")


def test_ctrl_c_does_not_wait_for_imports(place: ToyPlace) -> None:
    """Asked to end while the warm worker still imports, the command ends at once."""
    warm_place(place)
    process = place.start("run", "toy.toml", TOY_PRELOAD_SECONDS="60")
    (warm,) = wait_for(lambda: preloads(place))
    process.send_signal(signal.SIGINT)
    process.communicate(timeout=10)
    assert process.returncode == 130
    assert not alive(warm)


def test_second_ctrl_c_kills_forks(place: ToyPlace) -> None:
    """Forks that do not listen are killed by the second Ctrl-C."""
    process = in_the_middle(place)
    forks = children(preloads(place)[0])
    for pid in forks:
        os.kill(pid, signal.SIGSTOP)
    process.send_signal(signal.SIGINT)
    with pytest.raises(subprocess.TimeoutExpired):
        process.wait(timeout=0.5)
    process.send_signal(signal.SIGINT)
    process.communicate(timeout=10)
    assert process.returncode == 130
    assert not any(alive(pid) for pid in forks)


@pytest.mark.fault("SIGKILL of the runner of forked workers", "warm worker and forks end with it; the next command goes on at once")
def test_forks_die_with_the_runner(place: ToyPlace) -> None:
    """No warm worker and no fork outlives the command."""
    process = in_the_middle(place)
    (warm,) = preloads(place)
    forks = children(warm)
    process.kill()
    process.wait()
    wait_for(lambda: not any(alive(pid) for pid in [warm, *forks]), 5)
    assert set(place.states().values()) == {"interrupted"}


@pytest.mark.fault("a forked worker that hangs, twice at one step", "killed by the watchdog, then a failure with a sentence", times=2)
def test_a_silent_fork_is_stopped(place: ToyPlace) -> None:
    """The watchdog sees forks as it sees processes."""
    warm_place(place, edited(WARM, {"[execution]": "[execution]\nsilence_seconds = 3.0"}))
    result, text = place.run(TOY_FAULT="hang@step 5 begins&grpo/1")
    assert result.exit_code == 1
    assert "stopped after recording nothing for 3 s twice at step 4" in text
    assert place.states() == {"grpo/1": "failed", "grpo-fast/1": "complete"}
    assert len(preloads(place)) == 1


def test_variables_and_threads_reach_a_fork(place: ToyPlace) -> None:
    """The attempt's record holds the run's threads; its log is its own."""
    warm_place(place, edited(WARM, {"[execution]": "[execution]\nthreads = 2"}))
    result, _ = place.run(only="grpo/1")
    assert result.exit_code == 0
    folder = place.folders()["grpo/1"]
    assert read_ledger(folder / "ledger.jsonl").environment["threads"] == 2
    assert (folder / "attempts" / "1" / "log.txt").is_file()


ENDING = """
import atexit, sys
from harness.worker.leaving import leaving_at_once

class Slow:
    def __del__(self):
        print("taken apart")

def work():
    global kept, slow
    kept, slow = open(sys.argv[1], "w"), Slow()
    slow.itself = slow
    kept.write("unflushed")
    atexit.register(print, "exit handler")
    print("worked")
    return 7

sys.exit(leaving_at_once(work))
"""


def test_leaving_at_once_writes_everything(tmp_path: Path) -> None:
    """Exit handlers run, open files are written, the exit code stands; only the taking apart is left out."""
    file = tmp_path / "kept.txt"
    done = subprocess.run([sys.executable, "-c", ENDING, str(file)], capture_output=True, text=True, check=False, timeout=60)
    assert (done.returncode, done.stdout, done.stderr) == (7, "worked\nexit handler\n", "")
    assert file.read_text(encoding="utf-8") == "unflushed"
