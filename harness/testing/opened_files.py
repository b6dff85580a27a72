"""Which files and connections are opened while a strategy runs: what it may know comes through its context, nothing else.

Python's audit events see every ``open`` and ``connect`` of this process. Code being imported is not counted, data is.
"""

from __future__ import annotations

import os
import sys
import sysconfig
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

_CODE = (".py", ".pyc", ".so", ".pyd", ".pth")
_seen: list[str] | None = None  # what is recorded now; None: nothing
_installed = False


@contextmanager
def watching(allowed: Sequence[Path]) -> Iterator[list[str]]:
    """Yield a list that fills with what is opened meanwhile: files that are not code and not below ``allowed``, connections.

    Not for nested or parallel use: there is one audit hook per process, and it cannot be taken away again.
    """
    global _seen, _installed
    if not _installed:
        sys.addaudithook(_hook)
        _installed = True
    found: list[str] = []
    _seen = found
    try:
        yield found
    finally:
        _seen = None
        roots = tuple(str(p.resolve()) for p in allowed)
        found[:] = [name for name in found if not name.startswith(roots or ("\0",))]


def _hook(event: str, arguments: tuple[Any, ...]) -> None:
    if _seen is None:
        return
    if event == "open" and isinstance(arguments[0], (str, bytes)) and not _is_code(os.fsdecode(arguments[0])):
        _seen.append(os.path.realpath(os.fsdecode(arguments[0])))
    elif event == "socket.connect":
        _seen.append(f"connection to {arguments[1]}")


def _is_code(name: str) -> bool:
    return name.endswith(_CODE) or name.startswith((sysconfig.get_path("stdlib"), "/proc/", "/sys/", "/dev/"))
