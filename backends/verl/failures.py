"""Errors of Ray and verl, translated into those that the worker and the runner act on."""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import contextmanager

from backends.common.failures import diverged, out_of_gpu_memory
from harness.errors import FailureKind, Interrupted, RunFailed, UserError

_COLOUR = re.compile(r"\x1b\[[0-9;]*m")


@contextmanager
def translated_errors() -> Iterator[None]:
    """Around a run: dead workers become Interrupted (the run goes on from its checkpoint), what would fail again RunFailed."""
    try:
        yield
    except FloatingPointError as error:
        raise diverged(error) from error
    except (UserError, Interrupted, OSError, MemoryError):
        raise
    except Exception as error:
        translation = translate(error)
        if translation is None:
            raise
        raise translation from error


def translate(error: BaseException) -> Exception | None:
    """The error to raise instead of one of Ray's, or None for an error that is not Ray's."""
    import ray.exceptions as ray_errors

    if isinstance(error, ray_errors.RayTaskError):
        return _of_task(error)
    if isinstance(error, (ray_errors.ObjectStoreFullError, ray_errors.OutOfDiskError)):
        return RunFailed(
            FailureKind.OBJECT_STORE,
            "Ray's object store is full; give it more memory (execution.engine: ray_kwargs.ray_init.object_store_memory, in bytes) or "
            "free disk space for its spill files, then run the suite again with --retry-failed",
        )
    if isinstance(error, ray_errors.OutOfMemoryError):
        return RunFailed(
            FailureKind.MEMORY,
            "Ray killed a worker because the machine is out of memory: lower execution.micro_batch_rollouts or run fewer at once",
        )
    if isinstance(error, (ray_errors.RayActorError, ray_errors.WorkerCrashedError, ray_errors.NodeDiedError)):
        reason = _first_line(error)
        if "creation task" in reason:
            return RunFailed(FailureKind.WORKER_START, f"a Ray worker could not start: {_last_line(error)}")
        return Interrupted(f"a Ray worker died in the middle of a step ({reason})")
    if "timed out during startup" in str(error):  # Ray has no class for it
        return Interrupted("Ray did not start in time on this machine")
    return None


def _of_task(error: BaseException) -> Exception | None:
    """A remote call that raised: its cause counts, in whichever process it was."""
    cause = getattr(error, "cause", None)
    if isinstance(cause, FloatingPointError):
        return diverged(cause)
    if type(cause).__name__ == "OutOfMemoryError":
        return out_of_gpu_memory(_first_line(cause))
    return translate(cause) if isinstance(cause, Exception) and cause is not error else None


def _lines(error: object) -> list[str]:
    return [line.strip() for line in _COLOUR.sub("", str(error)).splitlines() if line.strip()] or ["no message"]


def _first_line(error: object) -> str:
    return _lines(error)[0]


def _last_line(error: object) -> str:
    return _lines(error)[-1]
