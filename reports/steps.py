"""``steps.parquet``: one row per training step of every run, for one's own analysis."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from reports.records import Run


def write_steps(runs: list[Run], path: Path) -> bool:
    """Write all steps, run by run; False (and no file) where no run has any. Same runs, same bytes."""
    runs = [r for r in runs if len(r.steps["step"])]
    if not runs:
        return False
    lengths = [len(r.steps["step"]) for r in runs]
    table: dict[str, pa.Array] = {}
    for name in ("combination", "strategy", "run_id"):
        values = [str(getattr(r, name)).encode("utf-8", "replace").decode() for r in runs]
        known = list(dict.fromkeys(values))
        codes = np.repeat(np.array([known.index(v) for v in values], dtype=np.int32), lengths)
        table[name] = pa.DictionaryArray.from_arrays(pa.array(codes), pa.array(known))
    table["seed"] = pa.array(np.repeat(np.array([r.seed for r in runs], dtype=np.int64), lengths))
    for name in runs[0].steps:
        column = np.concatenate([r.steps[name] for r in runs])
        whole = name in ("step", "updates", "dropped_groups", "fresh_groups", "replayed_groups")
        table[name] = pa.array(column.astype(np.int64) if whole else column)
    pq.write_table(pa.table(table), path, compression="zstd")
    return True
