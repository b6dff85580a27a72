"""Where runs are executed: on this machine (``local``) or on the nodes of a running Ray cluster (``ray``).

An executor starts workers and says how many it can take; the runner decides what is started when, follows the files in the
run folders, and judges how a worker ended. Every worker is the same program, ``python -m harness.worker``, wherever it is.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

from harness.errors import UserError, did_you_mean
from harness.records.run_folder import RunPaths
from harness.spec import RunSpec

if TYPE_CHECKING:
    from harness.runner.executors.warm import WarmWorkers

EXECUTORS = ("local", "ray")


class Worker(Protocol):
    """A started worker process, on this machine or another."""

    @property
    def placed(self) -> bool:
        """Whether it runs; False while it waits for resources."""

    @property
    def ended_by(self) -> str | None:
        """How it was ended, as a clause, where the exit code does not tell; None otherwise."""

    @property
    def machine_lost(self) -> bool:
        """Whether it ended because its machine was lost, which says nothing about the run."""

    def poll(self) -> int | None:
        """Exit code, minus the signal that killed it, or None while it runs."""

    def terminate(self) -> None:
        """Ask it to end."""

    def kill(self) -> None:
        """End it and its children at once."""

    def error_message(self) -> str:
        """The last line it wrote to stderr: one sentence that says why it ended, or nothing."""

    def close(self) -> None:
        """Release what it holds here; only after it has ended."""


class Executor(Protocol):
    """Starts workers."""

    def capacity(self) -> int:
        """Workers that can run at a time, as things are now."""

    def start(self, spec: RunSpec, paths: RunPaths) -> Worker:
        """A worker for one attempt at a run whose ``spec.json`` is written. Raises UserError or OSError."""

    def prepare(self, spec: RunSpec, specs: Path, progress: Path) -> Worker:
        """A worker that builds what the runs listed in ``specs`` share and writes its progress to ``progress``."""

    def close(self) -> None:
        """Release what the executor holds; its workers have ended by now."""


def open_executor(
    name: str, runs: Sequence[RunSpec], suite_folder: Path, max_parallel: int | None, warm: WarmWorkers | None = None
) -> Executor:
    """The executor of that name for these runs; ``warm``: warm workers that outlive it, for the local one.

    Raises UserError if there is none of that name, or it cannot be used here.
    """
    if name == "local":
        from harness.runner.executors.local import LocalExecutor

        return LocalExecutor(runs, max_parallel, warm)
    if name == "ray":
        from harness.runner.executors.ray import RayExecutor

        return RayExecutor(runs, suite_folder, max_parallel)
    raise UserError(f"--executor {name}: must be one of {', '.join(EXECUTORS)}{did_you_mean(name, EXECUTORS)}")
