"""The run ledger: append-only JSON Lines, one writer, whole lines, flushed and synced.

``runs/<suite>/<run_id>/ledger.jsonl`` holds one JSON object a line, each with a ``type`` and, last, a ``crc`` of its text:

=============  ==================================================================================================
type           fields
=============  ==================================================================================================
run            schema, run_id, spec (the resolved run spec); first line, once
attempt        number, environment (versions, hardware fingerprint), resumed_from (step of the checkpoint, 0 if none)
provenance     backend, model (revision, commit), questions and sources per split, as :mod:`harness.data.provenance` found them
one_off        name, seconds, detail: costs paid once, outside the clock (predictor training, embeddings, model)
step           a StepRecord
evaluation     an EvalPoint
checkpoint     step
warning        message
failure        kind, message: the attempt ended and was not to be retried blindly
complete       step
=============  ==================================================================================================

An ``attempt`` that resumed from step k takes back every step and evaluation after k that earlier attempts wrote; the
seconds of those lines are *lost seconds* (reported, charged to nobody). A torn last line is cut when the ledger is opened
for writing; a bad line elsewhere is an error that names file and line; a newer schema is refused in words.
"""

from __future__ import annotations

import dataclasses
import errno
import json
import os
import zlib
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import orjson

from harness.errors import UserError
from harness.types import Costs, EvalPoint, StepRecord

SCHEMA = 1
LEDGER_NAME = "ledger.jsonl"


class LedgerError(UserError):
    """A ledger that cannot be read; the message says which, where and what to do."""


def _plain(value: Any) -> Any:
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return {f.name: _plain(getattr(value, f.name)) for f in dataclasses.fields(value)}
    if isinstance(value, Mapping):
        return {str(k): _plain(v) for k, v in value.items()}
    if isinstance(value, (list, tuple)):
        return [_plain(v) for v in value]
    if isinstance(value, np.generic):
        return value.item()
    if isinstance(value, np.ndarray):
        return value.tolist()
    return value


class LedgerWriter:
    """Appends records to one ledger. The caller holds the run's lock: there is one writer at a time."""

    def __init__(self, path: Path) -> None:
        self.path = path
        path.parent.mkdir(parents=True, exist_ok=True)
        cut_torn_tail(path)
        self._file = open(path, "ab", buffering=0)  # noqa: SIM115 - lives as long as the run

    def write(self, type_: str, record: Any = None, **fields: Any) -> None:
        """Append one record: a dataclass, keyword fields, or both. Whole line or nothing survives a crash."""
        body = {"type": type_, **(_plain(record) if record is not None else {}), **_plain(fields)}
        data = _seal(json.dumps(body, separators=(",", ":"), ensure_ascii=False).encode())
        start = self._file.seek(0, os.SEEK_END)
        try:
            if self._file.write(data) != len(data):
                raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))  # noqa: TRY301
            os.fsync(self._file.fileno())
        except OSError as error:
            self._file.truncate(start)
            raise LedgerError(f"cannot write to {self.path}: {error.strerror}; free some space and start the same command again") from error

    def close(self) -> None:
        self._file.close()


_CRC = b',"crc":'


def _seal(body: bytes) -> bytes:
    """One ledger line: the JSON object with a CRC-32 of its own text as last field, so that a flipped bit is seen."""
    return body[:-1] + _CRC + str(zlib.crc32(body)).encode() + b"}\n"


