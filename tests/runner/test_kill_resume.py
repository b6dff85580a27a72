"""Killed anywhere, resumed, and nobody can tell: same selections, same evaluation points, nothing reported twice."""

from __future__ import annotations

import json
import signal
from collections.abc import Callable
from pathlib import Path

import pytest
from toy_place import SUITE, fork_attempt, new_run, what_counts

from harness.records.ledger import read_ledger
from harness.records.run_folder import RunPaths, check_spec, run_status
from tests.edits import edited

pytestmark = pytest.mark.end_to_end

SHORT = edited(SUITE, {"max_steps = 8": "max_steps = 5", "checkpoint_every_steps = 3": "checkpoint_every_steps = 2"})
RR = edited(SHORT, {'[[strategies]]\nname = "grpo"\n\n': '[[strategies]]\nname = "rr"\nlabel = "grpo"\nconfig = { capacity = 16 }\n\n'})


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory: pytest.TempPathFactory) -> tuple[dict[str, object], list[str]]:
    """What an undisturbed run with replay records, and every event on its way."""
    folder = tmp_path_factory.mktemp("undisturbed")
    run = new_run(folder, RR)
    trace = folder / "trace"
    assert fork_attempt(run, TOY_TRACE=str(trace)) == 0
    return what_counts(run), trace.read_text().splitlines()


@pytest.mark.fault("SIGKILL of a worker at every event of a run, then once more", "same records as undisturbed")
def test_killed_at_every_event(
    tmp_path: Path, undisturbed: tuple[dict[str, object], list[str]], record_property: Callable[[str, object], None]
) -> None:
    """SIGKILL at each event (around every ledger line, between the files of every checkpoint), then once more elsewhere."""
    expected, events = undisturbed
    assert len(events) > 25
    assert any("half written" in event for event in events)
    record_property("times", 2 * len(events))
    for i, event in enumerate(events):
        run = new_run(tmp_path / str(i), RR)
        for where in (event, events[(3 * i + 5) % len(events)]):
            code = fork_attempt(run, TOY_FAULT=f"kill@{where}")
            assert code in (-signal.SIGKILL, 0)
        assert fork_attempt(run) == 0
        assert what_counts(run) == expected, event
        assert run_status(RunPaths(run), check_spec(RunPaths(run))).state == "complete"


def test_time_lost_in_a_crash_is_lost_and_not_counted(tmp_path: Path) -> None:
    """Steps after the last checkpoint are done again; their seconds are lost seconds, not training seconds."""
    run = new_run(tmp_path, SHORT)
    assert fork_attempt(run, TOY_FAULT="kill@step 4 begins", TOY_STEP_SECONDS="0.05") == -signal.SIGKILL
    assert fork_attempt(run, TOY_STEP_SECONDS="0.05") == 0
    log = read_ledger(run / "ledger.jsonl")
    assert [attempt.resumed_from for attempt in log.attempts] == [0, 2]
    written = [json.loads(line) for line in (run / "ledger.jsonl").read_text().splitlines()]
    lost = next(record for record in written if record["type"] == "step" and record["step"] == 3)
    assert log.lost_seconds == lost["seconds"] >= 0.05
    assert log.steps[-1].costs.training_seconds == pytest.approx(sum(s.seconds for s in log.steps), abs=0.01)
    assert [s.step for s in log.steps] == [1, 2, 3, 4, 5]


def test_more_steps_extend_a_finished_run(tmp_path: Path) -> None:
    """Raising max_steps goes on from the last checkpoint and ends where one long run ends."""
    longer = edited(SHORT, {"max_steps = 5": "max_steps = 9"})
    expected = new_run(tmp_path / "long", longer)
    assert fork_attempt(expected) == 0
    run = new_run(tmp_path / "short", SHORT)
    assert fork_attempt(run) == 0
    check_spec(RunPaths(expected)).save(run / "spec.json")
    assert fork_attempt(run) == 0
    log = read_ledger(run / "ledger.jsonl")
    assert [attempt.resumed_from for attempt in log.attempts] == [0, 5]
    assert what_counts(run)["steps"] == what_counts(expected)["steps"]
    assert {e.step for e in log.evaluations} >= {0, 2, 4, 6, 8, 9}
    assert log.complete


def test_a_finished_run_is_never_touched(tmp_path: Path) -> None:
    """A worker on a run that is done changes no byte."""
    run = new_run(tmp_path, SHORT)
    assert fork_attempt(run) == 0
    before = {p: p.read_bytes() for p in run.rglob("*") if p.is_file() and p.name != "lock"}
    assert fork_attempt(run) == 0
    assert {p: p.read_bytes() for p in run.rglob("*") if p.is_file() and p.name != "lock"} == before


def test_a_budget_stops_at_a_checkpoint_and_can_be_raised(tmp_path: Path) -> None:
    """A run stops at the first checkpoint past its budget; with a larger budget it goes on and loses nothing."""
    unlimited = new_run(tmp_path / "a", SHORT)
    assert fork_attempt(unlimited) == 0
    run = new_run(tmp_path / "b", SHORT + "\n[budget]\ngenerated_tokens = 60\n")  # 24 tokens a step: passed at step 3
    assert run.name == unlimited.name
    for _ in range(2):  # the second command finds nothing to do
        assert fork_attempt(run) == 0
        log = read_ledger(run / "ledger.jsonl")
        assert (log.steps[-1].step, log.complete, len(log.attempts)) == (4, False, 1)
        assert run_status(RunPaths(run), check_spec(RunPaths(run))).state == "exhausted"
    check_spec(RunPaths(unlimited)).save(run / "spec.json")
    assert fork_attempt(run) == 0
    assert what_counts(run) == what_counts(unlimited)
    assert read_ledger(run / "ledger.jsonl").lost_seconds == 0
