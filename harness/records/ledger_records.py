"""The records of a run ledger, one frozen class per type, and their form as JSON objects.

=============  ========================  ========================================================================
type           class                     written
=============  ========================  ========================================================================
run            :class:`RunStart`         once, as the first line
attempt        :class:`Attempt`          when a process takes the run up, and after which checkpoint
provenance     :class:`Provenance`       per attempt: model, questions and where they came from
one_off        :class:`OneOff`       per cost that was paid outside the clock (embeddings, a predictor)
step           :class:`StepRecord`       after each training step
evaluation     :class:`EvalPoint`        after each evaluation
checkpoint     :class:`Checkpoint`       after a checkpoint is complete
warning        :class:`Warned`           by a backend, for people
failure        :class:`Failure`          when an attempt ended in a way that must not be retried blindly
complete       :class:`Complete`         when the last step is trained and evaluated
=============  ========================  ========================================================================

The classes are plain dataclasses: a report reads millions of steps, and validating each field would double its time. A line whose
fields do not fit is refused all the same, because the constructors take no others.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, TypeAlias

import numpy as np

from harness.errors import FailureKind
from harness.spec import IDENTITY_VERSION, RunSpec
from harness.types import Costs, EvalPoint, StepRecord

SCHEMA = 1
"""Version of the ledger's format. Records may gain fields with defaults under one schema; anything else raises it."""


@dataclass(frozen=True, slots=True)
class RunStart:
    """Which run this is. spec: the resolved run spec as JSON; identity: version of the algorithm behind ``run_id``."""

    run_id: str
    spec: dict[str, Any]
    schema: int = SCHEMA
    identity: int = 1


@dataclass(frozen=True, slots=True)
class Attempt:
    """A process takes the run up. resumed_from: step of the checkpoint it goes on from, 0 for none.

    It takes back every step and evaluation after ``resumed_from`` that earlier attempts recorded.
    environment: versions, hardware and its fingerprint (:func:`harness.machine.environment.describe`).
    """

    number: int
    environment: dict[str, Any]
    resumed_from: int


@dataclass(frozen=True, slots=True)
class Provenance:
    """What the run is made of. model: name, revision, commit or digest; questions: split → number and hash; sources: split → origin."""

    backend: str
    model: dict[str, Any] = field(default_factory=dict)
    questions: dict[str, dict[str, Any]] = field(default_factory=dict)
    sources: dict[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class OneOff:
    """Seconds paid once, outside the clock, for something that several runs may share."""

    name: str
    seconds: float
    detail: Any = None


@dataclass(frozen=True, slots=True)
class Checkpoint:
    """The checkpoint of ``step`` is complete on disk."""

    step: int


@dataclass(frozen=True, slots=True)
class Warned:
    """A sentence for whoever watches the run."""

    message: str


@dataclass(frozen=True, slots=True)
class Failure:
    """Why an attempt ended, and the sentence that the user saw."""

    kind: FailureKind
    message: str


@dataclass(frozen=True, slots=True)
class Complete:
    """All ``step`` training steps are done. seconds: wall time of the last attempt, which began after step ``resumed_from``.

    start_seconds: of these, until the attempt's first evaluation or step was recorded: imports, loading, the first evaluation.
    """

    step: int
    resumed_from: int | None = None
    seconds: float | None = None
    start_seconds: float | None = None


Record: TypeAlias = RunStart | Attempt | Provenance | OneOff | StepRecord | EvalPoint | Checkpoint | Warned | Failure | Complete

TYPES: dict[str, type[Record]] = {
    "run": RunStart, "attempt": Attempt, "provenance": Provenance, "one_off": OneOff, "step": StepRecord, "evaluation": EvalPoint,
    "checkpoint": Checkpoint, "warning": Warned, "failure": Failure, "complete": Complete,
}  # fmt: skip
_NAMES: dict[type[Record], str] = {cls: name for name, cls in TYPES.items()}


def step_of(record: Record) -> int | None:
    """The training step that a run has reached with this record; None for records that say nothing of it."""
    if isinstance(record, Attempt):
        return record.resumed_from
    return record.step if isinstance(record, (StepRecord, EvalPoint, Checkpoint, Complete)) else None


def to_json(record: Record) -> dict[str, Any]:
    """The record as a JSON object, its ``type`` first."""
    return {"type": _NAMES[type(record)], **{f.name: _plain(getattr(record, f.name)) for f in dataclasses.fields(record)}}


def from_json(data: dict[str, Any]) -> Record:
    """The record behind a JSON object, which is consumed. Raises ValueError, KeyError or TypeError if it is none of this schema."""
    name = data.pop("type", None)
    cls = TYPES.get(name)
    if cls is None:
        raise ValueError(f"unknown record type {name!r}")
    adapt = _ADAPT.get(name)
    if adapt is not None:
        adapt(data)
    return cls(**data)


def _start(data: dict[str, Any]) -> None:
    if data["schema"] > SCHEMA:  # refused by whoever reads the ledger, whatever else the record holds by then
        for name in data.keys() - {f.name for f in dataclasses.fields(RunStart)}:
            del data[name]


def _costs(data: dict[str, Any]) -> None:
    data["costs"] = Costs.from_json(data["costs"])


def _kind(data: dict[str, Any]) -> None:
    data["kind"] = FailureKind.read(data["kind"])


_ADAPT: Mapping[str, Callable[[dict[str, Any]], None]] = {"run": _start, "step": _costs, "evaluation": _costs, "failure": _kind}


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


def start_of(spec: RunSpec) -> RunStart:
    """The first record of a run's ledger, under today's schema and identity."""
    return RunStart(spec.run_id, spec.model_dump(mode="json"), SCHEMA, IDENTITY_VERSION)
