"""Measure the bookkeeping of rollout replay (store, draw, pad, collate) as a share of a step.

    python benchmarks/replay.py [--quick]

RR runs through the real trainer. Storing and drawing are timed in the strategy. Passing the batch to TRL (collate) and TRL's padding
treat all rows alike; of these, the share of the replayed rows is counted.
"""

from __future__ import annotations

import argparse
import os
import statistics
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

os.environ.setdefault("OMP_NUM_THREADS", "1")

from backends.common.prepare import prepare
from benchmarks.overhead import CACHE, spec_of
from harness.records.ledger import LedgerWriter, read_ledger
from harness.records.ledger_records import start_of


def timed(function: Callable[..., Any], spent: list[float]) -> Callable[..., Any]:
    """The function, adding its seconds to ``spent``."""

    def wrapper(*args: Any, **kwargs: Any) -> Any:
        started = time.perf_counter()
        try:
            return function(*args, **kwargs)
        finally:
            spent.append(time.perf_counter() - started)

    return wrapper


def shares(steps: int, folder: Path) -> dict[str, float]:
    """Share of the training clock per piece of bookkeeping, in one run."""
    import trl.trainer.grpo_trainer as trl_module

    from backends.trl.run import build_trainer

    spec = spec_of("rr", steps, {"capacity": 256})
    folder.mkdir(parents=True)
    ledger = LedgerWriter(folder / "ledger.jsonl")
    ledger.write(start_of(spec))
    trainer = build_trainer(spec, prepare(spec, CACHE, lambda *_: None), folder / "checkpoints", ledger)
    spent: dict[str, list[float]] = {"draw": [], "store": [], "collate": [], "pad": []}
    replay = trainer.session.run.driver.strategy.replay_part
    replay.replay = timed(replay.replay, spent["draw"])
    replay.observe = timed(replay.observe, spent["store"])
    trainer.rollout_func = timed(trainer.rollout_func, spent["collate"])
    original = trl_module.pad
    trl_module.pad = timed(original, spent["pad"])
    try:
        with trainer.session.engine.scoring():
            trainer.train()
    finally:
        trl_module.pad = original
    log = read_ledger(folder / "ledger.jsonl")
    costs = log.steps[-1].costs
    replayed = costs.replayed_rollouts / (costs.replayed_rollouts + costs.fresh_rollouts)
    weight = {"draw": 1.0, "store": 1.0, "collate": replayed, "pad": replayed}
    return {name: weight[name] * sum(seconds) / costs.training_seconds for name, seconds in spent.items()}


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="3 runs of 16 steps instead of 5 of 48")
    runs, steps = (3, 16) if parser.parse_args().quick else (5, 48)
    with tempfile.TemporaryDirectory() as scratch:
        found = [shares(steps, Path(scratch) / str(run)) for run in range(runs)]
    for name in found[0]:
        print(f"{name:16} {100 * statistics.median(f[name] for f in found):.2f} % of a step")
    added = [f["draw"] + f["store"] for f in found]
    print(f"{'added by replay':16} {100 * statistics.median(added):.2f} % (collate and pad cost the same for fresh rows)")
    totals = [sum(f.values()) for f in found]
    print(f"{'together':16} {100 * statistics.median(totals):.2f} % of a step (median of {runs} runs; max {100 * max(totals):.2f} %)")


if __name__ == "__main__":
    main()
