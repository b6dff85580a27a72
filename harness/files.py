"""Files that others read and remove meanwhile: written so that nobody sees half of one, and listed while they go away.

And the user's own modules, which lie beside a suite or in the current folder.
"""

from __future__ import annotations

import contextlib
import os
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path


@contextlib.contextmanager
def replacing(path: Path) -> Iterator[Path]:
    """A path beside ``path`` to write to; what was written there replaces ``path`` at the end of the block, or is removed.

    The partial file is flushed to disk before it takes the name, so that after a power cut the name holds the old content or the new.
    Missing parent folders are made. Raises OSError as the file system does.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    handle, name = tempfile.mkstemp(prefix=f".{path.name}.", suffix=".partial", dir=path.parent)
    os.close(handle)
    partial = Path(name)
    try:
        # mkstemp makes files for their owner only; a written file gets the permissions that open() would give it.
        umask = os.umask(0)
        os.umask(umask)
        partial.chmod(0o666 & ~umask)
        yield partial
        with open(partial, "rb+") as file:
            os.fsync(file.fileno())
        os.replace(partial, path)
    finally:
        partial.unlink(missing_ok=True)


def files_under(folder: Path) -> Iterator[Path]:
    """Every file below ``folder``, while somebody else may be removing files and folders there (``Path.rglob`` raises then)."""
    for parent, _, names in os.walk(folder):
        yield from (Path(parent) / name for name in names)


def write_text(path: Path, text: str) -> None:
    """Write a whole UTF-8 text file, or leave what was there."""
    write_bytes(path, text.encode("utf-8"))


def write_bytes(path: Path, data: bytes) -> None:
    """Write a whole file, or leave what was there."""
    with replacing(path) as partial:
        partial.write_bytes(data)


_import_folders: list[str] = []


def import_from(folder: str | Path) -> None:
    """Let modules in ``folder`` be imported, in this process and in those that score for it.

    Such folders come after everything installed, so that a file of the user's hides nothing, and the last one given comes first.
    Nothing is done for an empty name.
    """
    if not str(folder):
        return
    path = str(Path(folder).resolve())
    if path in _import_folders:
        _import_folders.remove(path)
        sys.path[:] = [other for other in sys.path if other != path]
    elif path in sys.path:
        return
    at = next((sys.path.index(other) for other in _import_folders if other in sys.path), len(sys.path))
    sys.path.insert(at, path)
    _import_folders.insert(0, path)
