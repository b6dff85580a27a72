"""Locks that die with their holder: POSIX record locks on a file.

A record lock belongs to one process. It is not inherited by forked children (reward workers would otherwise keep a killed
run "running"), and the kernel drops it however the process ends. Whether a run is alive is therefore never a matter of
what somebody wrote down.
"""

from __future__ import annotations

import contextlib
import errno
import fcntl
import os
import socket
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from harness.errors import UserError

_held: set[str] = set()
"""Locks of this process, by resolved path: record locks do not exclude their own process."""


class FileLock:
    """An exclusive lock on ``path``; the file stays, and names the last holder."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._handle: int | None = None

    def acquire(self, patience: float = 0.0) -> bool:
        """Take the lock, trying for ``patience`` seconds; False if another process holds it."""
        deadline = time.monotonic() + patience
        while not self._try():
            if time.monotonic() >= deadline:
                return False
            time.sleep(0.05)
        return True

    def release(self) -> None:
        """Let another process have the lock."""
        if self._handle is not None:
            os.close(self._handle)  # closing drops the lock
            self._handle = None
            _held.discard(str(self.path.resolve()))

    def _try(self) -> bool:
        key = str(self.path.resolve())
        if key in _held:
            return False
        handle = os.open(self.path, os.O_RDWR | os.O_CREAT, 0o644)
        if not _lock(handle, fcntl.LOCK_EX):
            os.close(handle)
            return False
        with contextlib.suppress(OSError):  # a full disk takes no name; the lock holds all the same
            os.truncate(handle, 0)
            os.pwrite(handle, f"process {os.getpid()} on {socket.gethostname()}\n".encode(), 0)
        self._handle = handle
        _held.add(key)
        return True


def is_locked(path: Path) -> bool:
    """Whether a living process holds the lock at ``path``."""
    if str(path.resolve()) in _held:
        return True
    try:
        handle = os.open(path, os.O_RDWR)
    except OSError:
        return False
    try:
        # A shared lock, held for microseconds: several readers never see one another.
        return not _lock(handle, fcntl.LOCK_SH)
    finally:
        os.close(handle)


def holder(path: Path) -> str:
    """Which process took the lock last: a clause for a message."""
    try:
        return path.read_text(encoding="utf-8").strip() or "another process"
    except OSError:
        return "another process"


@contextmanager
def sole_use(
    folder: Path, name: str, use: str, ways_out: str = "wait for it", waiting: Callable[[str], None] | None = None
) -> Iterator[None]:
    """Hold the lock ``name`` in a folder of runs, which is made if need be, while the block runs.

    use: what another holder does with the folder, as in ``is being run``. waiting: told who holds it, and then it is waited for;
    without it, and where the folder cannot be used, UserError is raised.
    """
    lock = FileLock(folder / name)
    try:
        folder.mkdir(parents=True, exist_ok=True)
        free = lock.acquire()
    except OSError as error:
        raise cannot_use(folder, error) from error
    if not free:
        who = holder(lock.path)
        if waiting is None:
            raise UserError(f"{folder} is being {use} by {who}; {ways_out}, stop it, or choose another --runs-dir")
        waiting(who)
        while not lock.acquire(patience=1.0):
            pass
    try:
        yield
    finally:
        lock.release()


def cannot_use(folder: Path, error: OSError) -> UserError:
    """What the user is told of a runs folder that the file system refuses."""
    return UserError(f"cannot use the runs folder {folder}: {error.strerror}")


def _lock(handle: int, kind: int) -> bool:
    try:
        fcntl.lockf(handle, kind | fcntl.LOCK_NB)
    except OSError as error:
        if error.errno in (errno.EACCES, errno.EAGAIN):
            return False
        raise
    return True
