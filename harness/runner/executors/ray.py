"""Runs on the nodes of a running Ray cluster: one actor per worker, placed by Ray with the processors and GPUs that a run needs.

The actor starts the same subprocess as the ``local`` executor and dies with its node, and the subprocess with the actor. Results come
home through a shared runs folder where the node sees it, and are collected while the worker runs where it does not. Ray alone
decides where a run goes; what a run is and whether it is done is in the runs folder, never in the cluster.
"""

from __future__ import annotations

import contextlib
import importlib
import os
import secrets
import signal
import socket
import threading
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from harness import __version__
from harness.errors import UserError
from harness.records.file_locks import FileLock, holder
from harness.records.run_folder import STOP_NAME, RunPaths
from harness.runner.executors.ray_actor import NodeInfo, NodeWorker, Snapshot, WorkOrder
from harness.runner.executors.ray_files import LocalCopy
from harness.spec import RunSpec

LOOK_SECONDS = 0.25
FILES_SECONDS = 5.0
"""How often files other than the ledger and checkpoints come home while a run is going."""
CAPACITY_SECONDS = 2.0
PATIENCE_SECONDS = 15.0


class RayExecutor:
    """See :class:`harness.runner.executors.base.Executor`."""

    def __init__(self, runs: Sequence[RunSpec], suite_folder: Path, max_parallel: int | None) -> None:
        self._ray = _connect()
        self._most = max_parallel
        self._needs = needs(runs[0], self._nodes())
        self._token = suite_folder.resolve() / f".seen-{secrets.token_hex(8)}"
        self._token.write_text(secrets.token_hex(16), encoding="utf-8")
        self._capacity, self._asked = 0, 0.0
        if not self.capacity():
            self.close()
            largest_first = sorted(self._nodes(), key=lambda node: (node.get("GPU", 0), node.get("CPU", 0)), reverse=True)
            have = "; ".join(map(_describe, largest_first)) or "none"
            raise UserError(f"no node of the Ray cluster has the {_describe(self._needs)} that one run needs (nodes: {have})")

    def capacity(self) -> int:
        if time.monotonic() - self._asked > CAPACITY_SECONDS or not self._asked:
            self._asked = time.monotonic()
            with contextlib.suppress(Exception):  # the cluster may be in the middle of losing its head
                self._capacity = sum(fit(self._needs, node) for node in self._nodes())
        return self._capacity if self._most is None else min(self._most, self._capacity)

    def start(self, spec: RunSpec, paths: RunPaths) -> RayWorker:
        order = self._order(spec, paths.root, paths.ledger.name, None)
        return RayWorker(self._ray, self._needs, order, ["spec.json", paths.ledger.name], paths.lock)

    def prepare(self, spec: RunSpec, specs: Path, progress: Path) -> RayWorker:
        order = self._order(spec, specs.parent, progress.name, specs.name)
        return RayWorker(self._ray, self._needs, order, [specs.name], None)

    def close(self) -> None:
        self._token.unlink(missing_ok=True)

    def _order(self, spec: RunSpec, home: Path, main: str, preparing: str | None) -> WorkOrder:
        token = (self._token.name, self._token.read_text(encoding="utf-8"))
        return WorkOrder(spec.model_dump_json(), str(home.resolve()), main, preparing, token, str(Path.cwd()))

    def _nodes(self) -> list[dict[str, float]]:
        return [dict(node["Resources"]) for node in self._ray.nodes() if node["Alive"]]


