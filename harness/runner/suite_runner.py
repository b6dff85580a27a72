"""Run a suite: one worker process per run, a few at a time, as often as it takes. Starting it again *is* resuming.

What counts is on disk: a run that is done is not touched, any other goes on from its newest complete checkpoint. A
worker that was *interrupted* (killed, out of memory, silent) is started again, up to ``execution.attempts`` times, unless two
attempts die at the same step; one that *failed* by itself would fail again and is not. The other runs go on either way.
Where workers are is the executor's business; in which order runs start is that of the plan.
"""

from __future__ import annotations

import signal
import threading
import time
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from types import FrameType

from harness.display.base import Display
from harness.errors import FailureKind, UserError
from harness.records.file_locks import FileLock, sole_use
from harness.records.ledger import LedgerWriter
from harness.records.ledger_records import Failure
from harness.records.run_folder import DONE, RunPaths, RunStatus, check_spec, run_paths, run_status, suite_folder
from harness.records.tail import Tail
from harness.runner.command_budget import Allowance, Spending
from harness.runner.executors.base import Executor, Worker, open_executor
from harness.runner.executors.warm import WarmWorkers
from harness.runner.jobs import Job
from harness.runner.preparation import Preparation
from harness.spec import RunSpec

POLL_SECONDS = 0.1
GRACE_SECONDS = 15.0


@dataclass(frozen=True, slots=True)
class Outcome:
    """How a run stands when the command ends. shown: whether the display has said how it ended."""

    spec: RunSpec
    status: RunStatus
    shown: bool = False

    @property
    def done(self) -> bool:
        """Whether the run needs nothing more."""
        return self.status.state in DONE


@dataclass(slots=True)
class SuiteResult:
    """How all runs stand when the command ends; ``spent`` says which budget of the command ended it."""

    outcomes: list[Outcome]
    stopped: bool = False
    spent: str | None = None

    @property
    def exit_code(self) -> int:
        """0 all done; 130 stopped; 3 budget spent; 2 if nothing is done and a person must mend something everywhere; 1 otherwise."""
        if self.stopped:
            return 130
        if all(outcome.done for outcome in self.outcomes):
            return 0
        if self.spent:
            return 3
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
    allowance: Allowance = Allowance(),  # noqa: B008 - frozen
    executor: str = "local",
    warm: WarmWorkers | None = None,
) -> SuiteResult:
    """Bring every run to its end as far as possible. ``warm``: workers that stay warm for the next call, too.

    Raises UserError if another command works on the same suite folder and ``wait`` is False, or if there is no such executor.
    """
    if not runs:
        return SuiteResult([])
    folder = suite_folder(runs_dir, runs[0].suite)
    waiting = (lambda who: display.note(f"waiting for {who}, which runs {folder}")) if wait else None
    with sole_use(folder, ".lock", "run", "wait for it (--wait)", waiting):
        workers = open_executor(executor, runs, folder, max_parallel, warm)
        try:
            runner = _Runner(runs, runs_dir, display, workers, retry_failed, allowance)
            with _stoppable(runner.stop):
                return runner.run()
        finally:
            workers.close()


