"""Runs on this machine: a few subprocesses at a time, one accelerator per slot."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

from harness.machine.environment import core_count, visible_gpus
from harness.machine.interpreters import interpreter
from harness.records.run_folder import RunPaths
from harness.runner.executors.process import WorkerProcess
from harness.runner.executors.warm import ForkedWorker, WarmWorkers
from harness.spec import RunSpec


class LocalExecutor:
    """See :class:`harness.runner.executors.base.Executor`. ``warm``: the command's warm workers; by default its own."""

    def __init__(self, runs: Sequence[RunSpec], max_parallel: int | None, warm: WarmWorkers | None = None) -> None:
        self._slots = slots(runs, max_parallel)
        self._tasks = list(dict.fromkeys(spec.combination.task.name for spec in runs))
        self._taken: set[int] = set()
        self._warm, self._own_warm = warm or WarmWorkers(), warm is None
        # A process must not be forked from one that has looked at a GPU, and some libraries look when they are imported.
        self._may_fork = runs[0].execution.device == "cpu" or not visible_gpus()

    def capacity(self) -> int:
        return len(self._slots)

    def start(self, spec: RunSpec, paths: RunPaths) -> WorkerProcess | ForkedWorker:
        slot = next(i for i in range(len(self._slots)) if i not in self._taken)
        worker = self._worker(spec, [str(paths.root)], slot, on_close=lambda: self._taken.discard(slot))
        self._taken.add(slot)
        return worker

    def prepare(self, spec: RunSpec, specs: Path, progress: Path) -> WorkerProcess | ForkedWorker:
        return self._worker(spec, ["--prepare", str(specs)], 0, progress)

    def close(self) -> None:
        if self._own_warm:
            self._warm.close()

    def _worker(
        self, spec: RunSpec, arguments: list[str], slot: int, stdout: Path | None = None, on_close: Callable[[], None] = lambda: None
    ) -> WorkerProcess | ForkedWorker:
        python, environment = interpreter(spec), self._slots[slot]
        warm = self._warm.of(spec, python, self._tasks) if self._may_fork else None
        if warm is None:
            return WorkerProcess(python, arguments, environment, stdout, on_close=on_close)
        return ForkedWorker(warm, python, arguments, environment, stdout, on_close)


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
