"""State of a run beside the engine's own checkpoint: JSON and numpy arrays, complete or not there at all.

A checkpoint folder ``checkpoints/step-N`` (or ``checkpoint-N``, an engine's own) counts only once its manifest exists. The
manifest is written last, after everything else was synced, and lists every file with its size: a crash between any two
files leaves a folder that is ignored and removed, never half a state.
"""

from __future__ import annotations

import json
import os
import re
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from harness.errors import UserError
from harness.files import write_text

MANIFEST = "halfway.manifest.json"
STATE_JSON = "halfway.state.json"
STATE_ARRAYS = "halfway.state.npz"
SCHEMA = 1
_NAME = re.compile(r"(?:step|checkpoint)-\d+")  # the engine counts in the name what it likes; the manifest has the training step


class CheckpointError(UserError):
    """A checkpoint that cannot be used; the message says which and what to do."""


def save_state(folder: Path, state: Mapping[str, Any]) -> None:
    """Write a nested state (dicts, lists, JSON scalars, numpy arrays) into ``folder``."""
    folder.mkdir(parents=True, exist_ok=True)
    arrays: dict[str, np.ndarray[Any, Any]] = {}
    tree = _pack(state, arrays)
    (folder / STATE_JSON).write_text(json.dumps({"schema": SCHEMA, "state": tree}), encoding="utf-8")
    with open(folder / STATE_ARRAYS, "wb") as file:
        np.savez(file, **arrays)  # type: ignore[arg-type]


def load_state(folder: Path) -> dict[str, Any]:
    """Read back what ``save_state`` wrote."""
    document = json.loads((folder / STATE_JSON).read_text(encoding="utf-8"))
    if document["schema"] != SCHEMA:
        raise _of_another_version(folder, document["schema"])
    with np.load(folder / STATE_ARRAYS, allow_pickle=False) as arrays:
        loaded: dict[str, Any] = _unpack(document["state"], dict(arrays))
    return loaded


def _of_another_version(folder: Path, schema: object) -> CheckpointError:
    return CheckpointError(
        f"{folder} was written with checkpoint schema {schema}, this Halfway reads {SCHEMA}; "
        "use the version that wrote it, or move the run's folder away and run it again"
    )


def seal(folder: Path, step: int) -> None:
    """Sync every file of ``folder`` and write its manifest: from here on it is the checkpoint of training step ``step``."""
    sizes = {}
    for path in sorted(p for p in folder.rglob("*") if p.is_file() and p.name != MANIFEST):
        with open(path, "rb+") as file:
            os.fsync(file.fileno())
        sizes[path.relative_to(folder).as_posix()] = path.stat().st_size
    write_text(folder / MANIFEST, json.dumps({"schema": SCHEMA, "step": step, "files": sizes}))
    _sync_folder(folder)


def complete_step(folder: Path) -> int | None:
    """The training step of a checkpoint whose manifest is there and whose files all have their size, else None.

    Raises CheckpointError for one that a newer Halfway wrote: it must be neither used nor taken for half-written and removed.
    """
    try:
        manifest = json.loads((folder / MANIFEST).read_text(encoding="utf-8"))
        if isinstance(manifest, dict) and int(manifest.get("schema", SCHEMA)) > SCHEMA:
            raise _of_another_version(folder, manifest["schema"])
        whole = all((folder / name).stat().st_size == size for name, size in manifest["files"].items())
        return int(manifest["step"]) if whole else None
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        return None


def newest_complete(checkpoints: Path) -> tuple[int, Path] | None:
    """(training step, folder) of the newest complete checkpoint, or None."""
    found = [(step, folder) for folder in _folders(checkpoints) if (step := complete_step(folder)) is not None]
    return max(found, default=None)


def prune(checkpoints: Path, keep: int = 1) -> None:
    """Remove incomplete checkpoints and all but the newest ``keep`` complete ones."""
    folders = _folders(checkpoints)
    steps = {folder: complete_step(folder) for folder in folders}
    newest = sorted((step for step in steps.values() if step is not None), reverse=True)[:keep]
    for folder in folders:
        if steps[folder] not in newest:
            # The manifest goes first: a kill in the middle of the removal must leave a folder that does not count.
            (folder / MANIFEST).unlink(missing_ok=True)
            shutil.rmtree(folder, ignore_errors=True)


def probe_disk(folder: Path, size: int = 1 << 20) -> None:
    """Raise the OSError that writing ``size`` bytes in ``folder`` gives, if it gives one.

    Called when a library failed to save something: torch and safetensors hide a full disk in errors of their own.
    """
    probe = folder / ".halfway.probe"
    try:
        with open(probe, "wb") as file:
            file.write(bytes(size))
            file.flush()
            os.fsync(file.fileno())
    except OSError as error:  # of writing it says no name: the sentence for the user would name the ledger's folder instead
        raise OSError(error.errno, error.strerror, str(folder)) from error
    finally:
        probe.unlink(missing_ok=True)


def _folders(checkpoints: Path) -> list[Path]:
    if not checkpoints.is_dir():
        return []
    return sorted(p for p in checkpoints.iterdir() if p.is_dir() and _NAME.fullmatch(p.name))


def _pack(value: Any, arrays: dict[str, np.ndarray[Any, Any]]) -> Any:
    if isinstance(value, np.ndarray):
        if value.dtype == object:
            raise TypeError("object arrays cannot be saved without pickle; use lists or numeric arrays in state_dict()")
        key = f"a{len(arrays)}"
        arrays[key] = value
        return {"__array__": key}
    if isinstance(value, np.generic):
        return value.item()
    if isinstance(value, Mapping):
        wrong = next((k for k in value if not isinstance(k, str)), None)
        if wrong is not None:
            raise TypeError(f"state_dict() keys must be strings, not {wrong!r}")
        return {k: _pack(v, arrays) for k, v in value.items()}
    if isinstance(value, (list, tuple)):
        return [_pack(v, arrays) for v in value]
    if value is None or isinstance(value, (bool, int, float, str)):
        return value
    raise TypeError(f"state_dict() holds a {type(value).__name__}; only JSON scalars, lists, dicts and numpy arrays are saved")


def _unpack(value: Any, arrays: Mapping[str, np.ndarray[Any, Any]]) -> Any:
    if isinstance(value, dict):
        if set(value) == {"__array__"}:
            return arrays[value["__array__"]]
        return {k: _unpack(v, arrays) for k, v in value.items()}
    if isinstance(value, list):
        return [_unpack(v, arrays) for v in value]
    return value


def _sync_folder(folder: Path) -> None:
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
