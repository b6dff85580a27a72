"""The attention predictor against the per-query formulation, and how a selection grows to a million questions. CPU, numpy.

    python benchmarks/predictor.py [--quick]

1. 10,240 questions x 256 references, width 1536, adapter 896 (the paper's). The per-query formulation is the equations as
   written: for every query, project it, project the 256 references *again*, attend, calibrate. It uses the same fast
   kernels; a few queries are timed and scaled to 10,240. Ours: references projected once per selection, questions once per
   artifact. Both give the same numbers, which is checked.
2. One whole selection (predict, then 512 questions by Gumbel top-k) of 10^4, 10^5, 10^6 questions with memory-mapped float16 projections,
   each in a process of its own: seconds and peak resident memory.
"""

from __future__ import annotations

import argparse
import json
import math
import os
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

os.environ.setdefault("OMP_NUM_THREADS", "1")
os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")

import numpy as np

from harness.numerics.functions import logit, sigmoid
from harness.predictor import AttentionPredictor, sample_near_target
from harness.predictor.network import LAYERS, adapt, platt_coefficients

WIDTH, UNITS, REFERENCES, SELECTED = 1536, 896, 256, 512
SIZES = (10_000, 100_000, 1_000_000)
PAPER_SECONDS = 1.71


def random_predictor(rng: np.random.Generator) -> tuple[AttentionPredictor, dict[str, Any]]:
    """A predictor of the paper's size with random weights, and its arrays."""
    arrays: dict[str, Any] = {}
    for prefix in ("query", "reference"):
        for name, size in (("input_norm", WIDTH), ("output_norm", UNITS)):
            arrays[f"{prefix}.{name}.weight"], arrays[f"{prefix}.{name}.bias"] = np.ones(size), np.zeros(size)
        for layer in range(LAYERS):
            fan_in = UNITS if layer else WIDTH
            arrays[f"{prefix}.layers.{layer}.weight"] = rng.standard_normal((UNITS, fan_in)) / math.sqrt(fan_in)
            arrays[f"{prefix}.layers.{layer}.bias"] = np.zeros(UNITS)
    for layer, (rows, columns) in enumerate(((10, 2), (2, 10))):
        arrays[f"calibration.{layer}.weight"] = rng.standard_normal((rows, columns))
        arrays[f"calibration.{layer}.bias"] = np.zeros(rows)
    arrays = {name: array.astype(np.float32) for name, array in arrays.items()}
    return AttentionPredictor(arrays, {"width": WIDTH, "units": UNITS, "shared": False, "head": "paper", "embedder": "random"}), arrays


def per_query(arrays: dict[str, Any], query: Any, references: Any, pass_rates: Any) -> float:
    """Pass rate of one question, references projected again."""
    z_query = adapt(arrays, "query", query[None])[0]
    z_references = adapt(arrays, "reference", references)
    scores = z_references @ z_query / math.sqrt(UNITS)
    attention = np.exp(scores - scores.max())
    slope, shift = platt_coefficients(arrays, "paper", pass_rates)
    return float(sigmoid(slope * logit(attention @ pass_rates / attention.sum()) + shift))


def compare(queries_timed: int) -> None:
    """Part 1."""
    rng = np.random.default_rng(0)
    predictor, arrays = random_predictor(rng)
    pool = rng.standard_normal((10_240, WIDTH)).astype(np.float32)
    ids = rng.choice(len(pool), REFERENCES, replace=False)
    rates = rng.integers(0, 9, REFERENCES) / 8
    start = time.perf_counter()
    predictor.project_queries(pool)
    projecting = time.perf_counter() - start
    taken = []
    for _ in range(9):
        start = time.perf_counter()
        predicted = predictor.predict(ids, rates)
        taken.append(time.perf_counter() - start)
    cached = statistics.median(taken)
    others = np.setdiff1d(np.arange(len(pool)), ids)[:queries_timed]
    per_query(arrays, pool[others[0]], pool[ids], 1 - rates)
    literal, spent = [], []
    for query in others:
        start = time.perf_counter()
        literal.append(per_query(arrays, pool[query], pool[ids], rates))
        spent.append(time.perf_counter() - start)
    each = statistics.median(spent)
    whole = each * len(pool)
    difference = float(np.abs(np.array(literal) - predicted[others]).max())
    print(f"10,240 questions x 256 references, width {WIDTH} -> {UNITS}, {os.environ['OMP_NUM_THREADS']} thread(s)")
    print(f"  per query, references projected again   {whole:9.1f} s   (scaled from {queries_timed} queries, median {1000 * each:.1f} ms)")
    print(f"  one selection, projections cached       {cached:9.3f} s   {whole / cached:.0f}×   (the paper: {PAPER_SECONDS} s on GPUs)")
    print(f"    the same, best of {len(taken)}                     {min(taken):9.3f} s")
    print(f"  projecting all questions, once          {projecting:9.3f} s   first selection {whole / (projecting + cached):.0f}×")
    print(f"  largest difference of predictions       {difference:9.1e}")


