"""Errors that a person can act on: one clear sentence, an exit code, no traceback."""

from __future__ import annotations

import difflib
from collections.abc import Iterable
from enum import StrEnum


class UserError(Exception):
    """Bad input or a broken surrounding: the command line prints the message alone and exits with ``exit_code``."""

    exit_code = 2


class StrategyError(UserError, ValueError):
    """A strategy broke a rule of its interface; the message names it and says what it did and what to do."""


def did_you_mean(word: str, known: Iterable[str]) -> str:
    """``"; did you mean 'x'?"`` for the nearest known word, or an empty string."""
    close = difflib.get_close_matches(word, list(known), n=1, cutoff=0.6)
    return f"; did you mean {close[0]!r}?" if close else ""


def first_line(error: BaseException) -> str:
    """The first line of an error's message, for use inside a sentence."""
    lines = str(error).strip().splitlines()
    return lines[0].strip() if lines else "no message"


class Interrupted(Exception):
    """A run that was cut off from outside (one of its processes was killed): it may go on from its last checkpoint."""

    exit_code = 76


class FailureKind(StrEnum):
    """Why an attempt at a run ended, as its ledger records it."""

    INPUT = "input"
    """Something in settings or surroundings that a person can mend (a missing package, an unknown model)."""
    DISK = "disk"
    MEMORY = "memory"
    """Out of memory, on the machine or on a GPU."""
    NAN = "nan"
    """The training diverged: a loss or a gradient is not finite."""
    REWARD_RAISED = "reward-raised"
    REWARD_HANGS = "reward-hangs"
    REWARD_RANGE = "reward-range"
    """A score outside [0, 1]."""
    ROLLOUT = "rollout-failed"
    """The inference engine returned no rollouts."""
    OBJECT_STORE = "object-store"
    WORKER_START = "worker-start"
    RANK = "rank-0"
    """The process of rank 0 ended, and the others with it."""
    KILLED = "killed"
    """Killed twice at the same step."""
    PREPARATION = "prepare"
    """What the runs of a combination share could not be built."""
    ERROR = "error"
    """An unexpected error, most likely a bug."""

    @classmethod
    def read(cls, text: str) -> FailureKind:
        """The kind that a ledger names; earlier versions had two names for some, and one that is unknown counts as an error."""
        text = {"nan-loss": "nan", "out-of-memory": "memory"}.get(text, text)
        try:
            return cls(text)
        except ValueError:
            return cls.ERROR

    @property
    def mendable(self) -> bool:
        """Whether a person can mend the cause, so that the next command tries the run again."""
        return self in (FailureKind.INPUT, FailureKind.DISK, FailureKind.MEMORY)


class RunFailed(UserError):
    """A run that cannot go on and would fail again in the same way (a diverged training, a reward that raises)."""

    exit_code = 3

    def __init__(self, kind: FailureKind, message: str) -> None:
        super().__init__(message)
        self.kind = kind
