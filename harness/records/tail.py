"""Reading files that another process is appending to: whole lines only, forwards as they come or backwards from the end.

Everything that watches a run reads through this module: the runner and its watchdog, the curves of ``halfway watch``, the node of a
cluster that sends a ledger home, and ``halfway status``, which needs the last few records of a long ledger only.
"""

from __future__ import annotations

import os
import time
from collections.abc import Iterator
from pathlib import Path

_CHUNK = 1 << 15
_FURTHEST = 1 << 20


def whole_lines(path: Path, offset: int = 0) -> bytes:
    """What the file holds from ``offset`` up to and including its last line feed. Raises OSError if it cannot be read."""
    with open(path, "rb") as file:
        file.seek(offset)
        data = file.read()
    return data[: data.rfind(b"\n") + 1]


def lines_from_the_end(path: Path) -> Iterator[bytes]:
    """Whole lines, last first, without line feeds; reads only as far back as asked, 1 MiB at most. Ends where the file cannot be read."""
    try:
        with open(path, "rb") as file:
            end = file.seek(0, os.SEEK_END)
            start, data, torn = end, b"", True
            while start > 0 and end - start < _FURTHEST:
                size = min(_CHUNK, start)
                start -= size
                file.seek(start)
                lines = (file.read(size) + data).split(b"\n")
                data = lines.pop(0) if start > 0 else b""
                if torn and lines:
                    lines.pop()  # what follows the last line feed
                    torn = False
                yield from reversed(lines)
    except OSError:
        return


class Tail:
    """The lines appended to a file since the last look.

    ``from_start``: begin with what is there now; otherwise with the first line that is not. A file that was replaced by a shorter one, or
    removed, is read anew: ``restarts`` counts how often.
    """

    def __init__(self, path: Path, *, from_start: bool = False) -> None:
        self.path = path
        self.restarts = 0
        self._offset = 0 if from_start else self._end()
        self._seen = self._stamp()
        self._changed = time.monotonic()

    def new_lines(self) -> list[bytes]:
        """Whole lines since the last call, without line feeds; none while the file is missing or unreadable."""
        stamp = self._stamp()
        if stamp != self._seen:
            self._seen, self._changed = stamp, time.monotonic()
        if stamp[0] < self._offset:
            self._offset, self.restarts = 0, self.restarts + 1
        if stamp[0] == self._offset:
            return []
        try:
            data = whole_lines(self.path, self._offset)
        except OSError:
            return []
        self._offset += len(data)
        return data.split(b"\n")[:-1]

    def silent_seconds(self) -> float:
        """Seconds since the file last changed, as far as :meth:`new_lines` has looked, on a clock that never jumps."""
        return time.monotonic() - self._changed

    def restart_silence(self) -> None:
        """Count silence from now on: the process that writes the file has only just begun."""
        self._changed = time.monotonic()

    def _stamp(self) -> tuple[int, int]:
        try:
            status = self.path.stat()
        except OSError:
            return (0, 0)
        return (status.st_size, status.st_mtime_ns)

    def _end(self) -> int:
        """Where the next whole line starts: behind it may be a torn tail, which its writer is going to cut."""
        try:
            return len(whole_lines(self.path))
        except OSError:
            return 0
