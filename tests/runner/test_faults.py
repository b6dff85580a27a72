"""What goes wrong in a worker: one sentence, the right exit code, nothing lost, and the other runs go on."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
from pathlib import Path

import pytest
from toy_place import SUITE, ToyPlace, fork_attempt, new_run, what_counts

from harness.errors import UserError
from harness.records.ledger import read_ledger
from harness.records.other_runs import other_runs
from harness.records.run_folder import RunPaths, check_spec, run_status
from harness.suite.reader import load_suite
from harness.suite.suite import plan
from tests.edits import edit_file, edited

pytestmark = pytest.mark.end_to_end

#: fault -> (exit code of the worker, kind in the ledger, words)
FAULTS = {
    "nan": (3, "nan", "the loss is NaN at step 3; lower the learning rate"),
    "user": (2, "input", "toy engine 2.0 is not installed; pip install toy"),
    "bug": (4, "error", "unexpected ZeroDivisionError after step 2: a bug in the engine (traceback in "),
    "memory": (3, "memory", "out of memory after step 2: lower execution.micro_batch_rollouts"),
    "disk": (2, "disk", "cannot write model.safetensors: No space left on device; free some space and start the same command again"),
}


@pytest.mark.parametrize("fault", FAULTS)
def test_a_worker_says_why(place: ToyPlace, fault: str) -> None:
    """The sentence is in the ledger and the last thing on stderr; a traceback is in the log and nowhere else."""
    code, kind, words = FAULTS[fault]
    run = new_run(place.folder)
    done = place.worker(run, TOY_FAULT=f"{fault}@step 3 begins")
    assert done.returncode == code
    assert words in done.stderr
    assert done.stderr.count("\n") == 1
    assert done.stdout == ""
    log = read_ledger(run / "ledger.jsonl")
    assert log.failure is not None
    assert log.failure.kind == kind
    assert words in log.failure.message
    assert "Traceback" in (run / "attempts" / "1" / "log.txt").read_text()
    assert json.loads((run / "attempts" / "1" / "env.json").read_text())["versions"]["toy"] == "1.0"
    assert run_status(RunPaths(run), check_spec(RunPaths(run))).mendable == (kind in ("input", "disk", "memory"))
    assert fork_attempt(run) == 0
    calm = new_run(place.folder / "calm")
    assert fork_attempt(calm) == 0
    assert what_counts(run) == what_counts(calm)


def test_one_failure_does_not_stop_the_others(place: ToyPlace) -> None:
    """A run that fails is reported with its sentence and is not tried again unasked; the rest is completed: exit code 1."""
    result, text = place.run(TOY_FAULT="nan@step 3 begins&grpo/1")
    assert result.exit_code == 1
    assert "bandit/grpo/1: failed: the loss is NaN at step 3; lower the learning rate" in text
    assert place.states() == {"grpo/1": "failed", "grpo-fast/1": "complete"}
    result, _ = place.run()
    assert result.exit_code == 1
    assert result.outcomes[0].status.failure == "the loss is NaN at step 3; lower the learning rate"
    assert len(list(place.runs.glob("*/attempts/*"))) == 2, "what failed for good was run again unasked"
    assert place.run(retry_failed=True)[0].exit_code == 0
    assert set(place.states().values()) == {"complete"}


def test_what_can_be_mended_is_tried_by_the_next_command(place: ToyPlace) -> None:
    """After a full disk, the same command goes on."""
    assert place.run(TOY_FAULT="disk@step 3 begins&grpo/1")[0].exit_code == 1
    assert place.run()[0].exit_code == 0


def test_a_missing_backend_is_one_sentence(place: ToyPlace) -> None:
    """A missing extra is found before any run starts: a sentence, exit code 2; the next command tries again."""
    result, text = place.run(TOY_MISSING="1")
    assert result.exit_code == 2
    words = "backend 'toy_engine:ToyBackend' cannot run here: toy is not installed; pip install 'halfway[toy]' (supported: toy 1.x)"
    assert words in text
    assert not list(place.runs.glob("*/ledger.jsonl"))
    assert place.run(only="grpo/1")[0].exit_code == 0


@pytest.mark.parametrize(
    ("fault", "words"),
    [
        ("bug", "unexpected ZeroDivisionError: a bug in the engine"),
        ("kill", "killed by signal 9"),
        ("hang", "showed no progress for 1 s and was stopped"),
    ],
)
def test_preparation_that_fails(place: ToyPlace, fault: str, words: str) -> None:
    """If what runs share cannot be built, none of them is started, and each says why."""
    if fault == "hang":
        place.write(edited(SUITE, {"[execution]": "[execution]\nsilence_seconds = 1.0"}))
    result, text = place.run(TOY_FAULT=f"{fault}@prepare")
    assert result.exit_code == 1
    assert text.count("failed: preparing bandit failed: ") == 2
    assert words in text
    assert not list(place.runs.glob("*/ledger.jsonl"))


def test_an_interpreter_that_is_not_there(place: ToyPlace) -> None:
    """HALFWAY_PYTHON_<BACKEND> names the interpreter of a backend; a wrong path is a sentence, not a traceback."""
    result, text = place.run(HALFWAY_PYTHON_TOY_ENGINE_TOYBACKEND="/no/such/python")
    assert result.exit_code == 2
    assert "/no/such/python (from HALFWAY_PYTHON_TOY_ENGINE_TOYBACKEND), is not a program that can be started" in text


def test_an_interpreter_without_halfway(place: ToyPlace) -> None:
    """A Python that lacks Halfway is named, with what to do."""
    wrapper = place.folder / "bare"
    wrapper.write_text(f'#!/bin/sh\nexec {sys.executable} -I -S "$@"\n')
    wrapper.chmod(0o755)
    result, text = place.run(HALFWAY_PYTHON_TOY_ENGINE_TOYBACKEND=str(wrapper))
    assert result.exit_code == 1
    assert f"{wrapper} has no halfway: install it there" in text


def test_another_interpreter_runs_the_workers(place: ToyPlace) -> None:
    """The interpreter of execution.python is the one that the worker runs in."""
    wrapper = place.folder / "mypython"
    wrapper.write_text(f'#!/bin/sh\necho used >> {place.folder}/used\nexec {sys.executable} "$@"\n')
    wrapper.chmod(0o755)
    place.write(edited(SUITE, {"[execution]": f'[execution]\npython = {{ "toy_engine:ToyBackend" = "{wrapper}" }}'}))
    assert place.run(only="grpo/1")[0].exit_code == 0
    assert (place.folder / "used").read_text().count("used") == 2  # prepare, run


# -- ledgers and checkpoints ---------------------------------------------------------------------------------------


def stopped(folder: Path) -> Path:
    """A run killed after step 4, with a checkpoint of step 3."""
    run = new_run(folder)
    assert fork_attempt(run, TOY_FAULT="kill@step 4 written") == -signal.SIGKILL
    return run


@pytest.mark.fault("a torn last ledger line", "cut off; same records as undisturbed")
def test_a_torn_last_line_is_cut(tmp_path: Path) -> None:
    """The mark of a crash while writing; the run goes on."""
    run, calm = stopped(tmp_path / "a"), new_run(tmp_path / "b")
    with open(run / "ledger.jsonl", "ab") as file:
        file.write(b'{"type":"step","step":5,"question_ids":[1,')
    assert fork_attempt(run) == 0
    assert fork_attempt(calm) == 0
    assert what_counts(run) == what_counts(calm)


def test_a_torn_first_line(tmp_path: Path) -> None:
    """A crash while the very first line was written leaves no trace."""
    run = new_run(tmp_path)
    (run / "ledger.jsonl").write_bytes(b'{"type":"run","schema":1,')
    assert fork_attempt(run) == 0
    assert read_ledger(run / "ledger.jsonl").complete


BROKEN = {
    "bit flip": (lambda data: data.replace(b'"loss":', b'"lost":', 1), "line "),
    "newer schema": (lambda data: data.replace(b'"schema":1', b'"schema":2'), "line 1"),
    "lost lines": (lambda data: b"".join(data.splitlines(keepends=True)[:4]), "is ahead of its ledger"),
    "no first line": (lambda data: b"".join(data.splitlines(keepends=True)[1:]), "line 1"),
}


@pytest.mark.fault("a ledger damaged in the middle", "refused with file and line, exit code 2, evidence unchanged")
@pytest.mark.parametrize("damage", BROKEN)
def test_a_damaged_ledger_is_refused(place: ToyPlace, damage: str) -> None:
    """File, line and what to do; exit code 2; not a byte of the evidence is changed."""
    run = stopped(place.folder)
    change, words = BROKEN[damage]
    damaged = change((run / "ledger.jsonl").read_bytes())
    assert damaged != (run / "ledger.jsonl").read_bytes()
    (run / "ledger.jsonl").write_bytes(damaged)
    done = place.worker(run)
    assert done.returncode == 2
    assert f"{run}/ledger.jsonl" in done.stderr
    assert words in done.stderr
    assert "move the run's folder away" in done.stderr
    assert done.stderr.count("\n") == 1
    assert (run / "ledger.jsonl").read_bytes() == damaged


def test_a_damaged_ledger_does_not_stop_the_others(place: ToyPlace) -> None:
    """The command reports the damaged run and completes the other."""
    place.run(only="grpo/1", TOY_FAULT="bug@step 4 begins")
    ledger = place.folders()["grpo/1"] / "ledger.jsonl"
    edit_file(ledger, {'"loss":': '"lost":'}, "first")
    result, text = place.run(retry_failed=True)
    assert result.exit_code == 1
    assert "ledger.jsonl, line " in text
    assert "the checksum does not match" in text
    assert result.outcomes[1].done


def test_a_ledger_of_a_newer_halfway(tmp_path: Path) -> None:
    """A newer schema is refused with a message before anything is written."""
    from harness.records.ledger import _seal

    run = new_run(tmp_path)
    line = _seal(json.dumps({"type": "run", "schema": 99, "run_id": run.name, "spec": {}}).encode())
    (run / "ledger.jsonl").write_bytes(line)
    assert fork_attempt(run) == 2
    assert (run / "ledger.jsonl").read_bytes() == line


def test_a_checkpoint_of_another_version(place: ToyPlace) -> None:
    """A checkpoint that this version cannot read is named, with what to do."""
    run = stopped(place.folder)
    state = run / "checkpoints" / "step-3" / "halfway.state.json"
    edit_file(state, {'{"schema": 1': '{"schema": 7'})
    done = place.worker(run)
    assert done.returncode == 2
    assert "checkpoint schema 7" in done.stderr
    assert "step-3" in done.stderr


@pytest.mark.fault("a ledger in the wrong run folder", "refused with both ids")
def test_the_ledger_of_another_run(place: ToyPlace) -> None:
    """A ledger copied into the wrong folder is refused: one run's answers are never reported as another's."""
    first, second = new_run(place.folder / "a"), new_run(place.folder / "b", index=1)
    assert fork_attempt(first) == 0
    (second / "ledger.jsonl").write_bytes(b"".join((first / "ledger.jsonl").read_bytes().splitlines(keepends=True)[:2]))
    done = place.worker(second)
    assert done.returncode == 2
    assert f"is the ledger of run {first.name}, not of {second.name}" in done.stderr


# -- full disks ----------------------------------------------------------------------------------------------------


@pytest.mark.fault("a disk that fills up while a run trains", "one sentence, exit code 2; with room again the same records as undisturbed")
@pytest.mark.parametrize("share", [0.005, 0.02, 0.06, 0.3, 0.6, 0.95])
def test_a_disk_that_fills_up(place: ToyPlace, share: float) -> None:
    """Files may grow to a share of the ledger's size only (the kernel refuses more): one sentence, code 2, and nothing is lost."""
    calm = new_run(place.folder / "calm")
    assert fork_attempt(calm) == 0
    limit = int(share * (calm / "ledger.jsonl").stat().st_size)
    run = new_run(place.folder)
    limited = (
        "import resource, signal, sys; signal.signal(signal.SIGXFSZ, signal.SIG_IGN); "
        f"resource.setrlimit(resource.RLIMIT_FSIZE, ({limit}, {limit})); from harness.worker.__main__ import main; sys.exit(main())"
    )
    done = subprocess.run(
        [sys.executable, "-B", "-c", limited, str(run)], cwd=place.folder, env=place.env(), capture_output=True, text=True, timeout=60
    )
    assert done.returncode == 2, done.stderr
    assert "free some space and start the same command again" in done.stderr
    assert done.stderr.count("\n") == 1
    assert fork_attempt(run) == 0
    assert what_counts(run) == what_counts(calm)


