"""``steps.parquet``: one row per training step of every run, for one's own analysis."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.parquet as pq

from reports.condensed import Run


def write_steps(runs: list[Run], path: Path) -> bool:
    """Write all steps, run by run; False (and no file) where no run has any. Same runs, same bytes."""
    runs = [r for r in runs if len(r.steps["step"])]
    if not runs:
        return False
    lengths = [len(r.steps["step"]) for r in runs]
    table: dict[str, pa.Array] = {}
    for name in ("combination", "strategy", "run_id"):
        values = [str(getattr(r, name)).encode("utf-8", "replace") for r in runs]
        known = {value: code for code, value in enumerate(dict.fromkeys(values))}
        codes = np.repeat(np.array([known[v] for v in values], dtype=np.int32), lengths)
        table[name] = pa.DictionaryArray.from_arrays(_numbers(codes), _texts(list(known)))
    table["seed"] = _numbers(np.repeat(np.array([r.seed for r in runs], dtype=np.int64), lengths))
    for name in runs[0].steps:
        column = np.concatenate([r.steps[name] for r in runs])
        whole = name in ("step", "updates", "dropped_groups", "fresh_groups", "replayed_groups")
        table[name] = _numbers(column.astype(np.int64) if whole else column)
    pq.write_table(pa.Table.from_arrays(list(table.values()), names=list(table)), path, compression="zstd")
    return True


# From buffers, not with ``pa.array``: that would import pandas, where it is installed, only to ask whether it was given any.


def _numbers(values: npt.NDArray[Any]) -> pa.Array:
    return pa.Array.from_buffers(pa.from_numpy_dtype(values.dtype), len(values), [None, pa.py_buffer(np.ascontiguousarray(values))])


def _texts(values: list[bytes]) -> pa.Array:
    ends = np.cumsum([0, *map(len, values)]).astype(np.int32)
    return pa.Array.from_buffers(pa.string(), len(values), [None, pa.py_buffer(ends), pa.py_buffer(b"".join(values))])
