"""Checkpoints count when complete and are never half a state."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from harness.records.checkpoint import (
    MANIFEST,
    STATE_ARRAYS,
    CheckpointError,
    complete_step,
    load_state,
    newest_complete,
    prune,
    save_state,
    seal,
)
from tests.edits import edit_file

SCALARS = st.none() | st.booleans() | st.integers(-(2**60), 2**60) | st.floats(allow_nan=False) | st.text(max_size=20)
ARRAYS = st.lists(st.floats(allow_nan=False, width=32), max_size=5).map(lambda x: np.array(x, dtype=np.float32))
TREES = st.recursive(
    SCALARS | ARRAYS, lambda t: st.lists(t, max_size=3) | st.dictionaries(st.text(max_size=5), t, max_size=3), max_leaves=8
)


def same(a: Any, b: Any) -> bool:
    if isinstance(a, np.ndarray):
        return isinstance(b, np.ndarray) and a.dtype == b.dtype and np.array_equal(a, b)
    if isinstance(a, dict):
        return set(a) == set(b) and all(same(a[k], b[k]) for k in a)
    if isinstance(a, list):
        return len(a) == len(b) and all(map(same, a, b))
    return type(a) is type(b) and bool(a == b)


@given(state=st.dictionaries(st.text(max_size=5), TREES, max_size=4))
def test_any_state_of_scalars_and_arrays_survives(state: dict[str, Any], tmp_path_factory: pytest.TempPathFactory) -> None:
    """Nested dicts and lists, strings, numbers and arrays come back with their types."""
    folder = tmp_path_factory.mktemp("state")
    save_state(folder, state)
    assert same(load_state(folder), state)


@pytest.mark.parametrize("bad", [{"x": object()}, {"x": {1, 2}}, {"x": {1: 2}}, {"x": np.array([object()])}])
def test_what_needs_pickle_is_refused_when_saving(bad: dict[str, Any], tmp_path: Path) -> None:
    """The author of a strategy learns of it at the first checkpoint, not at the first resume."""
    with pytest.raises(TypeError, match=r"state_dict|pickle"):
        save_state(tmp_path, bad)


def make(checkpoints: Path, name: str, step: int, complete: bool = True) -> Path:
    folder = checkpoints / name
    save_state(folder, {"step": step, "weights": np.arange(step)})
    if complete:
        seal(folder, step)
    return folder


def test_the_newest_complete_one_counts(tmp_path: Path) -> None:
    """An unsealed, a truncated and a foreign folder are passed over; the manifest's training step decides."""
    make(tmp_path, "checkpoint-20", 10)
    good = make(tmp_path, "checkpoint-40", 20)
    make(tmp_path, "checkpoint-60", 30, complete=False)
    torn = make(tmp_path, "checkpoint-80", 40)
    (torn / STATE_ARRAYS).write_bytes(b"short")
    (tmp_path / "notes").mkdir()
    assert newest_complete(tmp_path) == (20, good)
    assert newest_complete(tmp_path / "missing") is None


def test_a_crash_between_any_two_files_leaves_the_previous_checkpoint(tmp_path: Path) -> None:
    """Whatever prefix of the files of a new checkpoint exists, resume finds the old one whole."""
    old = make(tmp_path, "checkpoint-10", 10)
    new = make(tmp_path, "checkpoint-20", 20)
    files = sorted(p for p in new.iterdir() if p.name != MANIFEST)
    contents = {p.name: p.read_bytes() for p in [*files, new / MANIFEST]}
    for written in range(len(files) + 1):
        for p in new.iterdir():
            p.unlink()
        for p in files[:written]:
            (new / p.name).write_bytes(contents[p.name])
        assert newest_complete(tmp_path) == (10, old)
        (new / (MANIFEST + ".partial")).write_bytes(contents[MANIFEST][:10])
        assert newest_complete(tmp_path) == (10, old)
    (new / MANIFEST).write_bytes(contents[MANIFEST])
    assert newest_complete(tmp_path) == (20, new)


def test_prune_keeps_the_newest_and_removes_the_torn(tmp_path: Path) -> None:
    """Old checkpoints go only once a newer one is complete."""
    make(tmp_path, "checkpoint-2", 2)
    make(tmp_path, "checkpoint-4", 4)
    make(tmp_path, "checkpoint-6", 6, complete=False)
    prune(tmp_path)
    assert [p.name for p in tmp_path.iterdir()] == ["checkpoint-4"]
    assert complete_step(tmp_path / "checkpoint-4") == 4


def test_another_schema_is_refused_in_words(tmp_path: Path) -> None:
    """A checkpoint of another version is not guessed at."""
    save_state(tmp_path, {})
    path = tmp_path / "halfway.state.json"
    edit_file(path, {'"schema": 1': '"schema": 7'})
    with pytest.raises(CheckpointError, match="schema 7"):
        load_state(tmp_path)
