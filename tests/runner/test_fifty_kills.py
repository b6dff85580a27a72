"""A suite under fire: fifty SIGKILLs at random moments, of the command and of its workers; the end is that of a calm one."""

from __future__ import annotations

import os
import random
import signal
import time
from pathlib import Path

import pytest
from toy_place import SUITE, ToyPlace, alive, children, fork_attempt, in_a_child, new_run, wait_for, what_counts

from harness.machine.environment import package_versions
from harness.records.ledger import read_ledger
from harness.suite.reader import load_suite
from harness.suite.suite import plan
from tests.edits import edited

pytestmark = pytest.mark.end_to_end

KILLS = 50
LONG = edited(SUITE, {"seeds = [1]": "seeds = [1, 2]", "max_steps = 8": "max_steps = 150", "every_steps = 2": "every_steps = 10"})


@pytest.mark.fault("SIGKILL of runners and workers at random moments", "same records as undisturbed", times=50)
@pytest.mark.slow
@pytest.mark.timeout(600)
def test_fifty_kills(place: ToyPlace, tmp_path_factory: pytest.TempPathFactory) -> None:
    """Whichever process is killed whenever: every run is finished once, with the records of a run that nobody disturbed."""
    place.write(LONG)
    package_versions()
    dice, killed = random.Random(11), {"command": 0, "worker": 0}
    command = start(place)
    while sum(killed.values()) < KILLS:
        if dice.random() < 0.3:  # whatever is going on then: starting, preparing, training, ending
            time.sleep(dice.uniform(0, 0.4))
        else:
            goal = lines(place) + dice.randint(1, 20)
            wait_for(lambda pid=command, more=goal: ended(pid) or lines(place) >= more, 240)
            time.sleep(dice.uniform(0, 0.03))
        worker_next = dice.random() < 0.5
        if worker_next:  # a command that has just started has none yet, and on a slow machine for long
            wait_for(lambda pid=command: children(pid) or ended(pid), 240)
        workers = children(command)
        if workers and worker_next:
            killed["worker"] += kill(dice.choice(workers))
        else:
            killed["command"] += kill(command)
            os.waitpid(command, 0)
            wait_for(lambda gone=workers: not any(alive(pid) for pid in gone), 120)
            assert set(place.states().values()) != {"complete"}, "the suite was done before it had been killed often enough"
            command = start(place)
    kill(command)
    os.waitpid(command, 0)
    assert min(killed.values()) >= 15
    code, words = in_a_child(lambda: place.run(retry_failed=True)[0].exit_code)
    assert code == 0, words
    folders = place.folders()
    assert {path.parent for path in place.runs.glob("*/ledger.jsonl")} == set(folders.values())
    attempts = 0
    for index, spec in enumerate(plan(load_suite(place.suite))):
        run = folders[f"{spec.strategy.label}/{spec.seed}"]
        calm = new_run(tmp_path_factory.mktemp("calm"), LONG, index)
        assert fork_attempt(calm) == 0
        assert what_counts(run) == what_counts(calm)
        assert (run / "ledger.jsonl").read_bytes().count(b'{"type":"complete"') == 1
        attempts += len(read_ledger(run / "ledger.jsonl").attempts)
    assert attempts >= KILLS / 3


def start(place: ToyPlace) -> int:
    """What ``halfway run`` does, in a forked process; its pid."""
    child = os.fork()
    if child == 0:
        try:
            os.dup2(os.open(os.devnull, os.O_WRONLY), 2)
            place.run(retry_failed=True, TOY_STEP_SECONDS="0.01")
        finally:
            os._exit(0)
    return child


def lines(place: ToyPlace) -> int:
    """Lines in all ledgers."""
    return sum(path.read_bytes().count(b"\n") for path in place.runs.glob("*/ledger.jsonl"))


def ended(pid: int) -> bool:
    """Whether the process has ended, reaped or not."""
    return not alive(pid) or Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] == "Z"


def kill(pid: int) -> bool:
    """SIGKILL; False if it was gone already."""
    try:
        os.kill(pid, signal.SIGKILL)
    except ProcessLookupError:
        return False
    return True
