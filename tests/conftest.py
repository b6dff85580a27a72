"""What all tests share: the toy engine, the folder of real data, a data folder for one test, the mark ``end_to_end``."""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Callable, Generator
from pathlib import Path

import pytest

HERE = Path(__file__).resolve().parent
#: The toy engine's module is imported by name, here and in the workers that its tests start.
sys.path.insert(0, str(HERE / "runner"))

from toy_place import place  # noqa: E402

__all__ = ["place"]

DATA = HERE.parents[1] / "shared" / "data"


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Whatever uses ``place`` runs the command line or a suite in processes of its own; ``nox -s fast`` leaves it out."""
    for item in items:
        if "place" in getattr(item, "fixturenames", ()):
            item.add_marker(pytest.mark.end_to_end)


@pytest.fixture
def real_data(monkeypatch: pytest.MonkeyPatch) -> Path:
    """The folder of real data files as the data folder; the test is skipped where it is not."""
    if not (DATA / "math12500_pass_rates.parquet").is_file():
        pytest.skip("the folder shared/data with the real data files is not beside the repository")
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


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item: pytest.Item) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """Append a line to the file HALFWAY_FAULTS names for every injected fault that a test survived; docs/reliability.md is made of them.

    The mark ``fault(what, outcome, times=1)`` says what a test injects; a test that counts says so with ``record_property("times", n)``.
    """
    report = yield
    mark, path = item.get_closest_marker("fault"), os.environ.get("HALFWAY_FAULTS")
    if mark is not None and path and report.when == "call" and report.passed:
        what, outcome = mark.args
        times = dict(item.user_properties).get("times", mark.kwargs.get("times", 1))
        with open(path, "a", encoding="utf-8") as file:
            file.write(json.dumps({"what": what, "outcome": outcome, "times": times, "test": item.nodeid.partition("[")[0]}) + "\n")
    return report
