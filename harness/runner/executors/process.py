"""The worker's subprocess on the machine it runs on."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
import tempfile
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import IO

import harness
from harness.worker.protocol import PARENT_VARIABLE


class WorkerProcess:
    """A subprocess in a session of its own, so that a Ctrl-C in the terminal reaches the runner alone."""

    placed = True
    ended_by: str | None = None
    machine_lost = False

    def __init__(
        self,
        python: str,
        arguments: list[str],
        environment: Mapping[str, str | None],
        stdout: Path | None = None,
        folder: Path | None = None,
        on_close: Callable[[], None] = lambda: None,
    ) -> None:
        """``environment``: variables to set beside this process's own, or to leave out (None). ``folder``: where it works."""
        self._python, self._on_close = python, on_close
        self._stderr = tempfile.TemporaryFile()  # noqa: SIM115 - lives as long as the process; a pipe could fill up
        out = open(stdout, "wb") if stdout else None  # noqa: SIM115
        try:
            self._process = subprocess.Popen(
                [python, "-P", "-m", "harness.worker", *arguments],
                stdin=subprocess.DEVNULL,
                stdout=out or self._stderr,
                stderr=self._stderr,
                env=worker_environment(python, environment),
                cwd=folder,
                start_new_session=True,
            )
        finally:
            if out:
                out.close()

    def poll(self) -> int | None:
        """Exit code, minus the signal that killed it, or None while it runs; ends children that it left behind."""
        code = self._process.poll()
        if code is not None:
            self._signal_group(signal.SIGKILL)  # children that outlived their worker
        return code

    def terminate(self) -> None:
        """Ask the worker itself; its children end with it."""
        with contextlib.suppress(ProcessLookupError):
            self._process.terminate()

    def kill(self) -> None:
        """End the worker and its children at once."""
        self._signal_group(signal.SIGKILL)

    def error_message(self) -> str:
        """The last line that the process wrote to stderr."""
        return last_words(self._stderr, self._python)

    def close(self) -> None:
        """Close the captured stderr."""
        self._stderr.close()
        self._on_close()

    def _signal_group(self, number: int) -> None:
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.killpg(self._process.pid, number)


def last_words(stderr: IO[bytes], python: str) -> str:
    """The last line of what a process under this interpreter wrote."""
    stderr.seek(0)
    lines = stderr.read().decode("utf-8", "replace").strip().splitlines()
    message = lines[-1].strip() if lines else ""
    if "No module named 'harness" in message:
        return f"{python} has no halfway: install it there, in the same version, with the extra of that backend"
    return message


def worker_environment(python: str, extra: Mapping[str, str | None]) -> dict[str, str]:
    """The variables of a worker: this process's own with ``extra`` (None: left out), and where it finds Halfway's code."""
    wanted = {**os.environ, **extra, PARENT_VARIABLE: str(os.getpid()), "PYTHONUNBUFFERED": "1"}
    environment = {name: value for name, value in wanted.items() if value is not None}
    root = Path(harness.__file__).resolve().parents[1]
    if python == sys.executable and root.name not in ("site-packages", "dist-packages"):
        # A source folder that is not installed: the worker must find the same code that started it.
        environment["PYTHONPATH"] = os.pathsep.join(filter(None, [str(root), os.environ.get("PYTHONPATH")]))
    return environment
