"""Errors that a person can act on: one clear sentence, an exit code, no traceback."""

from __future__ import annotations

import difflib
from collections.abc import Iterable


class UserError(Exception):
    """Bad input or a broken surrounding: the command line prints the message alone and exits with ``exit_code``."""

    exit_code = 2


class StrategyError(UserError, ValueError):
    """A strategy broke a rule of its interface; the message names it and says what it did and what to do."""


def did_you_mean(word: str, known: Iterable[str]) -> str:
    """``"; did you mean 'x'?"`` for the nearest known word, or an empty string."""
    close = difflib.get_close_matches(word, list(known), n=1, cutoff=0.6)
    return f"; did you mean {close[0]!r}?" if close else ""


class Interrupted(Exception):
    """A run that was cut off from outside (one of its processes was killed): it may go on from its last checkpoint."""

    exit_code = 76


class RunFailed(UserError):
    """A run that cannot go on and would fail again in the same way (NaN loss, a reward that raises).

    ``kind`` is a short word for the ledger's failure record.
    """

    exit_code = 3

    def __init__(self, kind: str, message: str) -> None:
        super().__init__(message)
        self.kind = kind
