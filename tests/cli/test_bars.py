"""Progress of commands that are no runs."""

from __future__ import annotations

import pytest

from harness.cli import bars
from harness.cli.bars import counted


def test_many_things_are_counted_aloud_and_few_are_not(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    """In a log a line when it begins, then every ten seconds with rate and time left: 25 of 101 after 10 s, 2.5 a second, 30 s left."""
    now = [0.0]
    monkeypatch.setattr(bars.time, "monotonic", lambda: now[0])
    assert counted(iter(range(100)), "reading ledgers", 100) == list(range(100))
    assert capsys.readouterr().err == ""

    def slow() -> object:
        for i in range(101):
            now[0] += 0.4
            yield i

    assert counted(slow(), "reading ledgers", 101) == list(range(101))
    lines = capsys.readouterr().err.splitlines()
    assert lines[0] == "reading ledgers"
    assert lines[1] == "reading ledgers: 25/101, 2.5/s, 30 s left"
