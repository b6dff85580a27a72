"""Map over processes where that is safe and worth it, else in this process; the results are the same."""

from __future__ import annotations

import multiprocessing
import os
import threading
import warnings
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from typing import TypeVar

Item = TypeVar("Item")
Result = TypeVar("Result")


def map_processes(function: Callable[[Item], Result], items: Sequence[Item], *, least: int, chunk: int = 1) -> Iterator[Result]:
    """``map(function, items)``, in order, on all cores from ``least`` items on; the workers begin now, not when one asks for results.

    Workers are forked, because a spawned one would run the caller's main module again; where there is no fork, or this
    process has threads that a fork would cut off, everything happens here.
    """
    workers = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else 1
    if workers < 2 or len(items) < least or threading.active_count() > 1:
        return map(function, items)
    pool = ProcessPoolExecutor(min(workers, len(items)), mp_context=multiprocessing.get_context("fork"))
    with warnings.catch_warnings():
        # Python 3.12 and later warn because of numpy's own idle threads, which survive a fork.
        warnings.simplefilter("ignore", DeprecationWarning)
        return _results(pool, pool.map(function, items, chunksize=chunk))


def _results(pool: ProcessPoolExecutor, results: Iterator[Result]) -> Iterator[Result]:
    with pool:
        yield from results
