"""What the tests of courses share."""

from __future__ import annotations

import pytest

from benchmarks.course import archive


@pytest.fixture(autouse=True)
def quick_compression(monkeypatch: pytest.MonkeyPatch) -> None:
    """Archives of tests need not be small."""
    monkeypatch.setattr(archive, "PRESET", 0)
