"""Where real data lie, and a data folder for one test."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

DATA = Path(__file__).resolve().parents[3] / "shared" / "data"


@pytest.fixture
def real_data(monkeypatch: pytest.MonkeyPatch) -> Path:
    """The folder of real data files as the data folder; the test is skipped where it is not."""
    if not (DATA / "math12500_pass_rates.parquet").is_file():
        pytest.skip(f"the real data files are not in {DATA.name} beside the repository")
    monkeypatch.setenv("HALFWAY_DATA", str(DATA))
    return DATA


@pytest.fixture
def data(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[str, str], None]:
    """``data(name, text)`` writes a file of the data folder."""
    folder = tmp_path / "data"
    folder.mkdir()
    monkeypatch.setenv("HALFWAY_DATA", str(folder))

    def write(name: str, text: str) -> None:
        (folder / name).write_text(text, encoding="utf-8")

    return write
