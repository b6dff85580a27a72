"""Run a suite: one subprocess per run, a few at a time, as often as it takes. Starting it again *is* resuming.

What counts is on disk: a run that is done is not touched, any other goes on from its newest complete checkpoint. A
worker that was *interrupted* (killed, out of memory, silent) is started again, up to ``execution.attempts`` times, unless two
attempts die at the same step; one that *failed* by itself would fail again and is not. The other runs go on either way.
"""

from __future__ import annotations

import json
import signal
import threading
import time
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from types import FrameType

from harness.environment import core_count, visible_gpus
from harness.errors import UserError
from harness.jobs import Follower, Job, WorkerProcess, interpreter
from harness.ledger import LedgerWriter
from harness.locks import FileLock, holder
from harness.progress import Display
from harness.runs import DONE, RunPaths, RunStatus, check_spec, run_paths, run_status, suite_folder
from harness.spec import RunSpec

POLL_SECONDS = 0.1
GRACE_SECONDS = 15.0


@dataclass(frozen=True, slots=True)
class Outcome:
    """How a run stands when the command ends; ``message`` says why it is not done."""

    spec: RunSpec
    status: RunStatus
    message: str | None = None

    @property
    def done(self) -> bool:
        """Whether nothing is owed any more."""
        return self.status.state in DONE


@dataclass(slots=True)
class SuiteResult:
    """How all runs stand when the command ends."""

    outcomes: list[Outcome]
    stopped: bool = False

    @property
    def exit_code(self) -> int:
        """0 all done; 130 stopped; 2 if nothing is done and a person must mend something everywhere; 1 otherwise."""
        if self.stopped:
            return 130
        if all(outcome.done for outcome in self.outcomes):
            return 0
        if all(outcome.status.mendable for outcome in self.outcomes):
            return 2
        return 1


def run_suite(
    runs: Sequence[RunSpec],
    runs_dir: Path,
    display: Display,
    *,
    max_parallel: int | None = None,
    wait: bool = False,
    retry_failed: bool = False,
) -> SuiteResult:
    """Bring every run to its end as far as possible.

    Raises UserError if another command works on the same suite folder and ``wait`` is False.
    """
    if not runs:
        return SuiteResult([])
    with _suite_lock(suite_folder(runs_dir, runs[0].suite), display, wait):
        runner = _Runner(runs, runs_dir, display, _slots(runs, max_parallel), retry_failed)
        with _stoppable(runner.stop):
            return runner.run()


