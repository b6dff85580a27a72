"""The run ledger ``runs/<suite>/<run_id>/ledger.jsonl``: append-only JSON Lines, one writer, whole lines, flushed and synced.

Each line is a record of :mod:`harness.records.ledger_records` as a JSON object, with its ``type`` first and a ``crc`` of its text last.

An ``attempt`` that resumed from step k takes back every step and evaluation after k that earlier attempts wrote; the seconds of those
lines are *lost seconds* (reported, charged to nobody). A torn last line is cut when the ledger is opened for writing; a bad line anywhere
else is an error that names file and line; a ledger of a newer schema is refused.
"""

from __future__ import annotations

import errno
import json
import os
import zlib
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import orjson

from harness.errors import UserError
from harness.records.ledger_records import (
    SCHEMA,
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
from harness.types import EvalPoint, StepRecord

LEDGER_NAME = "ledger.jsonl"


class LedgerError(UserError):
    """A ledger that cannot be read or written; the message says which, where and what to do."""


class LedgerWriter:
    """Appends records to one ledger. The caller holds the run's lock: there is one writer at a time.

    stopped: a checkpoint was recorded at which training ends, short of its last step.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self.stopped = False
        path.parent.mkdir(parents=True, exist_ok=True)
        cut_torn_tail(path)
        self._file = open(path, "ab", buffering=0)  # noqa: SIM115 - lives as long as the run

    def write(self, record: Record) -> None:
        """Append one record and sync it: a crash leaves the whole line or nothing. Raises LedgerError, for example on a full disk."""
        data = line_of(record)
        start = self._file.seek(0, os.SEEK_END)
        try:
            if self._file.write(data) != len(data):
                raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))  # noqa: TRY301
            os.fsync(self._file.fileno())
        except OSError as error:
            self._file.truncate(start)
            raise LedgerError(f"cannot write to {self.path}: {error.strerror}; free some space and start the same command again") from error

    @property
    def begun(self) -> bool:
        """Whether the ledger holds a record. Its first must be the run's start: where there was no room for it, nothing else may follow."""
        return self._file.seek(0, os.SEEK_END) > 0

    def write_checkpoint(self, step: int) -> bool:
        """Record that the checkpoint of ``step`` is complete. True if training must end here; see :class:`RunLedger`."""
        self.write(Checkpoint(step))
        return False

    def close(self) -> None:
        """Close the file."""
        self._file.close()


def line_of(record: Record) -> bytes:
    """The whole line of a record, line feed and checksum included."""
    return _seal(json.dumps(to_json(record), separators=(",", ":"), ensure_ascii=False).encode())


_CRC = b',"crc":'


def _seal(body: bytes) -> bytes:
    """One ledger line: the JSON object with a CRC-32 of its own text as last field, so that a flipped bit is seen."""
    return body[:-1] + _CRC + str(zlib.crc32(body)).encode() + b"}\n"


def _check_sum(line: bytes) -> None:
    """Raises ValueError for a line whose text is not what its checksum was made of."""
    cut = line.rfind(_CRC)
    if cut < 0:
        raise ValueError("no checksum")
    if line[cut + len(_CRC) : -1] != b"%d" % zlib.crc32(b"}", zlib.crc32(memoryview(line)[:cut])):
        raise ValueError("the checksum does not match")


def damaged_line(path: Path) -> int | None:
    """Number of the first whole line whose checksum does not match, None where all do; nothing is parsed."""
    for number, line in enumerate(path.read_bytes().split(b"\n")[:-1], start=1):
        try:
            _check_sum(line)
        except ValueError:
            return number
    return None


def parse_line(line: bytes) -> Record:
    """The record on a whole line, given without its line feed. Raises ValueError, KeyError or TypeError if it is none."""
    _check_sum(line)
    try:
        data = orjson.loads(line)  # four times as fast as json, but refuses the NaN that json writes
    except orjson.JSONDecodeError:
        data = json.loads(line)
    if not isinstance(data, dict):
        raise ValueError("not an object")
    del data["crc"]
    return from_json(data)


#: What :func:`parse_line` raises for a line that is no record of this schema.
NO_RECORD = (ValueError, KeyError, TypeError, AttributeError)


def cut_torn_tail(path: Path) -> int:
    """Cut an unfinished last line (the mark of a crash); returns how many bytes went."""
    if not path.exists():
        return 0
    with open(path, "rb+") as file:
        data = file.read()
        keep = data.rfind(b"\n") + 1
        if keep == len(data):
            return 0
        file.truncate(keep)
        return len(data) - keep


@dataclass(slots=True)
class RunLog:
    """A ledger as it counts: what later attempts took back is left out, everything else is in order.

    attempt_seconds: wall time of the attempt that completed the run, where it is complete and says so.
    """

    path: Path
    run_id: str
    spec: dict[str, Any]
    attempts: list[Attempt] = field(default_factory=list)
    provenance: Provenance | None = None
    one_off: list[OneOff] = field(default_factory=list)
    steps: list[StepRecord] = field(default_factory=list)
    evaluations: list[EvalPoint] = field(default_factory=list)
    warnings: list[str] = field(default_factory=list)
    failure: Failure | None = None
    complete: bool = False
    attempt_seconds: float | None = None
    lost_seconds: float = 0.0

    @property
    def environment(self) -> dict[str, Any]:
        """Versions and hardware of the last attempt."""
        return self.attempts[-1].environment if self.attempts else {}

    def add(self, record: Record) -> None:
        """Count one more record. Raises ValueError for a second start."""
        match record:
            case StepRecord():
                self.steps.append(record)
            case EvalPoint():
                self.evaluations.append(record)
            case Attempt():
                self._take_back(record.resumed_from)
                self.attempts.append(record)
                self.failure = None
            case Provenance():
                self.provenance = record
            case OneOff():
                self.one_off.append(record)
            case Warned():
                self.warnings.append(record.message)
            case Failure():
                self.failure = record
            case Complete():
                self.complete, self.attempt_seconds = True, record.seconds
            case RunStart():
                raise ValueError("a second run record")
            case Checkpoint():
                pass

    def _take_back(self, step: int) -> None:
        self.lost_seconds += sum(s.seconds for s in self.steps if s.step > step)
        self.steps = [s for s in self.steps if s.step <= step]
        # Without a checkpoint the run starts anew, its evaluation of step 0 included.
        self.evaluations = [e for e in self.evaluations if e.step <= step] if step else []
        self.complete, self.attempt_seconds = False, None


def open_log(path: Path, record: Record) -> RunLog:
    """The log that a ledger's first record begins. Raises ValueError if it is no run record, LedgerError for a newer schema."""
    if not isinstance(record, RunStart):
        raise ValueError("the first line is not a run record")
    if record.schema > SCHEMA:
        raise LedgerError(
            f"{path} was written by a newer Halfway (ledger schema {record.schema}, this one reads up to {SCHEMA}); upgrade halfway"
        )
    return RunLog(path=path, run_id=record.run_id, spec=record.spec)


def read_ledger(path: Path) -> RunLog:
    """Read one ledger. Raises LedgerError (file, line, what to do) for anything but a torn last line."""
    try:
        data = path.read_bytes()
    except OSError as error:
        raise LedgerError(f"cannot read {path}: {error.strerror}") from error
    log: RunLog | None = None
    lines = data.split(b"\n")
    lines.pop()  # what follows the last line feed: nothing, or the torn tail of a crash
    for number, line in enumerate(lines, start=1):
        try:
            record = parse_line(line)
            if log is None:
                log = open_log(path, record)
            else:
                log.add(record)
        except NO_RECORD as error:
            raise LedgerError(
                f"{path}, line {number}: not a record of schema {SCHEMA} ({type(error).__name__}: {error}); "
                "move the run's folder away and run it again"
            ) from error
    if log is None:
        raise LedgerError(f"{path} holds no run record; move the run's folder away and run it again")
    return log
