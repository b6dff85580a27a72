"""A worker on a node of a cluster: the same subprocess as the local one, and access to its files.

:class:`NodeWorker` is what the ``ray`` executor makes an actor of. Where the node sees the driver's runs
folder, the worker works right there. Elsewhere it works in a folder of its own (``HALFWAY_SCRATCH`` or a temporary one),
which the driver fills before the start and empties while the worker runs (:mod:`harness.runner.executors.ray_files`).
"""

from __future__ import annotations

import os
import shutil
import socket
import sys
import tempfile
import time
from dataclasses import dataclass, field
from pathlib import Path

from harness import __version__
from harness.files import files_under
from harness.machine.interpreters import interpreter
from harness.records.checkpoint import complete_step
from harness.records.file_locks import FileLock, is_locked
from harness.records.tail import whole_lines
from harness.runner.executors.process import WorkerProcess
from harness.spec import RunSpec

SCRATCH_VARIABLE = "HALFWAY_SCRATCH"
HANDOVER_SECONDS = 60.0
"""How long a worker waits for the last one of the same run to be gone: a lost node's processes may outlive its connection."""


_PREFIX, _HELD = "halfway-", ".held"


@dataclass(frozen=True)
class WorkOrder:
    """What a worker has to do. Paths are those of the machine that ``halfway`` runs on.

    spec: a run of the combination, as JSON. home: the folder with the worker's files. main: the append-only file in it that the
    driver follows. preparing: name of the list of specs in ``home`` to prepare, or None to go on with the run in ``home``.
    token: name and content of a file in ``home``'s parent by which a node tells whether it sees the same folder.
    """

    spec: str
    home: str
    main: str
    preparing: str | None
    token: tuple[str, str]
    working_folder: str


@dataclass(frozen=True)
class NodeInfo:
    """The node a worker is on: host name, Ray's id, version of Halfway there, whether it works in the shared runs folder."""

    host: str
    node: str
    version: str
    shared: bool


@dataclass(frozen=True)
class Snapshot:
    """A worker's state at one moment.

    code: its exit code, None while it runs. message: the last line it wrote to stderr. added: whole lines of the main file since the offset
    asked for. touched: when the main file was last changed, in ns. files: (size, modification time in ns) by path below the folder.
    checkpoints: size of each file, by folder of a complete checkpoint.
    """

    code: int | None
    message: str
    added: bytes
    touched: int
    files: dict[str, tuple[int, int]] = field(default_factory=dict)
    checkpoints: dict[str, dict[str, int]] = field(default_factory=dict)


