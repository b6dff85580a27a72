"""Reward functions as a user would bring them, good and bad; imported inside worker processes."""

from __future__ import annotations

import ast
import contextlib
import ctypes
import os
import time
from typing import Any


def length_bonus(completion: str, answer: str, metadata: dict[str, Any]) -> float:
    """Correct or not, or a little per visible character; prints, as people do."""
    print("scoring", completion)
    return float(completion == answer) or 0.01 * len(completion.strip()) + float(metadata.get("bonus", 0.0))


def raises(completion: str, answer: str, metadata: dict[str, Any]) -> float:
    if completion == "bad":
        raise KeyError("no such thing")
    return 0.5


def hangs_on_h(completion: str, answer: str, metadata: dict[str, Any]) -> float:
    if completion.startswith("h"):
        time.sleep(60)
    return 1.0


def swallows_everything(completion: str, answer: str, metadata: dict[str, Any]) -> float:
    if completion.startswith("h"):
        while True:
            with contextlib.suppress(BaseException):
                time.sleep(60)
    return 1.0


def hangs_outside_python(completion: str, answer: str, metadata: dict[str, Any]) -> float:
    if completion.startswith("h"):
        ctypes.PyDLL(None).sleep(60)  # holds the interpreter: no Python signal handler can run
    return 1.0


def dies(completion: str, answer: str, metadata: dict[str, Any]) -> float:
    if completion == "die":
        os._exit(9)
    return 1.0


def process_id(completion: str, answer: str, metadata: dict[str, Any]) -> float:
    return os.getpid() / 2**22


def echoes(completion: str, answer: str, metadata: dict[str, Any]) -> Any:
    """What the completion says, as Python reads it."""
    return float(completion) if completion in ("nan", "inf") else ast.literal_eval(completion)


def raises_always(completion: str, answer: str, metadata: dict[str, Any]) -> float:
    raise ValueError("no")


NOT_CALLABLE = 3