def _unseal(line: bytes) -> dict[str, Any]:
    cut = line.rfind(_CRC)
    if cut < 0:
        raise ValueError("no checksum")
    if line[cut + len(_CRC) : -1] != b"%d" % zlib.crc32(b"}", zlib.crc32(memoryview(line)[:cut])):
        raise ValueError("the checksum does not match")
    try:
        record = orjson.loads(line)  # four times as fast as json, but refuses the NaN that json writes
    except orjson.JSONDecodeError:
        record = json.loads(line)
    if not isinstance(record, dict):
        raise ValueError("not an object")
    del record["crc"]
    return record


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
    """A ledger as it counts: superseded lines taken back, everything else in order."""

    path: Path
    run_id: str
    spec: dict[str, Any]
    attempts: list[dict[str, Any]] = field(default_factory=list)
    provenance: dict[str, Any] | None = None
    one_off: list[dict[str, Any]] = field(default_factory=list)
    steps: list[StepRecord] = field(default_factory=list)
    evaluations: list[EvalPoint] = field(default_factory=list)
    warnings: list[str] = field(default_factory=list)
    failure: dict[str, Any] | None = None
    complete: bool = False
    lost_seconds: float = 0.0

    @property
    def environment(self) -> dict[str, Any]:
        return self.attempts[-1]["environment"] if self.attempts else {}


def read_ledger(path: Path) -> RunLog:
    """Read one ledger. Raises LedgerError (file, line, what to do) for anything but a torn last line."""
    try:
        data = path.read_bytes()
    except OSError as error:
        raise LedgerError(f"cannot read {path}: {error.strerror}") from error
    log: RunLog | None = None
    lines = data.split(b"\n")
    lines.pop()  # what follows the last newline: nothing, or the torn tail of a crash
    for number, line in enumerate(lines, start=1):
        try:
            log = add_line(log, path, line)
        except LedgerError:
            raise
        except (ValueError, KeyError, TypeError, AttributeError) as error:
            raise LedgerError(
                f"{path}, line {number}: not a record of schema {SCHEMA} ({type(error).__name__}: {error}); "
                "move the run's folder away and run it again"
            ) from error
    if log is None:
        raise LedgerError(f"{path} holds no run record; move the run's folder away and run it again")
    return log


def add_line(log: RunLog | None, path: Path, line: bytes) -> RunLog:
    """The ledger with one more whole line, given without its line feed; None stands for the empty ledger.

    Raises ValueError, KeyError or TypeError for a line that is no record, LedgerError for a newer schema.
    """
    record = _unseal(line)
    if log is None:
        return _open_log(path, record)
    _apply(log, record)
    return log


def _open_log(path: Path, record: dict[str, Any]) -> RunLog:
    if record.get("type") != "run":
        raise ValueError("the first line is not a run record")
    if record["schema"] > SCHEMA:
        raise LedgerError(
            f"{path} was written by a newer Halfway (ledger schema {record['schema']}, this one reads up to {SCHEMA}); upgrade halfway"
        )
    return RunLog(path=path, run_id=record["run_id"], spec=record["spec"])


def _apply(log: RunLog, record: dict[str, Any]) -> None:
    kind = record.pop("type")
    if kind == "step":
        record["costs"] = Costs.from_json(record["costs"])
        log.steps.append(StepRecord(**record))
    elif kind == "evaluation":
        record["costs"] = Costs.from_json(record["costs"])
        log.evaluations.append(EvalPoint(**record))
    elif kind == "attempt":
        _take_back(log, record["resumed_from"])
        log.attempts.append(record)
        log.failure = None
    elif kind == "provenance":
        log.provenance = record
    elif kind == "one_off":
        log.one_off.append(record)
    elif kind == "warning":
        log.warnings.append(record["message"])
    elif kind == "failure":
        log.failure = record
    elif kind == "complete":
        log.complete = True
    elif kind != "checkpoint":
        raise ValueError(f"unknown record type {kind!r}")


def _take_back(log: RunLog, step: int) -> None:
    lost = [s for s in log.steps if s.step > step]
    log.lost_seconds += sum(s.seconds for s in lost)
    log.steps = [s for s in log.steps if s.step <= step]
    # Without a checkpoint the run starts anew, its evaluation of step 0 included.
    log.evaluations = [e for e in log.evaluations if e.step <= step] if step else []
    log.complete = False