class NodeWorker:
    """One worker and its folder, as a Ray actor on the node."""

    def __init__(self, order: WorkOrder) -> None:
        self._order = order
        self.folder = Path(order.home)
        self._process: WorkerProcess | None = None
        self._scratch: Path | None = None
        self._held: FileLock | None = None

    def begin(self) -> NodeInfo:
        """Find the shared folder or make one; returns where this is."""
        if not self._sees(self.folder):
            self._scratch = Path(tempfile.mkdtemp(prefix=_PREFIX, dir=os.environ.get(SCRATCH_VARIABLE)))
            self._held = FileLock(self._scratch / _HELD)
            self._held.acquire()
            _clear(self._scratch.parent)
            self.folder = self._scratch / self.folder.name
            self.folder.mkdir()
        ray = sys.modules.get("ray")
        node = ray.get_runtime_context().get_node_id() if ray is not None and ray.is_initialized() else ""
        return NodeInfo(socket.gethostname(), str(node), __version__, self._scratch is None)

    def _sees(self, home: Path) -> bool:
        name, content = self._order.token
        try:
            return SCRATCH_VARIABLE not in os.environ and (home.parent / name).read_text(encoding="utf-8") == content
        except OSError:
            return False

    # -- the worker ------------------------------------------------------------------------------------------------

    def start(self) -> None:
        """Start the worker. Raises UserError if it cannot be started here."""
        python = interpreter(RunSpec.model_validate_json(self._order.spec))
        main = self.folder / self._order.main
        # The run is no part of the cluster: an engine that uses Ray itself must not join this one by accident.
        environment = {name: None for name in os.environ if name.startswith("RAY_")}
        working = Path(self._order.working_folder)
        working = working if working.is_dir() else self.folder
        if self._order.preparing:
            arguments = ["--prepare", str(self.folder / self._order.preparing)]
            self._process = WorkerProcess(python, arguments, environment, main, working)
            return
        deadline = time.monotonic() + HANDOVER_SECONDS
        while is_locked(self.folder / "lock") and time.monotonic() < deadline:
            time.sleep(0.2)
        self._process = WorkerProcess(python, [str(self.folder)], environment, None, working)

    def terminate(self) -> None:
        """Ask the worker to end."""
        if self._process is not None:
            self._process.terminate()

    def kill(self) -> None:
        """End it at once."""
        if self._process is not None:
            self._process.kill()

    # -- its files -------------------------------------------------------------------------------------------------

    def snapshot(self, offset: int, with_files: bool = False) -> Snapshot:
        """What the worker has done: whole lines of the main file from ``offset`` on; with its other files if asked, and at the end."""
        code = self._process.poll() if self._process is not None else None  # first, so that nothing written before the end is missed
        message = self._process.error_message() if self._process is not None and code is not None else ""
        files: dict[str, tuple[int, int]] = {}
        checkpoints: dict[str, dict[str, int]] = {}
        if self._scratch is not None and (with_files or code is not None):
            checkpoints, files = self._checkpoints(), self._files()
        # The main file last: a checkpoint must never come home ahead of the ledger lines it rests on.
        added, touched = self._added(offset)
        return Snapshot(code, message, added, touched, files, checkpoints)

    def read(self, name: str, offset: int, size: int) -> bytes:
        """A piece of a file; raises OSError if it is gone."""
        with open(self.folder / name, "rb") as file:
            file.seek(offset)
            return file.read(size)

    def put(self, name: str, offset: int, data: bytes) -> None:
        """Write a piece of a file."""
        path = self.folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        with open(path, "r+b" if offset else "wb") as file:
            file.seek(offset)
            file.write(data)

    def close(self) -> None:
        """Remove the folder if it is this node's own."""
        if self._process is not None:
            self._process.kill()
            self._process.close()
        if self._scratch is not None and self._held is not None:
            shutil.rmtree(self._scratch, ignore_errors=True)
            self._held.release()

    def _added(self, offset: int) -> tuple[bytes, int]:
        path = self.folder / self._order.main
        try:
            touched = path.stat().st_mtime_ns
            return (whole_lines(path, offset) if self._scratch is not None else b""), touched
        except OSError:
            return b"", 0

    def _files(self) -> dict[str, tuple[int, int]]:
        """Everything but the main file, locks, half-written files and checkpoints."""
        found = {}
        for path in files_under(self.folder):
            name = path.relative_to(self.folder).as_posix()
            if name.startswith("checkpoints/") or name in (self._order.main, "lock", "stop", "spec.json") or name.endswith(".partial"):
                continue
            try:
                status = path.stat()
            except OSError:
                continue  # removed by the worker meanwhile
            found[name] = (status.st_size, status.st_mtime_ns)
        return found

    def _checkpoints(self) -> dict[str, dict[str, int]]:
        found = {}
        for folder in (self.folder / "checkpoints").glob("*"):
            if complete_step(folder) is None:
                continue
            try:
                found[folder.name] = {path.relative_to(folder).as_posix(): path.stat().st_size for path in sorted(files_under(folder))}
            except OSError:
                continue  # being removed by the worker
        return found


def _clear(folder: Path) -> None:
    """Remove what was left by actors that were killed."""
    for left in folder.glob(f"{_PREFIX}*"):
        if (left / _HELD).exists() and not is_locked(left / _HELD):
            shutil.rmtree(left, ignore_errors=True)
