"""The process that scores: reads one answer, writes one score, kills itself before it costs more than its limit.

Three clocks, from soft to hard. A signal raises in Python code and the worker goes on with the next answer; code that never
returns to the interpreter (a huge power of integers) is ended by the kernel, by a processor-time signal that no code can hold up; and
whatever only sleeps is killed from outside by the pool.

The limit of a scorer of ours is in processor seconds: a right answer must not score 0 because the machine was busy. That of a
user's function, which may wait for something else, is in seconds of the wall clock.
"""

from __future__ import annotations

import contextlib
import json
import os
import signal
import struct
import sys
import threading
import time
from types import FrameType
from typing import Any, BinaryIO

from harness.errors import UserError
from harness.reward.scorers import RefusedScore, Scorer, build_scorer
from harness.reward.spec import RewardSpec

#: How a worker ends that has used up its processor time.
OVERDUE = signal.SIGPROF
#: Share of the limit after which the soft clock raises; the rest is for the way back.
SOFT = 0.8
#: Address space of a worker that runs a scorer of ours.
MEMORY_BYTES = 3 << 30
_HEADER = struct.Struct(">I")


class _Timeout(BaseException):
    """The soft clock; not an Exception, so that ``except Exception`` in a scorer does not swallow it."""


def send(stream: BinaryIO, message: Any) -> None:
    """One length-prefixed JSON message; escapes keep lone surrogates intact."""
    payload = json.dumps(message).encode("ascii")
    stream.write(_HEADER.pack(len(payload)) + payload)
    stream.flush()


def receive(stream: BinaryIO) -> Any:
    """The next message; EOFError when the other side is gone."""
    header = stream.read(_HEADER.size)
    if len(header) < _HEADER.size:
        raise EOFError
    (size,) = _HEADER.unpack(header)
    payload = stream.read(size)
    if len(payload) < size:
        raise EOFError
    return json.loads(payload)


def main(name: str, seconds: float, parent: int) -> None:
    """Serve until the pool closes the pipe or dies."""
    requests, replies = _take_standard_streams()
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is the parent's business
    threading.Thread(target=_die_with, args=(parent,), daemon=True).start()
    spec = RewardSpec(name, seconds)
    try:
        scorer = build_scorer(name)
    except UserError as error:
        send(replies, {"error": str(error)})
        return
    except BaseException as error:
        send(replies, {"error": f"reward {name!r}: importing it raised {_describe(error)}"})
        return
    if not spec.is_user_function:
        _limit_memory()
    send(replies, {"ready": True})
    with contextlib.suppress(EOFError, BrokenPipeError):
        while True:
            send(replies, _answer(scorer, spec, *receive(requests)))


def _answer(scorer: Scorer, spec: RewardSpec, completion: str, gold: str, metadata: dict[str, Any]) -> dict[str, Any]:
    fired = False

    def expire(_signal: int, _frame: FrameType | None) -> None:
        nonlocal fired
        fired = True
        raise _Timeout

    soft, sent = (signal.ITIMER_REAL, signal.SIGALRM) if spec.is_user_function else (signal.ITIMER_VIRTUAL, signal.SIGVTALRM)
    signal.signal(sent, expire)
    try:
        # Fires again and again: a bare ``except:`` somewhere below may swallow the first one.
        signal.setitimer(soft, spec.seconds * SOFT, max(0.01, spec.seconds * 0.05))
        signal.setitimer(signal.ITIMER_PROF, spec.seconds)  # OVERDUE ends the process
        try:
            reply: dict[str, Any] = {"score": scorer(completion, gold, metadata)}
        finally:
            _stop_clocks()
    except _Timeout:
        reply = {"timeout": True}
    except RefusedScore as error:
        reply = {"refused": str(error)}
    except BaseException as error:
        reply = {"raised": _describe(error)}
    _stop_clocks()
    return {"timeout": True} if fired else reply


def _stop_clocks() -> None:
    for _ in range(3):  # a signal that is already pending raises here; once is enough, twice is unheard of
        try:
            for clock in (signal.ITIMER_REAL, signal.ITIMER_PROF, signal.ITIMER_VIRTUAL):
                signal.setitimer(clock, 0.0)
            for sent in (signal.SIGALRM, signal.SIGVTALRM):
                signal.signal(sent, signal.SIG_IGN)
            return
        except _Timeout:
            continue


def _describe(error: BaseException) -> str:
    text = " ".join(str(error).split())
    return f"{type(error).__name__}: {text[:200]}" if text else type(error).__name__


def _take_standard_streams() -> tuple[BinaryIO, BinaryIO]:
    """Keep the pipes for us alone: what a scorer prints goes to standard error and cannot garble a reply."""
    requests, replies = os.fdopen(os.dup(0), "rb"), os.fdopen(os.dup(1), "wb")
    null = os.open(os.devnull, os.O_RDONLY)
    os.dup2(null, 0)
    os.dup2(2, 1)
    # Printing an answer with a lone surrogate in it must not raise inside somebody's reward function.
    sys.stdout = open(1, "w", encoding="utf-8", errors="backslashreplace", buffering=1, closefd=False)  # noqa: SIM115
    return requests, replies


def _die_with(parent: int) -> None:
    while os.getppid() == parent:
        time.sleep(0.5)
    os._exit(1)


def _limit_memory() -> None:
    with contextlib.suppress(ImportError, ValueError, OSError):
        import resource

        resource.setrlimit(resource.RLIMIT_AS, (MEMORY_BYTES, MEMORY_BYTES))
