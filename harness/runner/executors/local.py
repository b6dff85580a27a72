"""Runs on this machine: a few subprocesses at a time, one accelerator per slot."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

from harness.machine.environment import core_count, visible_gpus
from harness.machine.interpreters import interpreter
from harness.records.run_folder import RunPaths
from harness.runner.executors.process import WorkerProcess
from harness.spec import RunSpec


class LocalExecutor:
    """See :class:`harness.runner.executors.base.Executor`."""

    def __init__(self, runs: Sequence[RunSpec], max_parallel: int | None) -> None:
        self._slots = slots(runs, max_parallel)
        self._taken: dict[int, _SlotProcess] = {}

    def capacity(self) -> int:
        return len(self._slots)

    def start(self, spec: RunSpec, paths: RunPaths) -> WorkerProcess:
        slot = next(i for i in range(len(self._slots)) if i not in self._taken)
        process = _SlotProcess(self._taken, slot, interpreter(spec), [str(paths.root)], self._slots[slot])
        self._taken[slot] = process
        return process

    def prepare(self, spec: RunSpec, specs: Path, progress: Path) -> WorkerProcess:
        return WorkerProcess(interpreter(spec), ["--prepare", str(specs)], self._slots[0], progress)

    def close(self) -> None:
        """Nothing to release."""


class _SlotProcess(WorkerProcess):
    """A worker that frees its slot when it is closed."""

    def __init__(
        self, taken: dict[int, _SlotProcess], slot: int, python: str, arguments: list[str], environment: Mapping[str, str]
    ) -> None:
        super().__init__(python, arguments, environment)
        self._taken, self._slot = taken, slot

    def close(self) -> None:
        super().close()
        self._taken.pop(self._slot, None)


def slots(runs: Sequence[RunSpec], max_parallel: int | None) -> list[dict[str, str]]:
    """Environment variables per slot: as many as cores (or GPUs) allow, one GPU each; one slot where a run takes several machines."""
    execution = runs[0].execution
    if execution.nodes > 1:  # the Ray cluster that this command was submitted to hands out its GPUs itself
        return [{} for _ in range(max_parallel or 1)]
    gpus = [name for name, _ in visible_gpus()] if execution.device in ("auto", "cuda") else []
    if len(gpus) < execution.processes:
        count = max_parallel or max(1, core_count() // (execution.threads * execution.processes))
        return [{} for _ in range(count)]
    per_run = execution.processes
    places = [",".join(gpus[i : i + per_run]) for i in range(0, len(gpus) - per_run + 1, per_run)]
    return [{"CUDA_VISIBLE_DEVICES": places[i % len(places)]} for i in range(max_parallel or len(places))]
