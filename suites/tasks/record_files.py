"""Records from a file: JSONL, JSON, CSV, TSV or Parquet, each with the line on which it begins.

Only ``\\n`` ends a line of JSONL: U+2028, U+0085 and their like are data. A byte order mark is accepted.
"""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from harness.errors import first_line
from harness.task import TaskError

Row = Mapping[str, Any]

FORMATS = (".parquet", ".jsonl", ".json", ".csv", ".tsv")
#: Longest field of a CSV file, in characters; the library's own limit is 131,072.
_LONGEST_FIELD = 1 << 26


@dataclass(frozen=True, slots=True)
class Records:
    """Rows in the order of the file. places: how a message names each, ``line 7`` in a text file, ``record 7`` elsewhere."""

    rows: list[Row]
    places: list[str]

    @property
    def columns(self) -> list[str]:
        """Every name that some row has, in the order in which they first appear."""
        return list(dict.fromkeys(name for row in self.rows for name in row))


def read_records(path: Path, data: bytes | None = None) -> Records:
    """The records of a file; ``data``: its content, where it was read already.

    Raises TaskError: file, line and what is wrong with it; also for a file without records.
    """
    try:
        content = path.read_bytes() if data is None else data
    except OSError as error:
        raise TaskError(f"cannot read {path}: {error.strerror}") from error
    if path.suffix not in _READERS:
        raise TaskError(f"cannot read {path}: its name must end in one of {', '.join(FORMATS)}")
    records = _READERS[path.suffix](path, content)
    if not records.rows:
        raise TaskError(f"cannot use {path}: it holds no rows; it must hold one record per question")
    return records


def _jsonl(path: Path, data: bytes) -> Records:
    rows, places = [], []
    for number, line in enumerate(data.removeprefix(b"\xef\xbb\xbf").split(b"\n"), 1):
        if not line.strip():
            continue
        place = f"line {number}"
        try:
            row = json.loads(line.decode("utf-8"))
        except (json.JSONDecodeError, UnicodeDecodeError, RecursionError) as error:
            raise TaskError(f"cannot read {path}, {place}: {_json_words(error)}") from error
        rows.append(_record(row, path, place))
        places.append(place)
    return Records(rows, places)


def _json(path: Path, data: bytes) -> Records:
    try:
        loaded = json.loads(data.decode("utf-8-sig"))
    except json.JSONDecodeError as error:
        raise TaskError(f"cannot read {path}, line {error.lineno}: {_json_words(error)}") from error
    except (UnicodeDecodeError, RecursionError) as error:
        raise TaskError(f"cannot read {path}: {_json_words(error)}") from error
    if not isinstance(loaded, list):
        raise TaskError(f"cannot read {path}: not a list of records; one record per line belongs into a .jsonl file")
    # A conversation is stored as a list of its turns; the hub's library names them "0", "1".
    rows = [{str(i): turn for i, turn in enumerate(row)} if isinstance(row, list) else row for row in loaded]
    places = [f"record {number}" for number in range(1, len(rows) + 1)]
    return Records([_record(row, path, place) for row, place in zip(rows, places, strict=True)], places)


def _csv(path: Path, data: bytes) -> Records:
    try:
        text = data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = data.count(b"\n", 0, error.start) + 1
        raise TaskError(f"cannot read {path}, line {line}: it is not UTF-8") from error
    csv.field_size_limit(_LONGEST_FIELD)
    reader = csv.reader(io.StringIO(text, newline=""), delimiter="\t" if path.suffix == ".tsv" else ",", strict=True)
    header: list[str] = []
    rows: list[Row] = []
    places, start = [], 1
    try:
        for fields in reader:
            if fields and not header:
                header = _header(fields, path)
            elif fields:
                place = f"line {start}"
                if len(fields) != len(header):
                    raise TaskError(f"cannot read {path}, {place}: it has {len(fields)} fields and the header has {len(header)}")
                rows.append(dict(zip(header, fields, strict=True)))
                places.append(place)
            start = reader.line_num + 1
    except csv.Error as error:
        raise TaskError(f"cannot read {path}, line {start}: {error}") from error
    return Records(rows, places)


def _header(fields: list[str], path: Path) -> list[str]:
    names = [name.strip() for name in fields]
    twice = next((name for i, name in enumerate(names) if name in names[:i]), None)
    if twice is not None:
        raise TaskError(f"cannot read {path}: the column {twice!r} is there twice")
    return names


def _parquet(path: Path, data: bytes) -> Records:
    import pyarrow
    import pyarrow.parquet

    try:
        rows: list[Row] = pyarrow.parquet.read_table(pyarrow.BufferReader(data)).to_pylist()
    except (OSError, ValueError) as error:  # pyarrow's errors are ValueErrors
        raise TaskError(f"cannot read {path}: {first_line(error)}") from error
    return Records(rows, [f"record {number}" for number in range(1, len(rows) + 1)])


_READERS = {".parquet": _parquet, ".jsonl": _jsonl, ".json": _json, ".csv": _csv, ".tsv": _csv}


def _record(row: Any, path: Path, place: str) -> Row:
    if not isinstance(row, Mapping):
        shown = json.dumps(row)
        shown = shown if len(shown) <= 40 else shown[:37] + "..."
        raise TaskError(f"cannot use {path}, {place}: {shown} is not a record; it must be an object with a question and an answer")
    return row


def _json_words(error: Exception) -> str:
    if isinstance(error, json.JSONDecodeError):
        return f"not valid JSON ({error.msg[0].lower()}{error.msg[1:]}, column {error.colno})"
    return "it is not UTF-8" if isinstance(error, UnicodeDecodeError) else "it is nested too deeply"
