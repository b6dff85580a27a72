"""Listing files that somebody else removes meanwhile, and finding the user's own modules."""

from __future__ import annotations

import shutil
import sys
from pathlib import Path

import pytest

from harness import files
from harness.files import files_under, import_from


def test_a_folder_that_goes_away_while_it_is_listed(tmp_path: Path) -> None:
    """Between two files a worker removes a folder that was already seen: the rest is still listed, and nothing is raised."""
    for name in ("first", "kept/deep/second", "removed/third"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).touch()
    listed = files_under(tmp_path)
    assert next(listed).name == "first"
    shutil.rmtree(tmp_path / "removed")
    assert [path.name for path in listed] == ["second"]


def test_folders_of_own_modules_come_last_and_the_newest_first(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What is installed is never hidden; of two suites the one read last counts; naming a folder twice changes the order only."""
    monkeypatch.setattr(sys, "path", ["installed"])
    monkeypatch.setattr(files, "_import_folders", [])
    first, second = (str((tmp_path / name).resolve()) for name in ("a", "b"))
    for folder, expected in ((first, [first]), (second, [second, first]), (first, [first, second]), ("", [first, second])):
        import_from(folder)
        assert sys.path == ["installed", *expected]
    monkeypatch.setattr(sys, "path", [second, "installed"])
    monkeypatch.setattr(files, "_import_folders", [])
    import_from(second)
    assert sys.path == [second, "installed"]
