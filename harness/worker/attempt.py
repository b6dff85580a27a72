"""What a worker does: one attempt at a run, or the preparation that the runs of a combination share.

An attempt holds the run's lock from before it reads the ledger until its process ends. Whatever goes wrong becomes one
sentence, in the ledger's ``failure`` record and on stderr; tracebacks go to the attempt's log.
"""

from __future__ import annotations

import contextlib
import errno
import faulthandler
import json
import os
import time
import traceback
from collections.abc import Callable
from pathlib import Path
from typing import Any, TextIO

from harness.backend import Backend, CollectsPassRates, Progress
from harness.data.provenance import check_same_questions, provenance
from harness.errors import FailureKind, Interrupted, RunFailed, UserError
from harness.files import import_from
from harness.machine.environment import cache_folder, describe
from harness.predictor.collection import CollectionRequest
from harness.records.activity import ActivityFile
from harness.records.checkpoint import newest_complete, prune
from harness.records.file_locks import FileLock, holder
from harness.records.ledger import LedgerError, RunLog, read_ledger
from harness.records.ledger_records import Attempt, Complete, Failure, Warned, start_of
from harness.records.run_folder import DONE, RunPaths, check_spec, run_status
from harness.records.stopping_ledger import RunLedger
from harness.registry import load_backend
from harness.spec import RunSpec
from harness.worker.protocol import progress_line
from harness.worker.trackers import check_trackers, prepare_trackers

FAILED, UNEXPECTED = RunFailed.exit_code, 4


def run_attempt(run_dir: Path) -> int:
    """Go on with the run in ``run_dir`` from its newest complete checkpoint; returns the exit code."""
    started = time.monotonic()
    console = os.fdopen(os.dup(2), "w", encoding="utf-8")
    paths = RunPaths(run_dir)
    lock = FileLock(paths.lock)
    try:
        spec = check_spec(paths)
        import_from(spec.combination.task.folder)
        _take(lock, run_dir)
        if run_status(paths, spec, holding_lock=True).state in DONE:
            return 0
        folder = _attempt_folder(paths)
        _redirect(folder / "log.txt")
        log = _read(paths)
        checkpoint = newest_complete(paths.checkpoints)
        _check_checkpoint(paths, log, checkpoint)
        prune(paths.checkpoints)
        ledger = RunLedger(paths.ledger, spec.budget, spec.algorithm.max_steps)
    except (UserError, OSError) as error:
        message = str(error) if isinstance(error, UserError) else _os_message(error, run_dir)
        return _report(console, message, UserError.exit_code)
    try:
        return _recorded(lambda: _train(spec, paths, folder, log, ledger, checkpoint, started), ledger, folder, console)
    finally:
        ledger.close()
        lock.release()


def _take(lock: FileLock, run_dir: Path) -> None:
    # A little patience: the kernel may still be ending the worker of a runner that was killed.
    if not lock.acquire(patience=2.0):
        raise UserError(f"{run_dir} is being worked on by {holder(lock.path)}; wait for it or stop it")


def _train(
    spec: RunSpec,
    paths: RunPaths,
    folder: Path,
    log: RunLog | None,
    ledger: RunLedger,
    checkpoint: tuple[int, Path] | None,
    started: float,
) -> None:
    activity = ActivityFile(paths.activity)
    activity.say("loading the training library")
    environment = describe(spec.execution.threads)
    if log is None:
        ledger.write(start_of(spec))
    step, resume_from = checkpoint or (0, None)
    ledger.step = step
    try:
        backend = _usable_backend(spec)
        environment["versions"] = {**environment["versions"], **backend.status().versions}
    finally:
        (folder / "env.json").write_text(json.dumps(environment, indent=2) + "\n", encoding="utf-8")
        ledger.write(Attempt(int(folder.name), environment, resumed_from=step))
    if step and log is not None and (change := _changed_environment(log.environment, environment)):
        ledger.write(Warned(change))
    known = {cost.name for cost in log.one_off} if log else set()

    def alive(what: str, done: int, total: int) -> None:
        activity.say(what, done, total)
        os.utime(paths.ledger)  # the runner's watchdog looks at the ledger

    for cost in backend.prepare(spec, cache_folder(), alive):
        if cost.name not in known:
            ledger.write(cost)
    made_of = provenance(spec)
    check_same_questions(log.provenance if log else None, made_of, spec.title)
    ledger.write(made_of)
    prepare_trackers(spec, paths.root)
    if step < spec.algorithm.max_steps:
        activity.say("loading model and questions")
        backend.train(spec, paths.root, cache_folder(), ledger, resume_from)
    if not ledger.stopped:
        start = None if ledger.first_at is None else round(ledger.first_at - started, 3)
        ledger.write(Complete(spec.algorithm.max_steps, step, round(time.monotonic() - started, 3), start))


