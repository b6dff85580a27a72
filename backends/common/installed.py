"""What is installed, without importing it: package versions, and whether a library still has the methods an adapter builds on."""

from __future__ import annotations

import importlib.metadata
import inspect
from collections.abc import Iterable, Mapping, Sequence
from typing import Any


def installed_versions(packages: Iterable[str]) -> dict[str, str]:
    """Version of every package that is installed, from its metadata; packages that are missing are left out."""
    found = {}
    for package in packages:
        try:
            found[package] = importlib.metadata.version(package)
        except importlib.metadata.PackageNotFoundError:
            continue
    return found


def lacking_methods(owner: Any, expected: Mapping[str, Sequence[str]]) -> list[str]:
    """Names of the methods that ``owner`` lacks, or that lack one of the parameters listed for them."""
    return [name for name, parameters in expected.items() if not _takes(getattr(owner, name, None), parameters)]


def _takes(method: Any, parameters: Sequence[str]) -> bool:
    """Whether a method has these parameters; one that passes ``*args`` on may have them under it."""
    if method is None:
        return False
    known = inspect.signature(inspect.unwrap(method)).parameters
    open_ended = any(p.kind is inspect.Parameter.VAR_POSITIONAL for p in known.values())
    return open_ended or set(parameters) <= set(known)
