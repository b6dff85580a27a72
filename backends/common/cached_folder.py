"""Build a folder once: named by the hash of what determines it, complete or not there, safe between processes."""

from __future__ import annotations

import hashlib
import json
import shutil
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from filelock import FileLock

from backends.common.failures import naming_full_disk


def cached_folder(cache_dir: Path, label: str, identity: Mapping[str, Any], build: Callable[[Path], None]) -> Path:
    """``cache_dir/label-<hash of identity>``, made by ``build(folder)`` unless it is there.

    ``build`` works in a folder beside it (:func:`whole_folder`); other processes wait at a lock and then find it.
    """
    digest = hashlib.sha256(json.dumps(identity, sort_keys=True).encode()).hexdigest()[:16]
    final = cache_dir / f"{label}-{digest}"
    if final.is_dir():
        return final
    cache_dir.mkdir(parents=True, exist_ok=True)
    with FileLock(f"{final}.lock"):
        if final.is_dir():
            return final
        with whole_folder(final) as partial:
            build(partial)
    return final


@contextmanager
def whole_folder(final: Path) -> Iterator[Path]:
    """A folder beside ``final`` to work in, renamed at the end of the block, so that a crash leaves nothing that counts.

    One at a time: a partial folder that is found is taken to be of a process that died. ``final`` is not there, or empty.
    Whatever a library raises when the disk is full comes out as the disk's own OSError.
    """
    partial = final.with_name(f"{final.name}.partial")
    shutil.rmtree(partial, ignore_errors=True)
    partial.mkdir(parents=True)
    try:
        with naming_full_disk(partial):
            yield partial
        partial.replace(final)
    finally:
        shutil.rmtree(partial, ignore_errors=True)
