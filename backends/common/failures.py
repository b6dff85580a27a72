"""Failures that every training library meets, each as the error that the worker records."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from harness.errors import FailureKind, RunFailed
from harness.records.checkpoint import probe_disk


def diverged(error: BaseException) -> RunFailed:
    """The failure of a run whose numbers are no longer finite."""
    return RunFailed(FailureKind.NAN, f"training diverged: {error}; lower learning_rate or max_grad_norm, then run the suite again")


@contextmanager
def naming_divergence() -> Iterator[None]:
    """Around anything that computes with the policy: its FloatingPointError becomes the failure of a diverged run."""
    try:
        yield
    except FloatingPointError as error:
        raise diverged(error) from error


def out_of_gpu_memory(detail: object) -> RunFailed:
    """The failure of a run that does not fit on its GPU."""
    return RunFailed(FailureKind.MEMORY, f"the GPU is out of memory ({detail}); set execution.micro_batch_rollouts lower")


@contextmanager
def naming_full_disk(folder: Path) -> Iterator[None]:
    """Around the library's own saving to ``folder``: if it fails on a full disk, the OSError of the disk is raised instead."""
    try:
        yield
    except Exception:
        probe_disk(folder)
        raise
