"""The picture and the tables of docs/architecture.md agree with the tree."""

from __future__ import annotations

import importlib.util
import re
from pathlib import Path
from types import ModuleType

import pytest

ROOT = Path(__file__).parents[2]
PAGE = ROOT / "docs" / "architecture.md"
DECISIONS = sorted((ROOT / "docs" / "decisions").glob("*.md"))


@pytest.fixture(scope="module")
def drawing() -> ModuleType:
    """The script that draws the picture; it is no part of a package."""
    spec = importlib.util.spec_from_file_location("architecture", ROOT / "docs" / "images" / "architecture.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_the_picture_shows_the_import_contract(drawing: ModuleType) -> None:
    """If this fails, run `python docs/images/architecture.py`, look at the picture, and commit it."""
    assert drawing.PICTURE.read_text(encoding="utf-8") == drawing.picture()


def test_paths_in_the_picture_exist(drawing: ModuleType) -> None:
    """Each step of the two chains names files that are there."""
    for _, where in (*drawing.STEPS, *drawing.KILLED):
        for path in (where.replace("{trl,verl}", backend) for backend in ("trl", "verl")):
            assert (ROOT / path).exists(), path


def test_paths_on_the_page_exist() -> None:
    """Everything in code type that looks like a path of the repository."""
    found = re.findall(r"`((?:harness|backends|suites|reports|tests|benchmarks|docs)/[\w./-]*)`", PAGE.read_text(encoding="utf-8"))
    assert len(found) > 20
    assert not [path for path in found if not (ROOT / path).exists()]


@pytest.mark.parametrize("decision", DECISIONS, ids=lambda path: path.stem)
def test_a_decision_is_short_and_linked(decision: Path) -> None:
    """Context, decision and consequences in at most 40 lines, and a link on the page."""
    text = decision.read_text(encoding="utf-8")
    assert len(text.splitlines()) <= 40
    assert re.findall(r"^## (.*)$", text, flags=re.MULTILINE) == ["Context", "Decision", "Consequences"]
    assert f"(decisions/{decision.name})" in PAGE.read_text(encoding="utf-8")