class _Runner:
    def __init__(
        self, runs: Sequence[RunSpec], runs_dir: Path, display: Display, executor: Executor, retry_failed: bool, allowance: Allowance
    ) -> None:
        self.runs, self.runs_dir, self.display, self.executor = runs, runs_dir, display, executor
        self.retry_failed = retry_failed
        self.failures: dict[str, RunStatus] = {}
        self.active: list[Job] = []
        self.shown: set[str] = set()  # runs whose end the display has shown
        self.interruptions: dict[str, list[int | None]] = {}  # run id -> steps at which workers were interrupted; None: machine lost
        self.preparation = Preparation(executor, suite_folder(runs_dir, runs[0].suite) / "prepare", display, self._kill_overdue)
        self.spending = Spending(allowance)
        self.spent: str | None = None
        self.stops = 0
        self._stopped_at = 0.0

    def run(self) -> SuiteResult:
        todo = [spec for spec in self.runs if self._needs_work(spec)]
        self.display.begin(self.runs, {s.run_id: self._status(s) for s in self.runs}, self.executor.capacity())
        try:
            queue = deque(self._prepare(todo))
            while (queue and not self._halted) or self.active:
                while queue and not self._halted and len(self.active) < self.executor.capacity():
                    self._start(queue.popleft())
                for job in list(self.active):
                    if self._follow(job) and not self._halted:
                        queue.appendleft(job.spec)
                self._spend()
                self._kill_overdue()
                self.display.tick()
                time.sleep(POLL_SECONDS)
        finally:
            for worker in self._workers():
                worker.kill()
        outcomes = [Outcome(spec, self._status(spec), spec.run_id in self.shown) for spec in self.runs]
        return SuiteResult(outcomes, stopped=self.stops > 0, spent=self.spent)

    @property
    def _halted(self) -> bool:
        """Whether no run is to be started any more."""
        return self.stops > 0 or self.spent is not None

    def stop(self) -> None:
        """First call: ask the workers to end. Second: kill them."""
        self.stops += 1
        self._stopped_at = time.monotonic()
        for worker in self._workers():
            if self.stops == 1:
                worker.terminate()
            else:
                worker.kill()

    def _kill_overdue(self) -> None:
        """Kill what did not end in time after being asked to."""
        if self.stops and time.monotonic() - self._stopped_at > GRACE_SECONDS:
            for worker in self._workers():
                worker.kill()

    def _spend(self) -> None:
        """When the command's budget is spent, ask the workers to end at their next checkpoint."""
        if self.spent is None and (spent := self.spending.spent()) is not None:
            self.spent = spent
            if self.active:
                self.display.note(f"{spent}; {len(self.active)} runs end at their next checkpoints")
            for job in self.active:
                job.request_stop()

    def _workers(self) -> list[Worker]:
        return [job.worker for job in self.active] + ([self.preparation.worker] if self.preparation.worker else [])

    # -- what is to be done --------------------------------------------------------------------------------------

    def _status(self, spec: RunSpec) -> RunStatus:
        return self.failures.get(spec.run_id) or run_status(run_paths(self.runs_dir, spec), spec)

    def _needs_work(self, spec: RunSpec) -> bool:
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
            ended = self.preparation.prepare(combination, runs)
            if self.stops:
                return []
            if ended.code == 0:
                ready.update(spec.run_id for spec in runs)
                continue
            kind = FailureKind.INPUT if ended.code == UserError.exit_code else FailureKind.PREPARATION
            for spec in runs:
                self._failed(spec, Failure(kind, f"preparing {combination} failed: {ended.message}"))
        return [spec for spec in todo if spec.run_id in ready]

    # -- runs ----------------------------------------------------------------------------------------------------

    def _start(self, spec: RunSpec) -> None:
        paths = run_paths(self.runs_dir, spec)
        try:
            paths.root.mkdir(parents=True, exist_ok=True)
            if not paths.spec.exists() or check_spec(paths) != spec:
                spec.save(paths.spec)
            paths.stop.unlink(missing_ok=True)
            step, tail = run_status(paths, spec).step, Tail(paths.ledger)  # followed from before the worker's first line
            job = Job(spec, paths, tail, self.executor.start(spec, paths), step)
        except UserError as error:
            self._failed(spec, Failure(FailureKind.INPUT, str(error)))
        except OSError as error:
            message = f"cannot start {spec.title}: {error.strerror} ({error.filename or paths.root})"
            self._failed(spec, Failure(FailureKind.INPUT, message))
        else:
            self.active.append(job)
            self.display.started(spec, job.step)

    def _follow(self, job: Job) -> bool:
        """Pass on what a worker recorded; True if it ended in a way that asks for another attempt."""
        code = job.worker.poll()  # before the ledger is read, so that nothing written before the end is missed
        for record in job.new_records():
            self.spending.record(job.spec.run_id, record)
            self.display.recorded(job.spec, record)
        if (at := job.activity()) is not None:
            self.display.working(job.spec, *at)
        if code is None:
            if not self.stops:
                job.watchdog.check()
            return False
        self.active.remove(job)
        message, interruption = job.worker.error_message(), job.interruption(code)
        job.worker.close()
        job.withdraw_stop_request()
        if interruption is None:
            if code == 0:
                self._ended(job.spec)
            else:
                self._ended_badly(job, message or f"its worker ended with code {code} (log: {job.log})", code)
            return False
        if self._halted or self._status(job.spec).state in DONE:  # the latter: killed after its last record, nothing is missing
            self._ended(job.spec)
            return False
        return self._retry(job, interruption, job.advice(code))

    def _ended_badly(self, job: Job, message: str, code: int) -> None:
        if job.recorded_failure:
            self._ended(job.spec)
        else:  # its ledger could not take the sentence
            kind = FailureKind.INPUT if code == UserError.exit_code else FailureKind.ERROR
            self._failed(job.spec, Failure(kind, message))

    def _retry(self, job: Job, interruption: str, advice: str) -> bool:
        """Whether to start an interrupted run again; if not, say why."""
        steps = self.interruptions.setdefault(job.spec.run_id, [])
        steps.append(None if job.worker.machine_lost else job.step)
        own = [step for step in steps if step is not None]
        if steps[-1] is not None and own[-2:] == [job.step, job.step]:
            failure = Failure(FailureKind.KILLED, f"{interruption} twice at step {job.step} ({advice})")
            _write_failure(job.paths, failure)
            self._failed(job.spec, failure)
            return False
        if len(steps) >= job.spec.execution.attempts:
            message = f"{interruption} at step {job.step}, attempt {len(steps)} of {len(steps)}; start the same command again to go on"
            self.display.note(f"{job.spec.title}: {message}")
            self._ended(job.spec)
            return False
        self.display.note(f"{job.spec.title}: {interruption} at step {job.step}; starting it again")
        return True

    def _failed(self, spec: RunSpec, failure: Failure) -> None:
        status = replace(
            run_status(run_paths(self.runs_dir, spec), spec), state="failed", failure=failure.message, failure_kind=failure.kind
        )
        self.failures[spec.run_id] = status
        self._ended(spec)

    def _ended(self, spec: RunSpec) -> None:
        self.shown.add(spec.run_id)
        self.display.ended(spec, self._status(spec))


def _write_failure(paths: RunPaths, failure: Failure) -> None:
    """Record for a dead worker what it could not record itself."""
    lock = FileLock(paths.lock)
    if not paths.ledger.exists() or not lock.acquire(patience=2.0):
        return
    try:
        ledger = LedgerWriter(paths.ledger)
        if paths.ledger.stat().st_size:
            ledger.write(failure)
        ledger.close()
    except (UserError, OSError):
        pass  # the sentence is shown all the same; the run then counts as interrupted
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
