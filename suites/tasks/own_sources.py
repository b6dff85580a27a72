"""Where a user's own questions come from: a file beside the suite, or a data set of the hub."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

from harness.errors import did_you_mean
from harness.task import SPLITS, WARM_UP, TaskError
from suites.tasks.record_files import FORMATS, Records, read_records
from suites.tasks.sources import Source, pins

HUB = "hub:"
_HUB = re.compile(r"hub:(?P<name>[\w.-]+/[\w.-]+)(?:/(?P<config>[\w.-]+))?(?:@(?P<revision>[\w./-]+))?(?:#(?P<split>[\w.-]+))?")
_SET_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]*")
#: Splits that come from the pool's file.
_TAKEN = (*(name for name in SPLITS if name != "test"), WARM_UP)


@dataclass(frozen=True, slots=True)
class OwnSource:
    """One file or hub data set. text: as the suite names it; exactly one of ``path`` and ``hub`` is set."""

    text: str
    path: Path | None = None
    hub: Source | None = None

    @classmethod
    def of(cls, text: str, folder: Path, split: str, where: str) -> OwnSource:
        """From a suite's text; ``split``: of a hub data set whose text names none. Raises TaskError that begins with ``where``."""
        if text.startswith(HUB):
            match = _HUB.fullmatch(text)
            if match is None:
                raise TaskError(f"{where}: {text!r} is not of the form hub:OWNER/NAME, hub:OWNER/NAME/CONFIG@REVISION#SPLIT at most")
            source = Source(match["name"], (), match["name"], (match["split"] or split,), match["config"], match["revision"])
            return cls(text, hub=source)
        path = folder / Path(text).expanduser()
        if path.suffix not in FORMATS:
            raise TaskError(f"{where}: {text!r} must end in one of {', '.join(FORMATS)}, or be hub:OWNER/NAME")
        if not path.is_file():
            near = [p.name for p in path.parent.iterdir() if p.suffix in FORMATS] if path.parent.is_dir() else []
            raise TaskError(f"{where}: there is no file {path}{did_you_mean(path.name, near)}; paths are relative to the suite file")
        return cls(text, path=path)

    @property
    def label(self) -> str:
        """A short name: the file's without its ending, the hub's without its owner."""
        return _label(self.text)

    @property
    def identity(self) -> str:
        """A file's SHA-256, or the hub's name with its pins."""
        if self.path is None:
            assert self.hub is not None
            return pins([self.hub])
        return file_digest(self.path)

    def read(self) -> tuple[Records, dict[str, Any]]:
        """The records, and facts about where they came from. Raises TaskError."""
        if self.path is not None:
            records = read_records(self.path)
            return records, {"file": self.text, "sha256": self.identity}
        assert self.hub is not None
        rows, facts = self.hub.read()
        return Records(rows, [f"record {number}" for number in range(1, len(rows) + 1)]), facts


def set_names(evaluation: str | Sequence[str] | Mapping[str, str]) -> dict[str, str]:
    """Evaluation set → its text: ``test`` for one file, the names of files for a list. Raises ValueError for a name that is not free."""
    if isinstance(evaluation, str):
        return {"test": evaluation}
    if not evaluation:
        raise ValueError("evaluation is empty; leave it out, and questions of the file are split off")
    named = list(evaluation.items()) if isinstance(evaluation, Mapping) else [(_label(text), text) for text in evaluation]
    for i, (name, _) in enumerate(named):
        if name in _TAKEN or not _SET_NAME.fullmatch(name):
            raise ValueError(f'evaluation: {name!r} cannot be the name of an evaluation set; give a table, as in {{ mine = "file.jsonl" }}')
        if name in [other for other, _ in named[:i]]:
            raise ValueError(f'evaluation: two files would be the set {name!r}; give a table, as in {{ mine = "file.jsonl" }}')
    return dict(named)


def _label(text: str) -> str:
    match = _HUB.fullmatch(text)
    return match["name"].partition("/")[2] if match else Path(text).stem


def file_digest(path: Path) -> str:
    """SHA-256 of a file, computed once as long as it is not changed."""
    found = path.stat()
    return _digest(path, found.st_mtime_ns, found.st_size)


@lru_cache(maxsize=64)
def _digest(path: Path, _modified: int, _size: int) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
