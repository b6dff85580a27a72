"""Edits of a text that a test starts from: an edit that finds nothing fails instead of testing the unchanged text."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Literal

import pytest

Which = Literal["only", "first", "every"]


def edited(text: str, changes: Mapping[str, str], which: Which = "only") -> str:
    """``text`` with each ``old`` of ``changes`` replaced by its ``new``, one after the other; ``old`` must occur.

    which: ``only`` also fails if ``old`` occurs more than once; ``first`` and ``every`` say which occurrences are meant.
    """
    for old, new in changes.items():
        found = text.count(old)
        if not found or (found > 1 and which == "only"):
            pytest.fail(f"{old!r} occurs {found} times in the text that the test edits:\n{text}", pytrace=False)
        text = text.replace(old, new, found if which == "every" else 1)
    return text


def edit_file(path: Path, changes: Mapping[str, str], which: Which = "only") -> None:
    """:func:`edited`, in place, on a UTF-8 file."""
    path.write_text(edited(path.read_text(encoding="utf-8"), changes, which), encoding="utf-8")
