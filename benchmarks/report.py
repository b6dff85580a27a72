"""Measure time and memory of a report of 10, 100 and 1,000 runs with 100 evaluations and 500 steps each.

Writes ledgers with the project's own writer into a temporary folder (not timed), then reads them and builds the whole page, in a
fresh process per size. Promise: 1,000 runs in at most 15 seconds and 1.5 GiB.

    python -m benchmarks.report            # 10, 100, 1,000 runs
    python -m benchmarks.report --runs 50
"""

from __future__ import annotations

import argparse
import json
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path

STEPS, EVALUATIONS = 500, 100
STRATEGIES = ("grpo", "grpo-drop", "grpo-2-updates", "dots", "rr", "dots-rr", "history", "random-replay", "static", "oracle")
SEEDS = 10
LIMIT_SECONDS, LIMIT_GIB = 15.0, 1.5


def write_ledgers(folder: Path, runs: int) -> None:
    """``runs`` ledgers: combinations × ten strategies × ten seeds."""
    import harness.records.ledger
    from tests.reports.ledgers import write_run

    harness.records.ledger.os.fsync = lambda _: None  # type: ignore[attr-defined]  # only here: the disk is not what is measured
    for index in range(runs):
        strategy = STRATEGIES[index // SEEDS % len(STRATEGIES)]
        write_run(
            folder,
            strategy,
            index % SEEDS,
            combination=f"combination-{index // (SEEDS * len(STRATEGIES))}",
            steps=STEPS,
            every=STEPS // EVALUATIONS,
            groups=32,
            constant=150.0 + 10 * (index % 7),
            replayed=16 if "rr" in strategy else 0,
            correlation=0.4 if "dots" in strategy else None,
        )


def measure(folder: Path) -> dict[str, float]:
    """Read every ledger below ``folder`` and build the page; seconds and peak memory of this process and its workers."""
    from reports.analysis import analyse
    from reports.condensed import condense_ledgers
    from reports.page.build import write_report

    start = time.perf_counter()
    paths = sorted(folder.glob("*/ledger.jsonl"))
    size = sum(p.stat().st_size for p in paths)
    runs = condense_ledgers(paths)
    analysis = analyse(runs, baseline="grpo", target={"share_of_gain": 0.9})
    write_report(analysis, folder / "report", title="Benchmark")
    done = time.perf_counter()
    cpu = sum(u.ru_utime + u.ru_stime for u in map(resource.getrusage, (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)))
    own, workers = (resource.getrusage(w).ru_maxrss / 2**20 for w in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN))
    return {
        "runs": len(paths),
        "ledger_mib": size / 2**20,
        "seconds": done - start,
        "cpu_seconds": cpu,
        "peak_gib": own,
        "peak_gib_of_a_worker": workers,
        "page_mib": (folder / "report" / "index.html").stat().st_size / 2**20,
    }


def main() -> int:
    """Print one line of JSON per size; exit code 1 if 1,000 runs miss the promise."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--runs", type=int, nargs="*", default=[10, 100, 1000])
    parser.add_argument("--measure", type=Path, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.measure is not None:
        print(json.dumps(measure(arguments.measure)))
        return 0
    kept = True
    for runs in arguments.runs:
        with tempfile.TemporaryDirectory(prefix="halfway-report-") as name:
            write_ledgers(Path(name), runs)
            command = [sys.executable, "-m", "benchmarks.report", "--measure", name]
            found = json.loads(subprocess.run(command, check=True, capture_output=True, text=True).stdout)
        print(json.dumps({k: round(v, 3) for k, v in found.items()}), flush=True)
        if runs == 1000:
            kept = found["seconds"] <= LIMIT_SECONDS and found["peak_gib"] + found["peak_gib_of_a_worker"] <= LIMIT_GIB
    return 0 if kept else 1


if __name__ == "__main__":
    raise SystemExit(main())
