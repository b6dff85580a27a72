"""Measure Halfway's GRPO on verl against verl's own trainer: same model, questions, random numbers, configuration and decoder.

    python benchmarks/verl_overhead.py [--steps 12] [--pairs 1]

In the verl environment. First Halfway trains and notes its requests; then verl's own trainer, replay buffer (polling as often) and reward
loop train on the same ones. Both are read off verl's own timer ``timing_s/step``; processor seconds are those of all processes of
a run together, which a busy machine does not stretch. Ratios are of medians over steps, without the first two.
"""

from __future__ import annotations

import argparse
import os
import statistics
import sys
import tempfile
from pathlib import Path
from typing import Any

os.environ.setdefault("OMP_NUM_THREADS", "1")
os.environ.update(VERL_PLATFORM="cpu", VERL_USE_EXTERNAL_MODULES="backends.verl.cpu.plugin", RAY_USAGE_STATS_ENABLED="0")
sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from harness.registry import strategy_entry
from harness.spec import AlgorithmSpec, CombinationSpec, EvaluationSpec, ExecutionSpec, ModelSpec, RunSpec, StrategySpec, TaskSpec

CACHE = Path(tempfile.gettempdir()) / "halfway-benchmark-cache"
WARM_UP_STEPS = 2


def spec_of(steps: int) -> RunSpec:
    """Plain GRPO, 32 groups of 8, no evaluation in between."""
    entry = strategy_entry("grpo")
    return RunSpec(
        suite="benchmark",
        combination=CombinationSpec(
            name="spell-backward", backend="verl", model=ModelSpec(name="embedded:llama-64x2"), task=TaskSpec(name="spell-backward")
        ),
        strategy=StrategySpec(label="grpo", name="grpo", version=entry.version, config=entry.resolve_config({})),
        algorithm=AlgorithmSpec(max_steps=steps, max_completion_tokens=12),
        evaluation=EvaluationSpec(every_steps=10_000, diagnostic_questions=0, max_questions=16),
        seed=1,
        execution=ExecutionSpec(threads=1, checkpoint_every_steps=10_000),
    )


def processor_seconds() -> float:
    """Of this process and everything below it: Ray, the actors, the reward's workers."""
    import psutil

    total = 0.0
    for process in (psutil.Process(), *psutil.Process().children(recursive=True)):
        try:
            times = process.cpu_times()
        except psutil.NoSuchProcess:
            continue
        total += times.user + times.system
    return total


def meter(original: Any, cpu: list[float]) -> Any:
    """A trainer's ``step`` that notes the processor seconds of everything at its start."""

    def metered(self: Any, *args: Any, **kwargs: Any) -> Any:
        cpu.append(processor_seconds())
        return original(self, *args, **kwargs)

    return metered


def pair(steps: int, folder: Path) -> tuple[float, float]:
    """(wall, processor) ratio of one pair."""
    from verl.trainer.ppo.v1.trainer_sync import PPOTrainerSync

    from backends.common.prepare import prepare
    from backends.verl.rollout_engine import VerlRolloutEngine
    from backends.verl.trainer import HalfwayTrainer
    from tests.backends.verl.recording import patched, record
    from tests.backends.verl.stock import noted_requests, train_stock

    spec = spec_of(steps)
    prepared = prepare(spec, CACHE, lambda *_: None)
    sent: list[dict[str, Any]] = []
    timings: list[dict[str, float]] = []
    ours_cpu: list[float] = []
    theirs_cpu: list[float] = []

    def timed(original: Any) -> Any:
        def step(self: Any, metrics: Any, timing_raw: Any) -> Any:
            timings.append(timing_raw)
            return original(self, metrics, timing_raw)

        return meter(step, ours_cpu)

    with patched(VerlRolloutEngine, "_submit", noted_requests(prepared, sent)), patched(HalfwayTrainer, "step", timed):
        record(spec, folder / "ours", CACHE, watch=False)
    with patched(PPOTrainerSync, "step", lambda original: meter(original, theirs_cpu)):
        _, stock = train_stock(spec, prepared, sent, folder / "stock", watch=False)
    wall = [statistics.median(t["step"] for t in found[WARM_UP_STEPS:]) for found in (timings, stock)]
    cpu = [
        statistics.median(b - a for a, b in zip(c[WARM_UP_STEPS:-1], c[WARM_UP_STEPS + 1 :], strict=True)) for c in (ours_cpu, theirs_cpu)
    ]
    print(f"  step, wall: ours {wall[0]:.3f} s, stock {wall[1]:.3f} s; processor: ours {cpu[0]:.3f} s, stock {cpu[1]:.3f} s", flush=True)
    return wall[0] / wall[1], cpu[0] / cpu[1]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--steps", type=int, default=12)
    parser.add_argument("--pairs", type=int, default=1)
    arguments = parser.parse_args()
    ratios = []
    for _ in range(arguments.pairs):
        with tempfile.TemporaryDirectory() as folder:
            ratios.append(pair(arguments.steps, Path(folder)))
    for name, found in zip(("wall", "processor"), zip(*ratios, strict=True), strict=True):
        pairs = ", ".join(f"{ratio:.3f}" for ratio in found)
        print(f"{name} time of a step, ours over stock: median {statistics.median(found):.3f} of {len(found)} pairs ({pairs})")


if __name__ == "__main__":
    main()
