"""Bringing a run's files from a node that does not see the runs folder, in an order in which every moment is one a crash may choose.

Ledger lines come first (appended, synced), then logs and other files, then complete checkpoints, each copied beside its
place and renamed when all of it is there. What is at home is therefore always a run that can go on: a ledger that may be ahead
of its checkpoint, never behind it.
"""

from __future__ import annotations

import contextlib
import os
import shutil
from pathlib import Path
from typing import Protocol

from harness.files import replacing
from harness.records.checkpoint import MANIFEST, newest_complete, prune
from harness.records.ledger import cut_torn_tail
from harness.runner.executors.ray_actor import Snapshot

CHUNK = 8 << 20
"""Bytes per message."""
_COMING = "coming."


class Files(Protocol):
    """The files of a worker's folder, from afar (:class:`harness.runner.executors.ray_actor.NodeWorker`)."""

    def read(self, name: str, offset: int, size: int) -> bytes:
        """A piece of a file; raises OSError if it is gone."""

    def put(self, name: str, offset: int, data: bytes) -> None:
        """Write a piece of a file."""


class LocalCopy:
    """The run's folder on the machine that ``halfway`` runs on, kept up to date with the worker's folder on a node."""

    def __init__(self, folder: Path, main: str) -> None:
        self.folder, self.main = folder, folder / main
        cut_torn_tail(self.main)
        self.offset = self.main.stat().st_size if self.main.exists() else 0
        self._touched = 0
        self._known: dict[str, tuple[int, int]] = {}
        for left in folder.glob(f"checkpoints/{_COMING}*"):  # of a driver that was killed
            shutil.rmtree(left, ignore_errors=True)

    # -- out -------------------------------------------------------------------------------------------------------

    def send(self, names: list[str], files: Files) -> None:
        """Give a node what a worker needs to begin or go on: the named files and the newest complete checkpoint."""
        newest = newest_complete(self.folder / "checkpoints")
        if newest is not None:
            paths = sorted((p for p in newest[1].rglob("*") if p.is_file()), key=lambda p: p.name == MANIFEST)
            names = names + [p.relative_to(self.folder).as_posix() for p in paths]
        attempts = sorted(p for p in (self.folder / "attempts").glob("*/*") if p.is_file())
        for name in names + [p.relative_to(self.folder).as_posix() for p in attempts]:  # attempts are numbered on
            if (self.folder / name).is_file():
                self._send(name, files)

    def _send(self, name: str, files: Files) -> None:
        offset = 0
        with open(self.folder / name, "rb") as file:
            while (data := file.read(CHUNK)) or not offset:
                files.put(name, offset, data)
                offset += len(data)
                if len(data) < CHUNK:
                    break

    # -- in --------------------------------------------------------------------------------------------------------

    def take(self, seen: Snapshot, files: Files) -> None:
        """Bring the local copy up to date with what was seen in the worker's folder."""
        if seen.added:
            with open(self.main, "ab") as file:
                file.write(seen.added)
                file.flush()
                os.fsync(file.fileno())
            self.offset += len(seen.added)
        elif seen.touched != self._touched and self.main.exists():
            self._touch()
        self._touched = seen.touched
        for name, stamp in seen.files.items():
            if self._known.get(name) != stamp and self._fetch(name, stamp[0], self.folder / name, files):
                self._known[name] = stamp
        for name, sizes in seen.checkpoints.items():
            self._take_checkpoint(name, sizes, files)

    def _touch(self) -> None:
        with contextlib.suppress(OSError):
            os.utime(self.main)  # the watchdog looks at this file

    def _take_checkpoint(self, name: str, sizes: dict[str, int], files: Files) -> None:
        checkpoints = self.folder / "checkpoints"
        if (checkpoints / name).exists():
            return
        partial = checkpoints / f"{_COMING}{name}"
        shutil.rmtree(partial, ignore_errors=True)
        partial.mkdir(parents=True)
        try:
            whole = all(self._fetch(f"checkpoints/{name}/{file}", size, partial / file, files) for file, size in sizes.items())
            if whole:
                partial.replace(checkpoints / name)
                prune(checkpoints)
        finally:
            shutil.rmtree(partial, ignore_errors=True)

    def _fetch(self, name: str, size: int, target: Path, files: Files) -> bool:
        """Copy ``size`` bytes of a file; False if it went away meanwhile."""
        try:
            with replacing(target) as partial, open(partial, "wb") as file:
                while (done := file.tell()) < size:
                    data = files.read(name, done, min(CHUNK, size - done))
                    if not data:
                        raise FileNotFoundError(name)  # cut shorter meanwhile  # noqa: TRY301
                    file.write(data)
                    self._touch()
        except FileNotFoundError:
            return False
        return True
