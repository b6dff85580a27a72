"""What the guide shows is true: its code runs, its commands exist, its suites load, its links lead somewhere."""

from __future__ import annotations

import csv
import json
import os
import re
import shlex
import subprocess
import sys
import tomllib
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path

import pytest
import typer

ROOT = Path(__file__).parents[2]
PAGES = sorted((ROOT / "docs").rglob("*.md"))
TEXTS = [*(ROOT / name for name in ("README.md", "CONTRIBUTING.md", "SECURITY.md", "benchmarks/README.md")), *PAGES]
#: Commands that only look, and can be run as they stand in an empty folder with the page's files.
READ_ONLY = ("list", "plan", "strategies", "doctor", "check", "status", "--help", "version", "new-strategy")


@dataclass(frozen=True)
class Block:
    """A fenced block of a page."""

    page: Path
    line: int
    language: str
    text: str

    def __str__(self) -> str:
        return f"{self.page.name}:{self.line}"


def blocks(*languages: str) -> list[Block]:
    found = []
    for page in TEXTS:
        source = page.read_text(encoding="utf-8")
        for match in re.finditer(r"^```(\w+)\n(.*?)^```", source, flags=re.DOTALL | re.MULTILINE):
            if match[1] in languages:
                found.append(Block(page, source.count("\n", 0, match.start()) + 1, match[1], match[2]))
    return found


def commands() -> list[tuple[Block, list[str]]]:
    """Every ``halfway …`` line of the shell blocks, without comments."""
    lines = [(block, line) for block in blocks("sh", "console") for line in block.text.replace("\\\n", " ").splitlines()]
    return [(block, shlex.split(line, comments=True)[1:]) for block, line in lines if line.lstrip("$ ").startswith("halfway ")]


def place(page: Path, folder: Path) -> None:
    """The files that a page tells its reader to write: blocks whose first line is ``# NAME.py``, and suites with a name.

    And those that its scripts write, which it runs with ``python NAME.py``.
    """
    for block in blocks("python", "toml"):
        if block.page != page:
            continue
        first = re.match(r"# (\w+\.py)\n", block.text)
        if first:
            (folder / first[1]).write_text(block.text, encoding="utf-8")
        elif block.language == "toml" and "[[strategies]]" in block.text:
            name = tomllib.loads(block.text).get("name")
            if name:
                (folder / f"{name}.toml").write_text(block.text, encoding="utf-8")
    for block in blocks("sh"):
        for script in re.findall(r"^python (\w+\.py)$", block.text, flags=re.MULTILINE) if block.page == page else ():
            subprocess.run([sys.executable, script], cwd=folder, check=True, timeout=60)


@pytest.mark.slow
@pytest.mark.parametrize("page", [page for page in TEXTS if any(b.page == page for b in blocks("python"))], ids=lambda page: page.name)
def test_python_of_a_page_runs(page: Path, tmp_path: Path) -> None:
    """All Python of a page, in order, in one interpreter, beside the files that the page writes."""
    place(page, tmp_path)
    script = "\n".join(block.text for block in blocks("python") if block.page == page)
    done = subprocess.run([sys.executable, "-c", script], cwd=tmp_path, capture_output=True, text=True, timeout=200, check=False)
    assert done.returncode == 0, done.stderr[-2000:]


def test_the_guide_has_python_commands_and_suites() -> None:
    """The tests of this file have something to test."""
    assert len(blocks("python")) >= 4
    assert len(commands()) >= 20
    assert any("[[strategies]]" in block.text for block in blocks("toml"))


@pytest.mark.parametrize(("block", "words"), commands(), ids=lambda x: " ".join(x) if isinstance(x, list) else str(x))
def test_commands_and_options_exist(block: Block, words: list[str]) -> None:
    """Parsed by the command line itself; nothing is started."""
    from harness.cli.main import app

    command = typer.main.get_command(app)
    while hasattr(command, "commands") and words and not words[0].startswith("-"):
        name, *words = words
        assert name in command.commands, f"{block}: there is no command {name!r}"
        command = command.commands[name]
    if "--help" not in words:
        command.make_context(command.name, list(words)).close()


