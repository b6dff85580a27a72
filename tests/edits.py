"""Edits of a text that a test starts from: an edit that finds nothing fails instead of testing the unchanged text."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import pytest


def edited(text: str, changes: Mapping[str, str], *, first: bool = False) -> str:
    """``text`` with every ``old`` replaced by its ``new``, one after the other.

    Each ``old`` must occur exactly once, or at least once with ``first``, which replaces the first occurrence only.
    """
    for old, new in changes.items():
        found = text.count(old)
        if not found or (found > 1 and not first):
            pytest.fail(f"{old!r} occurs {found} times in the text that the test edits:\n{text}", pytrace=False)
        text = text.replace(old, new, 1)
    return text


def edit_file(path: Path, changes: Mapping[str, str], *, first: bool = False) -> None:
    """:func:`edited`, in place, on a UTF-8 file."""
    path.write_text(edited(path.read_text(encoding="utf-8"), changes, first=first), encoding="utf-8")
