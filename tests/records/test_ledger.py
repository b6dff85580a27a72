"""Ledgers: what is written is read back, old ones stay readable, and a checkpoint is where a run is asked to end."""

from __future__ import annotations

import dataclasses
import json
import shutil
import zlib
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from harness.errors import FailureKind
from harness.records.ledger import LedgerError, LedgerWriter, parse_line, read_ledger
from harness.records.ledger_records import (
    Attempt,
    Checkpoint,
    Complete,
    Failure,
    OneOff,
    Provenance,
    Record,
    RunStart,
    Warned,
    from_json,
    to_json,
)
from harness.records.run_folder import STOP_NAME, RunPaths, run_status
from harness.records.stopping_ledger import RunLedger
from harness.records.tail import Tail
from harness.spec import IDENTITY_VERSION, BudgetSpec, RunSpec
from harness.types import Costs
from tests.made_records import evaluation, step

OLD = Path(__file__).with_name("old_ledgers") / "0.1.0.jsonl"

json_values = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**53), 2**53) | st.floats(allow_nan=False) | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=6,
)
tables = st.dictionaries(st.text(max_size=6), json_values, max_size=4)
numbers = st.integers(0, 10**6)
seconds = st.floats(0, 1e9)
records = st.one_of(
    st.builds(RunStart, st.text(min_size=1, max_size=12), tables, st.just(1), st.integers(1, 9)),
    st.builds(Attempt, numbers, tables, numbers),
    st.builds(Provenance, st.text(max_size=5), tables, st.dictionaries(st.text(max_size=5), tables, max_size=2), tables),
    st.builds(OneOff, st.text(max_size=9), seconds, json_values),
    st.builds(Checkpoint, numbers),
    st.builds(Warned, st.text()),
    st.builds(Failure, st.sampled_from(FailureKind), st.text()),
    st.builds(Complete, numbers, st.none() | numbers, st.none() | seconds),
    st.builds(evaluation, numbers, st.floats(0, 1), st.builds(Costs, seconds, seconds, numbers)),
    st.builds(step, numbers, st.builds(Costs, seconds, seconds, numbers), st.integers(0, 5)),
)


@given(records)
def test_a_record_survives_its_line(record: Record) -> None:
    """Every record of every type is equal to what is read from its JSON text."""
    assert from_json(json.loads(json.dumps(to_json(record)))) == record


def test_a_record_cannot_be_changed() -> None:
    """What a ledger says is frozen."""
    for record in (Checkpoint(1), Complete(1), step(1), evaluation(1)):
        with pytest.raises(dataclasses.FrozenInstanceError):
            record.step = 2  # type: ignore[misc]


def test_a_ledger_of_the_first_version_is_readable() -> None:
    """Schema 1 as version 0.1.0 wrote it, with the failure kind that meant a diverged training then."""
    log = read_ledger(OLD)
    assert log.attempts[0].environment["versions"]["halfway"] == "0.1.0"
    assert [s.step for s in log.steps] == [1, 2]
    assert [e.step for e in log.evaluations] == [0, 2]
    assert log.provenance is not None
    assert log.provenance.questions["train"]["questions"] == 256
    assert log.failure is not None
    assert log.failure.kind is FailureKind.NAN
    first = parse_line(OLD.read_bytes().split(b"\n")[0])
    assert isinstance(first, RunStart)
    assert (first.schema, first.identity) == (1, 1)
    assert IDENTITY_VERSION > 1


def test_the_state_of_a_run_of_the_first_version(tmp_path: Path) -> None:
    """Its diverged run counts as a result, under the name of that failure then as now."""
    shutil.copy(OLD, tmp_path / "ledger.jsonl")
    spec = RunSpec.model_validate(read_ledger(OLD).spec)
    status = run_status(RunPaths(tmp_path), spec)
    assert (status.state, status.failure_kind, status.is_result, status.mendable) == ("failed", FailureKind.NAN, True, False)
    assert status.step == 2


@pytest.mark.parametrize(
    ("written", "kind"),
    [("nan", "nan"), ("nan-loss", "nan"), ("out-of-memory", "memory"), ("memory", "memory"), ("disk", "disk"), ("a-later-one", "error")],
)
def test_kinds_of_earlier_versions(written: str, kind: str) -> None:
    """Two names for one thing are one kind; a kind that is unknown counts as an error."""
    assert FailureKind.read(written) is FailureKind(kind)


def sealed(data: dict[str, Any]) -> bytes:
    body = json.dumps(data, separators=(",", ":")).encode()
    return body[:-1] + b',"crc":%d}' % zlib.crc32(body)