def write_maps(folder: Path, rng: np.random.Generator) -> None:
    """float16 maps of 10^6 projections (tiled from 10,000 random rows) and of embeddings whose reference rows are filled."""
    block = rng.standard_normal((10_000, UNITS)).astype(np.float16)
    queries = np.lib.format.open_memmap(folder / "queries.npy", "w+", np.float16, (SIZES[-1], UNITS))
    for start in range(0, SIZES[-1], len(block)):
        queries[start : start + len(block)] = block
    embeddings = np.lib.format.open_memmap(folder / "embeddings.npy", "w+", np.float16, (SIZES[-1], WIDTH))
    rows = np.arange(0, SIZES[0], SIZES[0] // REFERENCES)
    embeddings[rows] = rng.standard_normal((len(rows), WIDTH))


def select(folder: Path, size: int) -> None:
    """Part 2, in a process of its own: one selection, as JSON."""
    rng = np.random.default_rng(1)
    predictor, _ = random_predictor(rng)
    queries = np.load(folder / "queries.npy", mmap_mode="r")[:size]
    embeddings = np.load(folder / "embeddings.npy", mmap_mode="r")[:size]
    predictor.attach(embeddings, queries)
    ids = np.arange(0, SIZES[0], SIZES[0] // REFERENCES)[:REFERENCES]
    rates = rng.integers(0, 9, REFERENCES) / 8
    start, cpu = time.perf_counter(), time.process_time()
    sample_near_target(predictor.predict(ids, rates), SELECTED, rng)
    seconds, cpu = time.perf_counter() - start, time.process_time() - cpu
    print(json.dumps({"seconds": seconds, "cpu": cpu, "peak_gib": peak_gib()}))


def peak_gib() -> float:
    """Peak resident memory of this process, mapped file pages included (getrusage would count the parent's before exec)."""
    status = Path("/proc/self/status")
    if status.is_file():
        return int(next(x for x in status.read_text().splitlines() if x.startswith("VmHWM")).split()[1]) / 2**20
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20


def grow(repeats: int) -> None:
    """Part 2."""
    print(f"one selection of {SELECTED} questions, 256 references, memory-mapped float16 projections {UNITS} wide")
    with tempfile.TemporaryDirectory() as scratch:
        write_maps(Path(scratch), np.random.default_rng(0))
        before = None
        for size in SIZES:
            command = [sys.executable, __file__, "--select", scratch, str(size)]
            found = [json.loads(subprocess.run(command, check=True, capture_output=True, text=True).stdout) for _ in range(repeats)]
            best = min(found, key=lambda f: f["seconds"])
            growth = "" if before is None else f"   {best['cpu'] / before:.1f}× the CPU time for 10× the questions"
            before = best["cpu"]
            seconds, memory = f"{best['seconds']:7.3f} s ({best['cpu']:.3f} s CPU)", f"peak {best['peak_gib']:.2f} GiB resident"
            print(f"  {size:>9,} questions  {seconds}   {memory}{growth}")


def main() -> None:
    """Print both parts."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="12 queries and one repeat instead of 200 and three")
    parser.add_argument("--select", nargs=2, metavar=("FOLDER", "SIZE"), help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.select:
        select(Path(arguments.select[0]), int(arguments.select[1]))
        return
    compare(12 if arguments.quick else 200)
    grow(1 if arguments.quick else 3)


if __name__ == "__main__":
    main()
