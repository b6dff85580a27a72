"""Listing files that somebody else removes meanwhile."""

from __future__ import annotations

import shutil
from pathlib import Path

from harness.files import files_under


def test_a_folder_that_goes_away_while_it_is_listed(tmp_path: Path) -> None:
    """Between two files a worker removes a folder that was already seen: the rest is still listed, and nothing is raised."""
    for name in ("first", "kept/deep/second", "removed/third"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).touch()
    listed = files_under(tmp_path)
    assert next(listed).name == "first"
    shutil.rmtree(tmp_path / "removed")
    assert [path.name for path in listed] == ["second"]
