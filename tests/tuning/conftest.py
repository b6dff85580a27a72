"""Makes the runner's toy engine and the task made from it importable; spares made-up ledgers the wait for the disk."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

HERE = Path(__file__).resolve().parent
for folder in (HERE, HERE.parent / "runner"):
    if str(folder) not in sys.path:
        sys.path.insert(0, str(folder))


from toy_place import place  # noqa: E402

__all__ = ["place"]


@pytest.fixture(autouse=True, scope="module")
def _no_waiting_for_the_disk() -> Iterator[None]:
    """Thousands of made-up records are written here, and none of these tests pulls a plug."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(os, "fsync", lambda handle: None)
        yield
