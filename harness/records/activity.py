"""What a worker is at between two records, in a small file of the run's folder: for whoever watches, and part of no result."""

from __future__ import annotations

import contextlib
import json
import os
import time
from pathlib import Path

#: Seconds between two words on one activity.
EVERY_SECONDS = 1.0


class ActivityFile:
    """Says what is being done. A file that cannot be written is nobody's failure."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._what, self._when = "", 0.0

    def say(self, what: str, done: int = 0, total: int = 0) -> None:
        """``what`` is under way, ``done`` of ``total`` (0: not known); at most once a second as long as ``what`` stays the same."""
        now = time.monotonic()
        if what == self._what and now - self._when < EVERY_SECONDS:
            return
        self._what, self._when = what, now
        partial = self._path.with_name(f".{self._path.name}.{os.getpid()}")
        with contextlib.suppress(OSError):
            partial.write_text(json.dumps([what, done, total]), encoding="utf-8")
            os.replace(partial, self._path)


class ActivityReader:
    """Follows such a file from another process; what it says when the reader is made is old."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._seen = self._stamp()

    def news(self) -> tuple[str, int, int] | None:
        """(what, done, total) if something was said since the last call."""
        stamp = self._stamp()
        if stamp is None or stamp == self._seen:
            return None
        self._seen = stamp
        try:
            what, done, total = json.loads(self._path.read_bytes())
            return str(what), int(done), int(total)
        except (OSError, ValueError, TypeError):
            return None

    def _stamp(self) -> tuple[int, int] | None:
        try:
            found = self._path.stat()
        except OSError:
            return None
        return found.st_mtime_ns, found.st_ino