def _changed_environment(before: dict[str, Any], now: dict[str, Any]) -> str | None:
    """The warning for a run that goes on with other hardware, threads or versions than it began with; None if they are the same."""
    if before.get("fingerprint") != now["fingerprint"]:
        names = ("cpu", "cores", "gpus", "threads")
        changed = [f"{name} {before.get(name)} -> {now[name]}" for name in names if before.get(name) != now[name]]
        return (
            f"goes on with other hardware or threads than it began with ({'; '.join(changed)}): its seconds belong to neither machine, and "
            "the report does not compare them with those of one machine"
        )
    old, new = before.get("versions", {}), now["versions"]
    changed = [
        f"{name} {old.get(name, 'none')} -> {new.get(name, 'none')}" for name in sorted({*old, *new}) if old.get(name) != new.get(name)
    ]
    return f"goes on with other versions than it began with: {', '.join(changed)}" if changed else None


def prepare_runs(specs: Path) -> int:
    """Build what the runs listed in ``specs`` share; returns the exit code."""

    def prepare(progress: Progress) -> None:
        for data in json.loads(specs.read_text(encoding="utf-8")):
            spec = RunSpec.model_validate(data)
            import_from(spec.combination.task.folder)
            _usable_backend(spec).prepare(spec, cache_folder(), progress)

    return _with_progress(specs, prepare)


def collect_pass_rates(request: Path) -> int:
    """Roll out the model of a :class:`harness.predictor.collection.CollectionRequest`; returns the exit code."""

    def collect(progress: Progress) -> None:
        asked = CollectionRequest.model_validate_json(request.read_text(encoding="utf-8"))
        import_from(asked.spec.combination.task.folder)
        backend = _usable_backend(asked.spec)
        lock = FileLock(request.with_name("lock"))
        _take(lock, Path(asked.out))
        if not isinstance(backend, CollectsPassRates):
            raise UserError(f"backend {asked.spec.combination.backend!r} cannot collect pass rates; give --backend trl or verl")
        backend.collect_pass_rates(asked, cache_folder(), progress)

    return _with_progress(request, collect)


def _with_progress(file: Path, work: Callable[[Progress], None]) -> int:
    """Do what ``file`` asks for. Progress goes to stdout, one JSON array ``[what, done, total]`` a line; all else to a log beside it."""
    console = os.fdopen(os.dup(2), "w", encoding="utf-8")
    channel = os.fdopen(os.dup(1), "w", encoding="utf-8")
    _redirect(file.with_suffix(".log"))

    def progress(what: str, done: int, total: int) -> None:
        channel.write(progress_line(what, done, total))
        channel.flush()

    return _recorded(lambda: work(progress), None, file.parent, console, file.with_suffix(".log"))


def _usable_backend(spec: RunSpec) -> Backend:
    check_trackers(spec.execution.trackers)
    backend: Backend = load_backend(spec.combination.backend)
    status = backend.status()
    if not status.usable:
        supported = f" (supported: {status.supported})" if status.supported and status.supported not in status.reason else ""
        raise UserError(f"backend {spec.combination.backend!r} cannot run here: {status.reason}{supported}")
    return backend