@pytest.mark.slow
@pytest.mark.end_to_end
@pytest.mark.skipif(find_spec("trl") is None, reason="the page trains with TRL")
def test_from_an_empty_folder_to_a_page(tmp_path: Path) -> None:
    """The chapter on one's own data: its files and commands, in its order, end in a page with both arms."""
    page = ROOT / "docs" / "your-own-data.md"
    place(page, tmp_path)
    path = os.pathsep.join(filter(None, (str(ROOT), os.environ.get("PYTHONPATH"))))
    environment = {**os.environ, "HALFWAY_CACHE": str(tmp_path / "cache"), "PYTHONPATH": path}
    told = [words for block, words in commands() if block.page == page]
    assert [words[0] for words in told] == ["validate", "plan", "run", "report"]
    for words in told:
        done = subprocess.run(
            [sys.executable, "-m", "harness.cli", *words],
            cwd=tmp_path,
            env=environment,
            capture_output=True,
            text=True,
            timeout=280,
            check=False,
        )
        assert done.returncode == 0, f"halfway {' '.join(words)}: {done.stdout[-2000:]}{done.stderr[-2000:]}"
    assert "Rollout replay against plain GRPO on questions of my own." in (tmp_path / "page" / "index.html").read_text(encoding="utf-8")
    with (tmp_path / "page" / "results.csv").open(encoding="utf-8", newline="") as file:
        assert {row["strategy"] for row in csv.DictReader(file)} == {"grpo", "rr"}


@pytest.mark.end_to_end
@pytest.mark.parametrize(
    ("block", "words"),
    [(b, w) for b, w in commands() if w and w[0] in READ_ONLY],
    ids=lambda x: " ".join(x) if isinstance(x, list) else str(x),
)
def test_commands_that_only_look_work(block: Block, words: list[str], tmp_path: Path) -> None:
    """Run as shown, in a folder that holds what the page says to write."""
    place(block.page, tmp_path)
    done = subprocess.run(
        [sys.executable, "-m", "harness.cli", *words], cwd=tmp_path, capture_output=True, text=True, timeout=200, check=False
    )
    assert done.returncode == 0, f"{block}: {done.stderr[-2000:]}{done.stdout[-1000:]}"


@pytest.mark.parametrize(
    "block", [b for b in blocks("toml") if "[[combinations]]" in b.text and "name =" in b.text.split("[[")[0]], ids=str
)
def test_suites_on_the_page_load(block: Block, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A whole suite in the guide is one that Halfway accepts."""
    from harness.suite.reader import load_suite
    from harness.suite.suite import plan

    place(block.page, tmp_path)
    monkeypatch.syspath_prepend(tmp_path)
    name = tomllib.loads(block.text)["name"]
    strategies = [file for file in tmp_path.glob("*.py") if re.search(r"^class \w+\((Selector|Replay)", file.read_text(), re.MULTILINE)]
    plugins = [f"{file.stem}:{file.stem.capitalize()}" for file in strategies]
    assert plan(load_suite(tmp_path / f"{name}.toml", plugins))


@pytest.mark.parametrize("block", blocks("toml"), ids=str)
def test_toml_parses(block: Block) -> None:
    """Fragments, too."""
    assert tomllib.loads(block.text)


@pytest.mark.parametrize("page", TEXTS, ids=lambda page: page.name)
def test_relative_links_lead_to_files(page: Path) -> None:
    """In the repository as it is read there; the site's own check is `mkdocs build --strict`."""
    text = re.sub(r"```.*?```", "", page.read_text(encoding="utf-8"), flags=re.DOTALL)
    generated = {"benchmarks.md", "changelog.md"} if page.parent.name == "docs" else set()
    for target in re.findall(r"\]\(([^)\s]+)\)", text):
        path = target.partition("#")[0]
        if path and not path.startswith(("https://", "http://", "mailto:")) and path not in generated:
            assert (page.parent / path).exists(), f"{page.name}: {target}"


@pytest.mark.skipif(find_spec("mkdocs") is None or find_spec("material") is None, reason="mkdocs-material is not installed")
def test_the_site_builds_without_a_dead_link(tmp_path: Path) -> None:
    """Strict: a missing page, anchor or navigation entry fails; and nothing on a page is loaded from elsewhere."""
    command = [sys.executable, "-m", "mkdocs", "build", "--strict", "--site-dir", str(tmp_path / "site")]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=200, check=False)
    assert done.returncode == 0, done.stderr[-3000:]
    loaded = {
        url
        for page in (tmp_path / "site").rglob("*.html")
        for url in re.findall(r"<(?:script|link|img)[^>]+(?:src|href)=\"(https?://[^\"]+)", page.read_text(encoding="utf-8"))
    }
    assert not loaded, loaded


def test_the_table_of_what_differs_is_the_one_that_reports_show() -> None:
    """Sampling, batching and the rest: one text, in the guide and on the page."""
    text = (ROOT / "docs" / "backends.md").read_text(encoding="utf-8").replace("`", "")
    for row in json.loads((ROOT / "reports" / "data" / "backends.json").read_text(encoding="utf-8")):
        assert f"| {row['what']} | {row['trl']} | {row['verl']} |" in text
