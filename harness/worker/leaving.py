"""The end of a worker process: everything is written, then the process is gone.

Taking apart the modules of a training library takes seconds that a run has no use for.
"""

from __future__ import annotations

import atexit
import contextlib
import ctypes
import gc
import io
import os
import sys
from collections.abc import Callable

_BUFFERED = (io.TextIOWrapper, io.BufferedWriter, io.BufferedRandom)


def leaving_at_once(work: Callable[[], int]) -> int:
    """The exit code of ``work``. When the interpreter has run all exit handlers, the process ends with this code there and then.

    Call it before anything else registers an exit handler: they run from the last to the first. What ``work`` raises takes the usual
    way out.
    """
    codes: list[int] = []
    atexit.register(lambda: _leave(codes[0]) if codes else None)
    try:
        code = work()
    except SystemExit as error:
        if not isinstance(error.code, int):
            raise
        code = error.code
    codes.append(code)
    return code


def _leave(code: int) -> None:
    for thing in gc.get_objects():  # files that somebody left open hold what the interpreter would have written for them
        if type(thing) in _BUFFERED:
            with contextlib.suppress(OSError, ValueError):
                thing.flush()
    for stream in (sys.stdout, sys.stderr):
        with contextlib.suppress(OSError, ValueError, AttributeError):
            stream.flush()
    ctypes.CDLL(None).fflush(None)
    os._exit(code)
