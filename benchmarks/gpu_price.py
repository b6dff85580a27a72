"""Measure what a generated token costs in trained tokens on a GPU, by engine and batch: plain GRPO on the real model of the suite smollm2.

    python benchmarks/gpu_price.py [--variants decoder:16 decoder:128 vllm-colocate:128] [-o benchmarks/results/gpu-price.csv]

Run it where ``./models/smollm2-135m-instruct`` is (docs/courses.md). Every variant, ``generation:groups per step``, trains in a process of
its own and alone on the GPU. Its first three steps warm up and are left out. Every group stays in the loss, so every generated token is
trained on once.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

import pandas as pd

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from harness.records.ledger import LEDGER_NAME, LedgerWriter, read_ledger
from harness.records.ledger_records import start_of
from harness.spec import RunSpec
from harness.stats import measured_prices
from harness.suite.suite import find_suite, plan

MODEL = "./models/smollm2-135m-instruct"
WARM_UP_STEPS = 3
#: A run's other accelerator memory is the trainer's: weights, Adam's state, activations and logits.
ENGINE: dict[str, Any] = {"vllm_gpu_memory_utilization": 0.3}


def spec_of(generation: str, groups: int, steps: int) -> RunSpec:
    """GRPO of the suite smollm2 on a GPU, without evaluations in between."""
    from harness.suite.reader import load_suite

    spec = plan(load_suite(find_suite("smollm2")))[0]
    algorithm = {"groups_per_step": groups, "max_steps": steps, "drop_degenerate": False}
    execution = {"device": "cuda", "generation": generation, "micro_batch_rollouts": 256, "gradient_checkpointing": False}
    if generation.startswith("vllm"):
        execution["engine"] = ENGINE
    changed = {
        "algorithm": spec.algorithm.model_copy(update=algorithm),
        "evaluation": spec.evaluation.model_copy(update={"every_steps": steps, "max_questions": 8}),
        "execution": spec.execution.model_copy(update=execution),
    }
    return spec.model_copy(update=changed)


def train(run_dir: Path) -> None:
    """Train the run of a folder in this process."""
    from backends.trl.backend import TrlBackend

    spec = RunSpec.load(run_dir / "spec.json")
    ledger = LedgerWriter(run_dir / LEDGER_NAME)
    ledger.write(start_of(spec))
    TrlBackend().train(spec, run_dir, run_dir / "cache", ledger, None)


def row_of(run_dir: Path) -> dict[str, Any]:
    """Seconds and tokens a step after the warm-up, and the prices that follow from them."""
    spec, log = RunSpec.load(run_dir / "spec.json"), read_ledger(run_dir / LEDGER_NAME)
    start, steps = log.steps[WARM_UP_STEPS - 1], log.steps[WARM_UP_STEPS:]
    seconds = {phase: sum(step.phases[phase] for step in steps) for phase in ("rollout", "log_probs", "update")}
    counted = ("generated_tokens", "forward_tokens", "trained_tokens")
    tokens = {name: float(getattr(log.steps[-1].costs, name) - getattr(start.costs, name)) for name in counted}
    return {
        "engine": spec.execution.generation,
        "precision": spec.algorithm.precision,
        "groups_per_step": spec.algorithm.groups_per_step,
        "steps": len(steps),
        **{f"{phase}_seconds": round(s / len(steps), 4) for phase, s in seconds.items()},
        **{name: round(count / len(steps), 1) for name, count in tokens.items()},
        "price_of_a_generated_token": round(measured_prices(seconds, tokens).generated, 3),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--variants", nargs="+", default=["decoder:16", "decoder:128", "vllm-colocate:16", "vllm-colocate:128"])
    parser.add_argument("--steps", type=int, default=11, help="steps of every variant, the warm-up among them")
    parser.add_argument("-o", "--output", type=Path)
    parser.add_argument("--one", type=Path, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.one:
        train(options.one)
        return
    import torch

    if not torch.cuda.is_available():
        sys.exit("gpu_price: torch sees no GPU here")
    if not Path(MODEL).is_dir():
        sys.exit(f"gpu_price: there is no folder {MODEL}; make it with 'halfway import-model smollm2 {MODEL}'")
    rows = []
    with tempfile.TemporaryDirectory() as folder:
        for number, variant in enumerate(options.variants):
            generation, groups = variant.split(":")
            run_dir = Path(folder) / str(number)
            run_dir.mkdir()
            spec_of(generation, int(groups), options.steps).save(run_dir / "spec.json")
            subprocess.run([sys.executable, __file__, "--one", str(run_dir)], check=True)
            rows.append(row_of(run_dir))
            print(rows[-1], flush=True)
            if options.output:
                pd.DataFrame(rows).to_csv(options.output, index=False, lineterminator="\n")
    print(pd.DataFrame(rows).to_string(index=False))


if __name__ == "__main__":
    main()
