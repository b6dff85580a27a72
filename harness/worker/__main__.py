"""One run in a process of its own: ``python -m harness.worker RUN_DIR``; the shared preparation of some runs:
``python -m harness.worker --prepare SPECS.json``; or pass rates of a model: ``python -m harness.worker --collect REQUEST.json``; or
a warm worker, which forks the first two: ``python -m harness.worker --warm BACKEND THREADS [TASK ...]``, asked through standard input.

Exit codes: 0 done, 2 something a person can mend, 3 the run cannot go on (NaN loss), 4 an unexpected error,
75 asked to stop, 76 cut off from outside (a rank was killed). On 2, 3, 4 and 76 the last line of stderr is the one sentence
that says why; everything else the process prints goes to its log. This module imports nothing heavy, because thread counts must
be set before numpy or torch load.
"""

from __future__ import annotations

import json
import os
import signal
import sys
from pathlib import Path
from types import FrameType
from typing import Any

from harness.files import import_from
from harness.machine.environment import NO_USAGE_REPORTS
from harness.machine.orphans import die_with_parent
from harness.worker.leaving import leaving_at_once
from harness.worker.protocol import INTERRUPTED, PARENT_VARIABLE

_THREAD_VARIABLES = ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS", "NUMEXPR_NUM_THREADS", "VECLIB_MAXIMUM_THREADS")


def main(arguments: list[str] | None = None) -> int:
    """Entry point; returns the exit code."""
    words = sys.argv[1:] if arguments is None else arguments
    if words[:1] == ["--warm"] and len(words) > 2:
        asked = _warm(*words[1:])
        if asked is None:
            return 0
        words = asked
    task = words[0] if words[:1] in (["--prepare"], ["--collect"]) else ""
    if len(words) != 1 + bool(task) or words[-1].startswith("-"):
        print("usage: python -m harness.worker [--prepare SPECS.json | --collect REQUEST.json | RUN_DIR]", file=sys.stderr)
        return 2
    target = Path(words[-1])
    _die_with_parent()
    signal.signal(signal.SIGTERM, _stop)
    signal.signal(signal.SIGINT, _stop)
    import_from(Path.cwd())  # strategies given as --plugin module:attr may lie in the folder the user is in
    set_environment(_threads(target if task else target / "spec.json"))
    from harness.worker import attempt

    work = {"--prepare": attempt.prepare_runs, "--collect": attempt.collect_pass_rates}.get(task, attempt.run_attempt)
    return work(target)


def _warm(backend: str, threads: str, *tasks: str) -> list[str] | None:
    """The arguments of a worker, in a fork of this process; None in this process itself, when it is no longer needed."""
    from harness.worker.warm import serve

    _die_with_parent()
    set_environment(int(threads))
    return serve(backend, tasks)


def set_environment(threads: int) -> None:
    """Tell every numerical library of this process and its children how many threads to use, and the others to report nothing.

    The user's own settings of the latter count.
    """
    for name in _THREAD_VARIABLES:
        os.environ[name] = str(threads)
    for name, value in {**NO_USAGE_REPORTS, "TOKENIZERS_PARALLELISM": "false"}.items():
        os.environ.setdefault(name, value)


def _threads(file: Path) -> int:
    """``execution.threads`` of a spec, the first of a list or that of a request; 1 where the file is unreadable (reported later)."""
    try:
        data: Any = json.loads(file.read_text(encoding="utf-8"))
        spec = data[0] if isinstance(data, list) else data.get("spec", data)
        return int(spec["execution"]["threads"])
    except (OSError, ValueError, LookupError, TypeError, AttributeError):
        return 1


def _stop(signum: int, frame: FrameType | None) -> None:  # noqa: ARG001
    signal.signal(signum, signal.SIG_DFL)  # a second one ends the process at once
    raise SystemExit(INTERRUPTED)


def _die_with_parent() -> None:
    parent = os.environ.pop(PARENT_VARIABLE, None)
    if parent is not None:
        die_with_parent(int(parent))


if __name__ == "__main__":
    sys.exit(leaving_at_once(main))