class _Runner:
    def __init__(self, runs: Sequence[RunSpec], runs_dir: Path, display: Display, slots: list[dict[str, str]], retry_failed: bool) -> None:
        self.runs, self.runs_dir, self.display, self.slots = runs, runs_dir, display, slots
        self.retry_failed = retry_failed
        self.messages: dict[str, RunStatus] = {}
        self.active: list[Job] = []
        self.deaths: dict[str, list[int]] = {}  # run id -> steps at which its workers were interrupted
        self.preparing: WorkerProcess | None = None
        self.stops = 0
        self._stopped_at = 0.0

    def run(self) -> SuiteResult:
        todo = [spec for spec in self.runs if self._is_owed(spec)]
        self.display.begin(self.runs, {s.run_id: self._status(s) for s in self.runs})
        try:
            queue = deque(self._prepare(todo))
            while (queue and not self.stops) or self.active:
                while queue and not self.stops and len(self.active) < len(self.slots):
                    self._start(queue.popleft())
                for job in list(self.active):
                    if self._follow(job) and not self.stops:
                        queue.appendleft(job.spec)
                self._press()
                time.sleep(POLL_SECONDS)
        finally:
            for process in self._processes():
                process.kill()
        outcomes = [Outcome(spec, status := self._status(spec), status.failure) for spec in self.runs]
        return SuiteResult(outcomes, stopped=self.stops > 0)

    def stop(self) -> None:
        """First call: ask the workers to end. Second: kill them."""
        self.stops += 1
        self._stopped_at = time.monotonic()
        for process in self._processes():
            if self.stops == 1:
                process.terminate()
            else:
                process.kill()

    def _press(self) -> None:
        """Kill what did not end in time after being asked to."""
        if self.stops and time.monotonic() - self._stopped_at > GRACE_SECONDS:
            for process in self._processes():
                process.kill()

    def _processes(self) -> list[WorkerProcess]:
        return [job.process for job in self.active] + ([self.preparing] if self.preparing else [])

    # -- what is to be done --------------------------------------------------------------------------------------

    def _status(self, spec: RunSpec) -> RunStatus:
        return self.messages.get(spec.run_id) or run_status(run_paths(self.runs_dir, spec), spec)

    def _is_owed(self, spec: RunSpec) -> bool:
        status = self._status(spec)
        if status.state in DONE:
            return False
        return status.state != "failed" or status.mendable or self.retry_failed

    # -- preparation ---------------------------------------------------------------------------------------------

    def _prepare(self, todo: Sequence[RunSpec]) -> list[RunSpec]:
        """Build what runs share, one process per combination; returns the runs that can start."""
        ready: set[str] = set()
        for combination in dict.fromkeys(spec.combination.name for spec in todo):
            runs = [spec for spec in todo if spec.combination.name == combination]
            try:
                words, code = self._prepare_combination(combination, runs)
            except UserError as error:
                words, code = str(error), error.exit_code
            except OSError as error:
                words, code = f"{error.strerror} ({error.filename})", UserError.exit_code
            if self.stops:
                return []
            if code == 0:
                ready.update(spec.run_id for spec in runs)
                continue
            for spec in runs:
                self._failed(spec, f"preparing {combination} failed: {words}", "input" if code == UserError.exit_code else "prepare")
        return [spec for spec in todo if spec.run_id in ready]

    def _prepare_combination(self, combination: str, runs: Sequence[RunSpec]) -> tuple[str, int]:
        arms = {spec.strategy.label: spec for spec in reversed(runs)}
        folder = suite_folder(self.runs_dir, runs[0].suite) / "prepare"
        folder.mkdir(parents=True, exist_ok=True)
        specs, progress = folder / f"{combination}.json", folder / f"{combination}.progress"
        specs.write_text(json.dumps([spec.model_dump(mode="json") for spec in arms.values()]), encoding="utf-8")
        progress.unlink(missing_ok=True)
        follower, silenced = Follower(progress), False
        self.display.preparing(combination, "starting", 0, 0)
        process = self.preparing = WorkerProcess(interpreter(runs[0]), ["--prepare", str(specs)], self.slots[0], progress)
        try:
            while (code := process.poll()) is None:
                for what, done, total in follower.news():
                    self.display.preparing(combination, what, done, total)
                if follower.silent_seconds() > runs[0].execution.silence_seconds:
                    silenced = True
                    process.kill()
                self._press()
                time.sleep(POLL_SECONDS)
            self.display.prepared(combination)
            log = specs.with_suffix(".log")
            if silenced:
                return f"its process showed no progress for {runs[0].execution.silence_seconds:g} s and was stopped (log: {log})", 1
            if code < 0:
                return f"its process was killed by signal {-code} (log: {log})", 1
            return process.last_words() or f"its process ended with code {code} (log: {log})", code
        finally:
            self.preparing = None
            process.close()

    # -- runs ----------------------------------------------------------------------------------------------------

    def _start(self, spec: RunSpec) -> None:
        paths = run_paths(self.runs_dir, spec)
        try:
            paths.root.mkdir(parents=True, exist_ok=True)
            if not paths.spec.exists() or check_spec(paths) != spec:
                spec.save(paths.spec)
            slot = min(set(range(len(self.slots))) - {job.slot for job in self.active})
            job = Job(spec, paths, slot, self.slots[slot], run_status(paths, spec).step)
        except UserError as error:
            self._failed(spec, str(error), "input")
        except OSError as error:
            self._failed(spec, f"cannot start {spec.title}: {error.strerror} ({error.filename or paths.root})", "input")
        else:
            self.active.append(job)
            self.display.started(spec, job.step)

    def _follow(self, job: Job) -> bool:
        """Pass on what a worker recorded; True if it ended in a way that asks for another attempt."""
        code = job.process.poll()  # before the ledger is read, so that nothing written before the end is missed
        for record in job.news():
            self.display.recorded(job.spec, record)
        if code is None:
            if not self.stops:
                job.watch()
            return False
        self.active.remove(job)
        words = job.process.last_words()
        job.process.close()
        death = job.how_it_died(code)
        if death is None:
            if code == 0:
                self.display.ended(job.spec, self._status(job.spec))
            else:
                self._ended_badly(job, words or f"its worker ended with code {code} (log: {job.log})", code)
            return False
        if self.stops:
            self.display.ended(job.spec, self._status(job.spec))
            return False
        return self._again(job, death, job.advice(code))

    def _ended_badly(self, job: Job, words: str, code: int) -> None:
        if job.recorded_failure:
            self.display.ended(job.spec, self._status(job.spec))
        else:  # its ledger could not take the sentence
            self._failed(job.spec, words, "input" if code == UserError.exit_code else "error")

    def _again(self, job: Job, death: str, advice: str) -> bool:
        """Whether to start an interrupted run again; if not, say why."""
        steps = self.deaths.setdefault(job.spec.run_id, [])
        steps.append(job.step)
        if len(steps) >= 2 and steps[-1] == steps[-2]:
            words = f"{death} twice at step {job.step} ({advice})"
            _write_failure(job.paths, words)
            self._failed(job.spec, words, "killed")
            return False
        if len(steps) >= job.spec.execution.attempts:
            words = f"{death} at step {job.step}, attempt {len(steps)} of {len(steps)}; start the same command again to go on"
            self.display.note(f"{job.spec.title}: {words}")
            self.display.ended(job.spec, self._status(job.spec))
            return False
        self.display.note(f"{job.spec.title}: {death} at step {job.step}; starting it again")
        return True

    def _failed(self, spec: RunSpec, words: str, kind: str) -> None:
        old = run_status(run_paths(self.runs_dir, spec), spec)
        status = RunStatus("failed", old.step, old.accuracy, old.seconds, words, kind)
        self.messages[spec.run_id] = status
        self.display.ended(spec, status)


