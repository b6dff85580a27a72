"""A warm worker: a process that has imported what a backend trains with, and forks one worker per run.

Imports are most of what a short run waits for. The warm worker pays for them once and computes nothing, so that no pool of threads
that does arithmetic exists when it forks; each fork then goes on as if it had been started by itself, in a session of its own, with
its own output, variables and locks. A fork that crashes leaves the warm worker as it was, and all forks die with it. Plugins and
tasks of the user's own are imported in the forks alone.
"""

from __future__ import annotations

import contextlib
import gc
import importlib
import json
import os
import select
import signal
import socket
import sys
import threading
from collections.abc import Iterable
from typing import Any

from harness.worker.protocol import PACKET_BYTES, PARENT_VARIABLE


def serve(backend: str, tasks: Iterable[str]) -> list[str] | None:
    """Fork a worker for each request that comes through standard input, a socket.

    Returns in every fork, with the arguments of its worker; in the warm worker itself None, once nobody can ask any more or where
    forking does not suit because an import has started threads.
    """
    channel = socket.socket(fileno=os.dup(0))
    with open(os.devnull, "rb") as nothing:
        os.dup2(nothing.fileno(), 0)
    _import_everything(backend, tasks)
    if threading.active_count() > 1:
        return None
    gc.collect()
    gc.freeze()  # what is here now is shared with the forks: no collection touches it, or copies it
    _say(channel, {"ready": True})
    forks: dict[int, tuple[int, int]] = {}  # file descriptor of a fork -> number of its request, process id
    while True:
        readable, _, _ = select.select([channel.fileno(), *forks], [], [])
        for handle in forks.keys() & set(readable):
            number, pid = forks.pop(handle)
            os.close(handle)
            _say(channel, {"number": number, "code": _bury(pid)})
        if channel.fileno() not in readable:
            continue
        packet, files, _, _ = socket.recv_fds(channel, PACKET_BYTES, 2)
        if not packet:
            return None
        request = json.loads(packet)
        arguments: list[str] = request["arguments"]
        parent = os.getpid()
        pid = os.fork()
        if pid == 0:
            channel.close()
            for handle in forks:
                os.close(handle)
            _become_worker(request["environment"], files, parent)
            return arguments
        for handle in files:
            os.close(handle)
        forks[os.pidfd_open(pid)] = (request["number"], pid)
        _say(channel, {"number": request["number"], "pid": pid})


def _import_everything(backend: str, tasks: Iterable[str]) -> None:
    from harness.registry import TASK_IMPORTS, load_backend
    from harness.worker import attempt  # noqa: F401 - what every worker needs

    load_backend(backend).preload()
    for task in tasks:
        for module in TASK_IMPORTS.get(task, ()):
            with contextlib.suppress(ImportError):  # the worker that needs it says so
                importlib.import_module(module)


def _become_worker(environment: dict[str, str], files: list[int], parent: int) -> None:
    os.setsid()
    for number, handle in zip((1, 2), files, strict=True):
        os.dup2(handle, number)
        os.close(handle)
    os.environ.update(environment)
    os.environ[PARENT_VARIABLE] = str(parent)
    if numpy := sys.modules.get("numpy"):
        numpy.random.seed()  # the state of the global generator is the warm worker's, the same in every fork


def _bury(pid: int) -> int:
    """Exit code of a fork that has ended, minus the signal that killed it; ends the processes that it left behind."""
    os.waitid(os.P_PID, pid, os.WEXITED | os.WNOWAIT)  # not yet reaped, so that its group's number is still its own
    with contextlib.suppress(ProcessLookupError, PermissionError):
        os.killpg(pid, signal.SIGKILL)
    return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])


def _say(channel: socket.socket, message: dict[str, Any]) -> None:
    with contextlib.suppress(OSError):  # a parent that is gone ends this process
        channel.send(json.dumps(message).encode())