class RayWorker:
    """A worker on some node, followed by a thread of its own; see :class:`harness.runner.executors.base.Worker`."""

    def __init__(self, ray: Any, needs: dict[str, float], order: WorkOrder, names: list[str], lock: Path | None) -> None:
        self.placed = False
        self.ended_by: str | None = None
        self.machine_lost = False
        self._ray, self._order, self._names = ray, order, names
        self._lock = FileLock(lock) if lock is not None else None
        self._message = ""
        self._code: int | None = None
        self._node = ""
        self._asked = False
        self._killed: float | None = None
        self._options = {"num_cpus": needs["CPU"], "num_gpus": needs.get("GPU", 0)}
        self._actor: Any = None
        self._thread = threading.Thread(target=self._follow, name=f"ray {Path(order.home).name}", daemon=True)
        self._thread.start()

    def poll(self) -> int | None:
        return None if self._thread.is_alive() else self._code

    def terminate(self) -> None:
        self._asked = True
        if self.placed:
            self._send("terminate")
        else:  # nothing has begun that could end well
            self._end_actor()

    def kill(self) -> None:
        if self.placed and self._killed is None:
            self._killed = time.monotonic()
            self._send("kill")  # the process and its children; the thread then sees it end
        elif self._killed is None or time.monotonic() - self._killed > PATIENCE_SECONDS:
            self._end_actor()

    def error_message(self) -> str:
        return self._message

    def close(self) -> None:
        self._thread.join()

    def _send(self, what: str) -> None:
        with contextlib.suppress(Exception):  # an actor that is gone needs no message
            getattr(self._actor, what).remote()

    def _end_actor(self) -> None:
        self._killed = self._killed or time.monotonic()
        with contextlib.suppress(Exception):
            self._ray.kill(self._actor)  # its subprocess asked the kernel to die with it

    # -- in the thread ---------------------------------------------------------------------------------------------

    def _follow(self) -> None:
        try:
            self._code = self._work()
        except Exception as error:
            self._code = self._judge(error)
        finally:
            with contextlib.suppress(Exception):
                self._ray.kill(self._actor)  # nothing of it is needed any more; its subprocess is gone or goes with it
            if self._lock is not None:
                self._lock.release()

    def _work(self) -> int:
        self._actor = self._ray.remote(NodeWorker).options(**self._options).remote(self._order)
        node: NodeInfo = self._get(self._actor.begin.remote())
        if node.version != __version__:
            raise UserError(f"node {node.host} of the Ray cluster has halfway {node.version}, this is {__version__}: install the same")
        self._node, self.placed = node.node, True
        copy = None if node.shared else self._local_copy()
        if copy is not None:
            copy.send(self._names, self)
        self._get(self._actor.start.remote())
        if self._asked or self._killed:  # while there was no process yet that could have received it
            self._send("kill" if self._killed else "terminate")
        code = None
        files_at, checkpointed = time.monotonic(), False
        while code is None:
            time.sleep(LOOK_SECONDS)
            with_files = checkpointed or time.monotonic() - files_at > FILES_SECONDS
            seen: Snapshot = self._get(self._actor.snapshot.remote(copy.offset if copy else 0, with_files))
            files_at = time.monotonic() if with_files else files_at
            checkpointed = b'{"type":"checkpoint"' in seen.added
            if copy is not None:
                copy.take(seen, self)
                self._forward_stop_request(copy)
            code, self._message = seen.code, seen.message
        self._get(self._actor.close.remote())
        return code

    def _local_copy(self) -> LocalCopy:
        if self._lock is not None and not self._lock.acquire(patience=2.0):
            raise UserError(f"run {self._order.home} is being worked on by {holder(self._lock.path)}; wait for it or stop it")
        return LocalCopy(Path(self._order.home), self._order.main)

    def _forward_stop_request(self, home: LocalCopy) -> None:
        if STOP_NAME not in self._names and (home.folder / STOP_NAME).exists():
            self.put(STOP_NAME, 0, b"")
            self._names = [*self._names, STOP_NAME]

    def read(self, name: str, offset: int, size: int) -> bytes:
        data: bytes = self._get(self._actor.read.remote(name, offset, size))
        return data

    def put(self, name: str, offset: int, data: bytes) -> None:
        self._get(self._actor.put.remote(name, offset, data))

    def _get(self, reference: Any) -> Any:
        return self._ray.get(reference)

    def _judge(self, error: Exception) -> int:
        """Exit code for what ended the conversation with the actor; sets what goes with it."""
        if isinstance(error, self._ray.exceptions.RayTaskError):  # before UserError: it also is an instance of its cause
            cause = error.cause
            self._message = (
                str(cause) if isinstance(cause, UserError) else f"its node of the Ray cluster cannot run it: {_first_line(cause)}"
            )
            return UserError.exit_code
        if isinstance(error, UserError):
            self._message = str(error)
            return UserError.exit_code
        if isinstance(error, OSError):
            self._message = f"cannot write {error.filename or self._order.home}: {error.strerror or error}"
            return UserError.exit_code
        self.machine_lost = "node has died" in str(error) or self._node_is_gone()
        reason = "its node of the Ray cluster was lost" if self.machine_lost else f"ended by Ray ({_first_line(error)})"
        self.ended_by = None if self._killed else reason
        return -signal.SIGKILL

    def _node_is_gone(self) -> bool:
        """Whether the node is declared dead; the cluster needs a moment to notice."""
        deadline = time.monotonic() + PATIENCE_SECONDS
        while self._node and self._killed is None and time.monotonic() < deadline:
            try:
                if self._node not in {node["NodeID"] for node in self._ray.nodes() if node["Alive"]}:
                    return True
            except Exception:
                return True  # no cluster at all
            time.sleep(0.5)
        return False