def _write_failure(paths: RunPaths, words: str) -> None:
    """Record for a dead worker what it could not record itself."""
    lock = FileLock(paths.lock)
    if not paths.ledger.exists() or not lock.acquire(patience=2.0):
        return
    try:
        ledger = LedgerWriter(paths.ledger)
        if paths.ledger.stat().st_size:
            ledger.write("failure", kind="killed", message=words)
        ledger.close()
    except (UserError, OSError):
        pass  # the sentence is shown all the same; the run then counts as interrupted
    finally:
        lock.release()


def _slots(runs: Sequence[RunSpec], max_parallel: int | None) -> list[dict[str, str]]:
    """Environment variables per slot: as many as cores (or GPUs) allow, one GPU each where runs use GPUs."""
    execution = runs[0].execution
    gpus = [name for name, _ in visible_gpus()] if execution.device in ("auto", "cuda") else []
    if len(gpus) < execution.processes:
        count = max_parallel or max(1, core_count() // (execution.threads * execution.processes))
        return [{} for _ in range(count)]
    per_run = execution.processes
    places = [",".join(gpus[i : i + per_run]) for i in range(0, len(gpus) - per_run + 1, per_run)]
    return [{"CUDA_VISIBLE_DEVICES": places[i % len(places)]} for i in range(max_parallel or len(places))]


@contextmanager
def _suite_lock(folder: Path, display: Display, wait: bool) -> Iterator[None]:
    try:
        folder.mkdir(parents=True, exist_ok=True)
        lock = FileLock(folder / ".lock")
        free = lock.acquire()
    except OSError as error:
        raise UserError(f"cannot use the runs folder {folder}: {error.strerror}") from error
    if not free:
        who = holder(lock.path)
        if not wait:
            raise UserError(f"{folder} is being run by {who}; wait for it (--wait), stop it, or choose another --runs-dir")
        display.note(f"waiting for {who}, which runs {folder}")
        while not lock.acquire(patience=1.0):
            pass
    try:
        yield
    finally:
        lock.release()


@contextmanager
def _stoppable(stop: Callable[[], None]) -> Iterator[None]:
    """Turn Ctrl-C and SIGTERM into calls of ``stop`` while the block runs."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return

    def handle(signum: int, frame: FrameType | None) -> None:  # noqa: ARG001
        stop()

    previous = {number: signal.signal(number, handle) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield
    finally:
        for number, handler in previous.items():
            signal.signal(number, handler)