def test_a_runs_folder_that_cannot_be_written(place: ToyPlace) -> None:
    """A file where a folder should be, for example: a sentence and code 2."""
    (place.folder / "runs").write_text("not a folder")
    with pytest.raises(UserError, match="cannot use the runs folder runs/toy"):
        place.run()


# -- folders and suites that changed -------------------------------------------------------------------------------


def test_a_suite_edited_between_runs(place: ToyPlace) -> None:
    """Changed settings make new runs; the old folders are left alone; unchanged runs are not touched."""
    assert place.run()[0].exit_code == 0
    before = {p: p.stat().st_mtime_ns for p in place.runs.glob("*/ledger.jsonl")}
    place.write(edited(SUITE, {"learning_rate = 5e-3": "learning_rate = 4e-3"}))
    assert place.states() == {"grpo/1": "complete", "grpo-fast/1": "pending"}
    assert place.run()[0].exit_code == 0
    assert {p: p.stat().st_mtime_ns for p in before} == before
    assert len(list(place.runs.glob("*/ledger.jsonl"))) == 3
    assert len(other_runs(place.folder / "runs", plan(load_suite(place.suite))).other_settings) == 1


def test_only_execution_changed(place: ToyPlace) -> None:
    """Labels, targets, worker settings: nothing is run again. More steps: every run goes on."""
    assert place.run()[0].exit_code == 0
    place.write(edited(SUITE, {"checkpoint_every_steps = 3": "checkpoint_every_steps = 2", '"grpo-fast"': '"quick"'}))
    assert set(place.states().values()) == {"complete"}
    place.write(edited(SUITE, {"max_steps = 8": "max_steps = 10"}))
    assert set(place.states().values()) == {"interrupted"}
    result, text = place.run()
    assert result.exit_code == 0
    assert text.count("going on from step 8") == 2


def test_a_spec_that_disagrees_with_its_folder(place: ToyPlace) -> None:
    """An edited spec.json stops that run with a message; the others go on."""
    assert place.run(only="grpo/1", TOY_FAULT="disk@step 3 begins")[0].exit_code == 2
    spec = place.folders()["grpo/1"] / "spec.json"
    edit_file(spec, {'"learning_rate": 0.001': '"learning_rate": 0.002'})
    result, text = place.run()
    assert result.exit_code == 1
    assert "the file was edited or the folder renamed" in text
    assert place.states()["grpo-fast/1"] == "complete"