def needs(spec: RunSpec, nodes: Sequence[Mapping[str, float]]) -> dict[str, float]:
    """Resources of one run: a processor per thread; a GPU per process where runs use GPUs (and, for ``auto``, some node has them)."""
    execution = spec.execution
    if execution.nodes > 1:
        raise UserError(f"execution.nodes = {execution.nodes}: such a run takes its machines itself; use --executor local for it")
    wanted = {"CPU": float(execution.threads * execution.processes)}
    if execution.device.startswith("cuda:"):
        raise UserError(
            f"execution.device = {execution.device!r} names one GPU of one machine; with --executor ray it must be auto, cuda or cpu"
        )
    has_gpus = any(node.get("GPU", 0) >= execution.processes for node in nodes)
    if execution.device == "cuda" or (execution.device == "auto" and has_gpus):
        wanted["GPU"] = float(execution.processes)
    return wanted


def fit(wanted: Mapping[str, float], node: Mapping[str, float]) -> int:
    """How many runs with these needs a node takes at a time."""
    return int(min(node.get(name, 0.0) // amount for name, amount in wanted.items()))


def _describe(resources: Mapping[str, float]) -> str:
    return " and ".join(f"{resources.get(name, 0):g} {name}{'' if resources.get(name, 0) == 1 else 's'}" for name in ("CPU", "GPU"))


def _connect() -> Any:
    try:
        ray = importlib.import_module("ray")
    except ImportError as error:
        raise UserError("--executor ray needs Ray: pip install 'halfway[ray]'") from error
    if not ray.is_initialized():
        try:
            _check_reachable(os.environ.get("RAY_ADDRESS", ""))
            ray.init(address="auto", log_to_driver=False, logging_level="ERROR")
        except Exception as error:
            raise UserError(
                f"no Ray cluster can be reached ({_first_line(error)}); start one with 'ray start --head', or set RAY_ADDRESS"
            ) from error
    return ray


def _check_reachable(address: str) -> None:
    """Raise OSError where nobody listens: Ray itself would go on trying for minutes."""
    host, _, port = address.rpartition("://")[2].rpartition(":")
    if host and port.isdigit():
        socket.create_connection((host, int(port)), timeout=10).close()


def _first_line(error: BaseException) -> str:
    lines = str(error).strip().splitlines()
    return f"{type(error).__name__}: {lines[0].strip()}" if lines else type(error).__name__
