"""Collecting pass rates of models on a pool: what is asked for, where it is kept, and how an interrupted collection goes on.

The table is a Parquet file with a column ``question`` and one ``pass_rate__…`` column per model, which ``halfway predictor train``
reads; the file's metadata says of each column which model at which commit was measured, and how. While a model is at work, the outcomes
of its questions are appended to a journal beside the table, portion by portion; a finished model's column joins the table in one
replacement of the file, and its journal goes.
"""

from __future__ import annotations

import hashlib
import json
import os
import shutil
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
from pydantic import Field

from harness.errors import UserError
from harness.files import replacing
from harness.spec import RunSpec, Settings
from harness.types import FloatArray

#: Key of the file's metadata: column name → what was measured, as JSON.
METADATA_KEY = b"halfway.pass_rates"
PREFIX = "pass_rate__"


class CollectionRequest(Settings):
    """One model to be rolled out on one pool; what a worker process is given.

    spec: backend, task, sampling, precision and execution are taken from it; its own model and strategy play no part. model: hub name,
    ``NAME@COMMIT``, a folder, or ``embedded:NAME@SEED``. questions: only the first so many. portion: questions between two records.
    """

    spec: RunSpec
    model: str = Field(min_length=1)
    split: str = "train"
    questions: int | None = Field(default=None, ge=1)
    rollouts: int = Field(default=8, ge=1)
    portion: int = Field(default=64, ge=1)
    out: str


@dataclass(frozen=True, slots=True)
class Column:
    """A model's column: which weights were measured, and how. commit: of the hub, or a digest of a folder or recipe."""

    label: str
    model: str
    commit: str
    rollouts: int
    temperature: float
    top_p: float
    max_completion_tokens: int
    seed: int
    backend: str
    generation: str
    precision: str
    task: str
    split: str
    reward: str

    @property
    def name(self) -> str:
        """Name in the table: family first, then what tells two measurements of it apart."""
        sampling = f"k{self.rollouts}_t{self.temperature:g}_p{self.top_p:g}_n{self.max_completion_tokens}"
        return f"{PREFIX}{self.label}__{sampling}_{self.commit[:8]}"


class PassRateStore:
    """The table at ``path`` and the journals beside it. questions: the pool's N different texts, in order.

    Raises UserError where the file is something else, or holds rates of other questions.
    """

    def __init__(self, path: Path, questions: Sequence[str]) -> None:
        self.path, self.questions = path, tuple(questions)
        self._read()

    def holds(self, column: Column) -> bool:
        """Whether the column is in the table. Raises UserError if one of its name was measured otherwise."""
        found = self._read()[1].get(column.name)
        if found is None:
            return False
        other = [f"{key} {found.get(key)!r} instead of {value!r}" for key, value in asdict(column).items() if found.get(key) != value]
        if other:
            raise UserError(
                f"{self.path} holds a column {column.name} that was measured with {', '.join(other)}; give another file with -o"
            )
        return True

    def journal(self, column: Column) -> Journal:
        """The outcomes of a column that is at work."""
        identity = json.dumps([asdict(column), self.questions], sort_keys=True)
        return Journal(journal_folder(self.path) / f"{hashlib.sha256(identity.encode()).hexdigest()[:16]}.jsonl", len(self.questions))

    def add(self, column: Column, journal: Journal) -> None:
        """Put a finished column into the table and drop its journal."""
        import pyarrow as pa
        import pyarrow.parquet as pq

        rates, facts = self._read()
        rates[column.name], facts[column.name] = journal.rates, {**asdict(column), **journal.totals}
        table = pa.table({"question": list(self.questions), **{name: pa.array(values) for name, values in rates.items()}})
        metadata = {**(table.schema.metadata or {}), METADATA_KEY: json.dumps(facts, sort_keys=True)}
        with replacing(self.path) as partial:
            pq.write_table(table.replace_schema_metadata(metadata), partial)
        journal.path.unlink(missing_ok=True)

    def _read(self) -> tuple[dict[str, FloatArray], dict[str, dict[str, Any]]]:
        """Rates of every column, each of shape (N,), and what was measured."""
        if not self.path.exists():
            return {}, {}
        table, facts = read_metadata(self.path)
        if table.column_names[:1] != ["question"] or tuple(table["question"].to_pylist()) != self.questions:
            raise UserError(f"{self.path} holds pass rates of other questions; give another file with -o")
        return {name: table[name].to_numpy() for name in table.column_names[1:]}, facts


def journal_folder(table: Path) -> Path:
    """Where the journals of a table are while its models are at work."""
    return table.with_name(f"{table.name}.collecting")


def drop_journals(table: Path) -> None:
    """Remove what is beside a table that is finished: journals, request and log."""
    shutil.rmtree(journal_folder(table), ignore_errors=True)


def read_metadata(path: Path) -> tuple[Any, dict[str, dict[str, Any]]]:
    """A collected table (pyarrow) and, by column, what was measured. Raises UserError for any other file."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    try:
        table = pq.read_table(path)
        return table, json.loads((table.schema.metadata or {})[METADATA_KEY])
    except (OSError, pa.ArrowInvalid, KeyError, ValueError):
        raise UserError(f"{path} is not a table that 'halfway predictor collect' wrote; give another file with -o") from None


class Journal:
    """Pass rates of one column as far as they are known: one line of JSON per portion, on disk before the next begins.

    A line that was not written to its end is cut off and its portion rolled out again, so nothing is lost or counted twice.
    """

    def __init__(self, path: Path, count: int) -> None:
        self.path = path
        self.rates: FloatArray = np.full(count, np.nan)
        self.totals: dict[str, float] = {"tokens": 0, "seconds": 0.0}
        for line in self._whole_lines():
            self._take(json.loads(line))

    @property
    def done(self) -> int:
        """Questions whose rate is known."""
        return int((~np.isnan(self.rates)).sum())

    def missing(self, portion: int) -> Iterator[range]:
        """Positions still to be rolled out, in portions that start at multiples of ``portion``."""
        for start in range(0, len(self.rates), portion):
            stop = min(start + portion, len(self.rates))
            if np.isnan(self.rates[start:stop]).any():
                yield range(start, stop)

    def append(self, first: int, rates: Sequence[float], tokens: int, seconds: float) -> None:
        """Record the rates of consecutive questions from ``first`` on."""
        record = {"first": first, "rates": list(rates), "tokens": tokens, "seconds": seconds}
        self.path.parent.mkdir(parents=True, exist_ok=True)
        with open(self.path, "ab") as file:
            file.write(json.dumps(record).encode() + b"\n")
            file.flush()
            os.fsync(file.fileno())
        self._take(record)

    def _take(self, record: Mapping[str, Any]) -> None:
        first, rates = record["first"], record["rates"]
        self.rates[first : first + len(rates)] = rates
        self.totals = {key: value + record[key] for key, value in self.totals.items()}

    def _whole_lines(self) -> list[bytes]:
        if not self.path.exists():
            return []
        data = self.path.read_bytes()
        whole = data[: data.rfind(b"\n") + 1]
        if len(whole) < len(data):
            os.truncate(self.path, len(whole))
        return whole.splitlines()
