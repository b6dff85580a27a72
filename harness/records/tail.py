"""Reading a growing ledger: what was appended since the last look, and the last records of a long file."""

from __future__ import annotations

import contextlib
import json
import os
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from harness.records.ledger import LedgerError, RunLog, add_line
from harness.spec import RunSpec


class Follower:
    """Reads what is appended to a JSON Lines file, whole lines only."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._offset = self._end_of_lines()
        self._seen = self._stamp()
        self._changed = time.monotonic()

    def news(self) -> list[Any]:
        """Records since the last call."""
        stamp = self._stamp()
        if stamp != self._seen:
            self._seen, self._changed = stamp, time.monotonic()
        if stamp[0] <= self._offset:
            return []
        with open(self.path, "rb") as file:
            file.seek(self._offset)
            data = file.read()
        whole = data[: data.rfind(b"\n") + 1]
        self._offset += len(whole)
        records = []
        for line in whole.splitlines():
            with contextlib.suppress(ValueError):
                records.append(json.loads(line))
        return records

    def silent_seconds(self) -> float:
        """Seconds since the file last changed, as far as ``news`` has looked; the wall clock may jump meanwhile."""
        return time.monotonic() - self._changed

    def begin_now(self) -> None:
        """Count silence from now on: what writes the file has only just begun."""
        self._changed = time.monotonic()

    def _stamp(self) -> tuple[int, int]:
        try:
            status = self.path.stat()
        except OSError:
            return (0, 0)
        return (status.st_size, status.st_mtime_ns)

    def _end_of_lines(self) -> int:
        """Where the next whole line starts: behind it may be a torn tail that the worker is going to cut."""
        try:
            data = self.path.read_bytes()
        except OSError:
            return 0
        return data.rfind(b"\n") + 1


_STEP = b'{"type":"step"'


class LedgerTail:
    """One ledger, as far as it has been written. ``log`` holds its evaluations; ``step`` is the last one recorded."""

    def __init__(self, path: Path, spec: RunSpec) -> None:
        self._path, self._spec = path, spec.model_dump(mode="json")
        self._forget()

    def _forget(self) -> None:
        self._offset, self.step = 0, 0
        self.log: RunLog | None = None
        self._broken = False

    def update(self) -> bool:
        """Read what was added; True if there was anything. A folder that was moved away starts anew."""
        try:
            size = self._path.stat().st_size
            if size < self._offset:
                self._forget()
            if size <= self._offset or self._broken:
                return False
            with open(self._path, "rb") as file:
                file.seek(self._offset)
                data = file.read()
        except OSError:
            changed = self.log is not None
            self._forget()
            return changed
        whole = data[: data.rfind(b"\n") + 1]
        self._offset += len(whole)
        lines = whole.split(b"\n")[:-1]
        last = max((i for i, line in enumerate(lines) if line.startswith(_STEP)), default=-1)
        self._add([line for i, line in enumerate(lines) if i == last or not line.startswith(_STEP)])
        return bool(lines)

    def _add(self, lines: Sequence[bytes]) -> None:
        for line in lines:
            try:
                self.log = add_line(self.log, self._path, line)
            except (LedgerError, ValueError, KeyError, TypeError, AttributeError):
                self._broken = True  # whoever reads the whole ledger says so, with its line
                return
        if self.log is not None:
            self.log.spec = self._spec
            self.step = self.log.steps[-1].step if self.log.steps else 0


_CHUNK = 1 << 15


_FAR_ENOUGH = 1 << 20


def records_from_the_end(ledger: Path) -> Iterator[dict[str, Any]]:
    """Whole records of a ledger, last first, reading only as far back as asked (at most 1 MiB).

    For a quick look only: checksums are not verified here, and a line that cannot be read ends the walk.
    """
    try:
        with open(ledger, "rb") as file:
            end = file.seek(0, os.SEEK_END)
            start, data, torn = end, b"", True
            while start > 0 and end - start < _FAR_ENOUGH:
                size = min(_CHUNK, start)
                start -= size
                file.seek(start)
                lines = (file.read(size) + data).split(b"\n")
                data = lines.pop(0) if start > 0 else b""
                if torn and lines:
                    lines.pop()  # what follows the last newline
                    torn = False
                for line in reversed(lines):
                    record = json.loads(line)
                    if not isinstance(record, dict):
                        return
                    yield record
    except (OSError, ValueError):
        return
