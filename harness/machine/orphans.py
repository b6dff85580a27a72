"""Processes that end when the one that started them does, in whatever way: no worker trains on unseen."""

from __future__ import annotations

import os
import signal
import sys

_PR_SET_PDEATHSIG = 1


def die_with_parent(parent: int) -> None:
    """Ask the kernel to kill this process when process ``parent``, which started it, is gone (Linux; elsewhere nothing).

    Raises SystemExit if it is gone already. Holds for this process alone: each child has to ask for itself. The kernel
    watches the *thread* that started the process, so start such processes from a thread that lives on.
    """
    if sys.platform == "linux":
        import ctypes

        ctypes.CDLL(None, use_errno=True).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
    if os.getppid() != parent:
        raise SystemExit(f"process {parent}, which started this one, is gone")
