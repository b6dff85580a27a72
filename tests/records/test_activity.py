"""What a worker says between two records."""

from __future__ import annotations

from pathlib import Path

import pytest

from harness.records import activity
from harness.records.activity import ActivityFile, ActivityReader


def test_what_is_said_is_read_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """At most once a second as long as it stays the same; what was said before the reader came is old."""
    clock = [0.0]
    monkeypatch.setattr(activity.time, "monotonic", lambda: clock[0])
    writer = ActivityFile(tmp_path / "activity")
    writer.say("loading")
    reader = ActivityReader(tmp_path / "activity")
    assert reader.news() is None
    writer.say("evaluating", 0, 512)
    assert reader.news() == ("evaluating", 0, 512)
    assert reader.news() is None
    clock[0] = 0.5
    writer.say("evaluating", 100, 512)
    assert reader.news() is None
    clock[0] = 1.0
    writer.say("evaluating", 120, 512)
    assert reader.news() == ("evaluating", 120, 512)
    assert [path.name for path in tmp_path.iterdir()] == ["activity"]


def test_a_file_that_cannot_be_written_or_read_disturbs_nobody(tmp_path: Path) -> None:
    """No folder, and a file that somebody edited."""
    ActivityFile(tmp_path / "missing" / "activity").say("loading")
    reader = ActivityReader(tmp_path / "activity")
    assert reader.news() is None
    (tmp_path / "activity").write_text("[1, 2]")
    assert reader.news() is None
