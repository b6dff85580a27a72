"""What a worker process and its parent agree on: an exit code, an environment variable, lines of progress, packets of a warm worker."""

from __future__ import annotations

import json

INTERRUPTED = 75
"""Exit code of a worker that was asked to stop."""

PARENT_VARIABLE = "HALFWAY_PARENT"
"""Names the process id of the parent, with which the worker ends."""

PACKET_BYTES = 1 << 16
"""Longest packet between a warm worker and its parent."""


def progress_line(what: str, done: int, total: int) -> str:
    """One line of progress on a worker's standard output."""
    return json.dumps([what, done, total]) + "\n"


def read_progress(line: bytes) -> tuple[str, int, int] | None:
    """What a line of progress says; None for anything else that the process printed."""
    try:
        what, done, total = json.loads(line)
        return str(what), int(done), int(total)
    except (ValueError, TypeError):
        return None