def test_a_newer_schema_is_refused(tmp_path: Path) -> None:
    """Whatever fields it has by then: the sentence says that the ledger is newer."""
    path = tmp_path / "ledger.jsonl"
    path.write_bytes(sealed({"type": "run", "schema": 2, "run_id": "a", "spec": {}, "new": 1}) + b"\n")
    with pytest.raises(LedgerError, match=r"written by a newer Halfway \(ledger schema 2, this one reads up to 1\)"):
        read_ledger(path)


@pytest.mark.parametrize(
    "data",
    [
        {"type": "run", "schema": 1, "run_id": "b", "spec": {}},  # a second start
        {"type": "checkpoint"},
        {"type": "checkpoint", "step": 1, "more": 2},
        {"type": "novelty"},
        {"step": 1},
        {"type": ["step"]},
        {"type": "failure", "kind": "nan"},
        {"type": "step", "step": 1, "costs": 3},
        {"type": "evaluation", "step": 1, "accuracy": 0.5, "accuracies": {}, "num_questions": 1, "costs": None},
    ],
)
def test_other_lines_are_refused_with_their_number(tmp_path: Path, data: dict[str, Any]) -> None:
    """Valid JSON with a valid checksum that is no record of this schema: file and line, no traceback."""
    path = tmp_path / "ledger.jsonl"
    LedgerWriter(path).write(RunStart("a", {}))
    with open(path, "ab") as file:
        file.write(sealed(data) + b"\n")
    with pytest.raises(LedgerError, match=r"ledger\.jsonl, line 2: not a record of schema 1"):
        read_ledger(path)


# -- where a run ends early ---------------------------------------------------------------------------------------------


def ledger(folder: Path, **budget: Any) -> RunLedger:
    return RunLedger(folder / "ledger.jsonl", BudgetSpec(**budget), max_steps=8)


def test_a_spent_budget_ends_the_run_at_its_next_checkpoint(tmp_path: Path) -> None:
    """Not at the step that spends it: what was trained since the last checkpoint would be lost."""
    found = ledger(tmp_path, generated_tokens=100)
    found.write(step(1, Costs(generated_tokens=99)))
    assert found.write_checkpoint(1) is False
    found.write(step(2, Costs(generated_tokens=100)))
    assert not found.stopped
    assert found.write_checkpoint(2) is True
    assert found.stopped
    assert found.step == 2


def test_a_request_ends_the_run_at_its_next_checkpoint(tmp_path: Path) -> None:
    """A file named ``stop`` in the run's folder."""
    found = ledger(tmp_path)
    found.write(step(1))
    assert found.write_checkpoint(1) is False
    (tmp_path / STOP_NAME).touch()
    assert found.write_checkpoint(1) is True


def test_the_last_checkpoint_ends_nothing(tmp_path: Path) -> None:
    """A run that is at its last step is complete, whatever it has spent."""
    found = ledger(tmp_path, training_seconds=1.0)
    found.write(step(8, Costs(training_seconds=2.0)))
    assert found.write_checkpoint(8) is False


def test_a_plain_writer_never_stops(tmp_path: Path) -> None:
    """Benchmarks and tests train without a budget."""
    writer = LedgerWriter(tmp_path / "ledger.jsonl")
    writer.write(RunStart("a", {}))
    assert writer.write_checkpoint(3) is False
    assert parse_line((tmp_path / "ledger.jsonl").read_bytes().splitlines()[1]) == Checkpoint(3)


# -- following a file -----------------------------------------------------------------------------------------------------


@given(st.lists(st.binary(max_size=6).map(lambda b: b.replace(b"\n", b"")), max_size=8), st.lists(st.integers(0, 60), max_size=6))
def test_every_line_is_seen_once_however_it_arrives(tmp_path_factory: pytest.TempPathFactory, lines: list[bytes], cuts: list[int]) -> None:
    """A file that grows by arbitrary pieces: the lines in order, none twice, none before its line feed is there."""
    path = tmp_path_factory.mktemp("tail") / "file"
    text = b"".join(line + b"\n" for line in lines)
    tail, seen, at = Tail(path, from_start=True), [], 0
    for cut in [*sorted(c % (len(text) + 1) for c in cuts), len(text)]:
        with open(path, "ab") as file:
            file.write(text[at:cut])
        at = max(at, cut)
        seen += tail.new_lines()
        assert seen == text[:at].split(b"\n")[:-1]
    assert seen == lines


def test_a_replaced_file_is_read_anew(tmp_path: Path) -> None:
    """A shorter file is another one: its lines are new, and the restart is counted."""
    path = tmp_path / "file"
    path.write_bytes(b"one\ntwo\n")
    tail = Tail(path)
    assert tail.new_lines() == []
    path.write_bytes(b"new\n")
    assert (tail.new_lines(), tail.restarts) == ([b"new"], 1)
    path.unlink()
    assert (tail.new_lines(), tail.restarts) == ([], 2)