def _recorded(work: Callable[[], None], ledger: RunLedger | None, folder: Path, console: TextIO, log: Path | None = None) -> int:
    """Do the work; turn whatever ends it into one sentence, a failure record and an exit code."""
    try:
        work()
    except Interrupted as error:  # no failure record: the ledger ends as that of a worker that was killed itself
        return _report(console, str(error), Interrupted.exit_code)
    except Exception as error:
        with contextlib.suppress(OSError):  # the log may be on the disk that is full
            traceback.print_exc()
        failure, code = _failure_of(error, ledger.step if ledger else None, log or folder / "log.txt", ledger.path if ledger else folder)
        if ledger is not None and ledger.begun:
            with contextlib.suppress(LedgerError, OSError):  # nor may the ledger have room for it
                ledger.write(failure)
        return _report(console, failure.message, code)
    return 0


_DISK_FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)


def _failure_of(error: Exception, step: int | None, log: Path, place: Path) -> tuple[Failure, int]:
    """The failure record and the exit code for whatever ended an attempt after ``step``."""
    after = f" after step {step}" if step else ""
    if isinstance(error, RunFailed):
        return Failure(error.kind, str(error)), error.exit_code
    if isinstance(error, UserError):
        return Failure(FailureKind.INPUT, str(error)), UserError.exit_code
    if isinstance(error, OSError) and error.errno in _DISK_FULL:
        return Failure(FailureKind.DISK, _os_message(error, place)), UserError.exit_code
    if isinstance(error, MemoryError) or type(error).__name__ == "OutOfMemoryError" or "can't allocate memory" in str(error):
        mend = "lower execution.micro_batch_rollouts or run fewer at once (--max-parallel)"
        return Failure(FailureKind.MEMORY, f"out of memory{after}: {mend}; details in {log}"), FAILED
    if isinstance(error, FloatingPointError):
        return Failure(FailureKind.NAN, f"{error}; the training diverged: lower the learning rate"), FAILED
    first = (str(error).strip().splitlines() or [""])[0]
    message = f"unexpected {type(error).__name__}{after}: {first or 'no message'} (traceback in {log})"
    return Failure(FailureKind.ERROR, message), UNEXPECTED


def _os_message(error: OSError, place: Path) -> str:
    where = error.filename or place
    if error.errno in _DISK_FULL:
        return f"cannot write {where}: {error.strerror}; free some space and start the same command again"
    return f"cannot use {where}: {error.strerror or error}"


def _report(console: TextIO, message: str, code: int) -> int:
    """Write the sentence to the runner and return the exit code."""
    with contextlib.suppress(OSError):  # a runner keeps it in a file, and the disk may be full
        console.write(message.replace("\n", " ") + "\n")
        console.flush()
    return code


def _attempt_folder(paths: RunPaths) -> Path:
    """A new folder ``attempts/N``; N also counts attempts that died before they wrote a record."""
    paths.attempts.mkdir(exist_ok=True)
    number = 1 + max((int(p.name) for p in paths.attempts.iterdir() if p.name.isdigit()), default=0)
    folder = paths.attempts / str(number)
    folder.mkdir()
    return folder


def _redirect(log: Path) -> None:
    """Send stdout and stderr of this process and its children, crashes of C code included, to ``log``."""
    handle = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o644)
    os.dup2(handle, 1)
    os.dup2(handle, 2)
    os.close(handle)
    faulthandler.enable(file=2)


def _read(paths: RunPaths) -> RunLog | None:
    """The ledger so far, every checksum verified; None where no whole line was written yet."""
    if not paths.ledger.exists() or b"\n" not in paths.ledger.read_bytes()[: 1 << 20]:
        return None
    log = read_ledger(paths.ledger)
    if log.run_id != paths.root.name:
        raise LedgerError(
            f"{paths.ledger} is the ledger of run {log.run_id}, not of {paths.root.name}; move the run's folder away and run it again"
        )
    return log


def _check_checkpoint(paths: RunPaths, log: RunLog | None, checkpoint: tuple[int, Path] | None) -> None:
    recorded = log.steps[-1].step if log and log.steps else 0
    if checkpoint is not None and checkpoint[0] > recorded:
        raise LedgerError(
            f"{checkpoint[1]} is ahead of its ledger, which ends at step {recorded}: lines of {paths.ledger} were lost; "
            "move the run's folder away and run it again"
        )
