"""Pages of the site that live elsewhere in the repository, so that there is one copy of each."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from mkdocs.structure.files import File, Files

ROOT = Path(__file__).parents[1]
PAGES = {"benchmarks.md": "benchmarks/README.md", "changelog.md": "CHANGELOG.md"}


#: Written by a script from records, so it is in the navigation once there are any; and the entry before which it stands.
FINDINGS, BEFORE = {"Findings": "findings.md"}, {"Measurements": "benchmarks.md"}


def on_config(config: Any) -> Any:
    """Add the page of findings to the navigation where it has been written."""
    if (ROOT / "docs" / "findings.md").is_file() and FINDINGS not in config.nav:
        config.nav.insert(config.nav.index(BEFORE), FINDINGS)
    return config


def on_files(files: Files, config: Any) -> Files:
    """Add the pages that are kept outside ``docs/``."""
    for uri, source in PAGES.items():
        files.append(File.generated(config, uri, content=_relinked((ROOT / source).read_text(encoding="utf-8"), "../docs/", "")))
    return files


def on_page_markdown(markdown: str, **_: Any) -> str:
    """Links that are right in the repository, made right in the site."""
    for uri, source in PAGES.items():
        markdown = _relinked(markdown, f"../{source}", uri)
    return markdown


def _relinked(markdown: str, old: str, new: str) -> str:
    return markdown.replace(f"]({old}", f"]({new}")
