"""What every display of running runs can do."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Protocol

from harness.records.ledger_records import Record
from harness.records.run_folder import DONE, RunStatus
from harness.spec import RunSpec


class Display(Protocol):
    """Shows a person what the runner does; the runner calls one method per event."""

    def begin(self, runs: Sequence[RunSpec], statuses: Mapping[str, RunStatus], parallel: int) -> None:
        """The command starts; ``statuses`` by run id, as found on disk; so many runs go at a time."""

    def preparing(self, combination: str, what: str, done: int, total: int) -> None:
        """Something that runs share is being built; ``total`` is 0 where it is not known."""

    def prepared(self, combination: str) -> None:
        """What the runs of a combination share is there."""

    def started(self, run: RunSpec, step: int) -> None:
        """A worker was started; so many steps were recorded before."""

    def working(self, run: RunSpec, what: str, done: int, total: int) -> None:
        """A worker says what it is at between two records; ``total`` is 0 where it is not known."""

    def tick(self) -> None:
        """Called several times a second while anything is under way."""

    def recorded(self, run: RunSpec, record: Record) -> None:
        """A worker wrote a record into its ledger."""

    def ended(self, run: RunSpec, status: RunStatus) -> None:
        """A run is done, failed or stopped."""

    def note(self, words: str) -> None:
        """Anything else worth a line."""

    def close(self) -> None:
        """The command ends."""


def end_words(status: RunStatus) -> str:
    """How a run ended, for one line."""
    accuracy = "" if status.accuracy is None else f", accuracy {status.accuracy:.3f}"
    if status.state in DONE:
        words = "complete" if status.state == "complete" else "stopped at its budget"
        return f"{words}: {status.step} steps{accuracy}, {status.seconds:.1f} s of training"
    if status.state == "failed":
        return f"failed: {status.failure}"
    return f"{status.state} at step {status.step}"


def activity_words(what: str, done: int, total: int) -> str:
    """``evaluating 120/512``, or what is under way alone where nothing is counted."""
    return f"{what} {done}/{total}" if total else what
