"""Tables that scripts write into pages of the guide."""

from __future__ import annotations

from pathlib import Path


def insert(document: Path, marker: str, text: str) -> None:
    """Put ``text`` between ``<!-- marker -->`` and ``<!-- /marker -->``."""
    before, start, rest = document.read_text(encoding="utf-8").partition(f"<!-- {marker} -->")
    _, end, after = rest.partition(f"<!-- /{marker} -->")
    if not start or not end:
        raise SystemExit(f"{document} has no place marked {marker}")
    document.write_text(f"{before}{start}\n{text}\n{end}{after}", encoding="utf-8")
