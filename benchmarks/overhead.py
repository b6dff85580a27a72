"""Measure Halfway's GRPO against a bare ``GRPOTrainer`` with the same decoder, settings and seed: seconds and accuracy.

    python benchmarks/overhead.py [--quick]

Both train the same model on the same questions; the bare loop is TRL alone, with a ``rollout_func`` that calls the decoder and
a reward function that compares strings. Pairs alternate which goes first; the ratio is the median over pairs.
"""

from __future__ import annotations

import argparse
import os
import statistics
import tempfile
import time
from pathlib import Path
from typing import Any

os.environ.setdefault("OMP_NUM_THREADS", "1")

from backends.common.prepare import Prepared, prepare
from harness.records.ledger import LedgerWriter
from harness.records.ledger_records import start_of
from harness.registry import strategy_entry
from harness.spec import AlgorithmSpec, CombinationSpec, EvaluationSpec, ExecutionSpec, ModelSpec, RunSpec, StrategySpec, TaskSpec

CACHE = Path(tempfile.gettempdir()) / "halfway-benchmark-cache"


def spec_of(strategy: str, steps: int, config: dict[str, Any] | None = None, **algorithm: Any) -> RunSpec:
    """The quick suite's combination, without evaluations in between."""
    entry = strategy_entry(strategy)
    return RunSpec(
        suite="benchmark",
        combination=CombinationSpec(
            name="spell-backward", backend="trl", model=ModelSpec(name="embedded:llama-64x2"), task=TaskSpec(name="spell-backward")
        ),
        strategy=StrategySpec(label=strategy, name=strategy, version=entry.version, config=entry.resolve_config(config or {})),
        algorithm=AlgorithmSpec(max_steps=steps, **algorithm),
        evaluation=EvaluationSpec(every_steps=10_000, diagnostic_questions=0),
        seed=1,
        execution=ExecutionSpec(threads=1, checkpoint_every_steps=10_000),
    )


def bare_trainer(spec: RunSpec, prepared: Prepared, output: Path) -> Any:
    """TRL alone: the same configuration, dataset and decoder, no class of Halfway's around the trainer."""
    import torch
    from transformers import PrinterCallback
    from trl import GRPOTrainer

    from backends.common.decoder import Decoder
    from backends.common.model_loading import load_model
    from backends.common.prompts import encode_prompts
    from backends.trl.config import grpo_config
    from backends.trl.dataset import run_order_dataset
    from backends.trl.rollout_engine import stream_generator

    loaded = load_model(prepared.model)
    pool = prepared.task.split("train")
    answers = {q.prompt: q.answer for q in pool}
    token_ids = dict(zip((q.prompt for q in pool), encode_prompts(loaded.tokenizer, prepared.task, pool), strict=True))
    decoder = Decoder(loaded.model, loaded.eos_ids, loaded.pad_id)
    algorithm = spec.algorithm

    def roll_out(prompts: list[str], trainer: Any) -> dict[str, Any]:
        questions = prompts[:: algorithm.group_size]
        groups = decoder.generate(
            [token_ids[p] for p in questions],
            algorithm.group_size,
            max_new_tokens=algorithm.max_completion_tokens,
            temperature=algorithm.temperature,
            top_p=algorithm.top_p,
            generator=stream_generator([spec.seed, 2, trainer.state.global_step // algorithm.updates_per_batch, 1]),
        )
        completions = [c for group in groups for c in group]
        return {
            "prompt_ids": [token_ids[p] for p in prompts],
            "completion_ids": [c.token_ids.tolist() for c in completions],
            "logprobs": [c.log_probs.tolist() for c in completions],
        }

    def exact(prompts: list[str], completions: list[str], **_: Any) -> list[float]:
        return [float(c.strip() == answers[p].strip()) for p, c in zip(prompts, completions, strict=True)]

    torch.set_num_threads(spec.execution.threads)
    trainer = GRPOTrainer(
        model=loaded.model,
        reward_funcs=exact,
        args=grpo_config(spec, output, 1, use_cpu=True),
        train_dataset=run_order_dataset(prepared.task, spec),
        processing_class=loaded.tokenizer,
        rollout_func=roll_out,
    )
    trainer.remove_callback(PrinterCallback)
    return trainer


def train_bare(spec: RunSpec, prepared: Prepared, folder: Path) -> tuple[tuple[float, float], Any]:
    """(wall, processor) seconds of ``trainer.train()`` without its first step (warm-up), and the model."""
    trainer = bare_trainer(spec, prepared, folder)
    return _timed(trainer), trainer.model


def train_halfway(spec: RunSpec, prepared: Prepared, folder: Path) -> tuple[tuple[float, float], Any]:
    """The same through Halfway: the whole ``train()`` call, not only what its clock counts."""
    from backends.trl.run import build_trainer

    folder.mkdir(parents=True)
    ledger = LedgerWriter(folder / "ledger.jsonl")
    ledger.write(start_of(spec))
    trainer = build_trainer(spec, prepared, folder / "checkpoints", ledger)
    trainer.session.evaluate = lambda _: None  # type: ignore[method-assign]
    with trainer.session.engine.scoring():
        return _timed(trainer), trainer.model


def _timed(trainer: Any) -> tuple[float, float]:
    from transformers import TrainerCallback

    class FirstStep(TrainerCallback):  # type: ignore[misc]
        def __init__(self) -> None:
            self.ends: list[tuple[float, float]] = []

        def on_step_end(self, *_: Any, **__: Any) -> None:
            self.ends.append((time.perf_counter(), time.process_time()))

    stamps = FirstStep()
    trainer.add_callback(stamps)
    trainer.train()
    return stamps.ends[-1][0] - stamps.ends[0][0], stamps.ends[-1][1] - stamps.ends[0][1]


def accuracy(model: Any, prepared: Prepared) -> float:
    """Sampled accuracy on the test words, under fixed random numbers."""
    from backends.common.decoder import Decoder
    from backends.common.evaluator import Evaluator
    from backends.common.model_loading import load_model
    from harness.reward.service import RewardService

    loaded = load_model(prepared.model)
    with RewardService(prepared.task.reward, workers=1) as scorer:
        evaluator = Evaluator(prepared.task, loaded.tokenizer, scorer.score, max_new_tokens=16, seed=0)
        return evaluator.evaluate(Decoder(model, loaded.eos_ids, loaded.pad_id).generate, 0)[0]["test"]


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="5 pairs of 20 steps instead of 9 pairs of 48")
    arguments = parser.parse_args()
    pairs, steps = (5, 20) if arguments.quick else (9, 48)
    spec = spec_of("grpo", steps)
    prepared = prepare(spec, CACHE, lambda *_: None)
    ratios: list[tuple[float, float]] = []
    with tempfile.TemporaryDirectory() as scratch:
        train_bare(spec_of("grpo", 3), prepared, Path(scratch) / "warm-up")
        for pair in range(pairs):
            order = [("halfway", train_halfway), ("bare", train_bare)]
            done = {name: run(spec, prepared, Path(scratch) / f"{name}{pair}") for name, run in (order if pair % 2 else order[::-1])}
            (wall, cpu), (bare_wall, bare_cpu) = done["halfway"][0], done["bare"][0]
            ratios.append((wall / bare_wall, cpu / bare_cpu))
            accuracies = {name: accuracy(model, prepared) for name, (_, model) in done.items()}
            print(
                f"pair {pair + 1}/{pairs}: wall {wall:.2f} / {bare_wall:.2f} s = {ratios[-1][0]:.3f}, "
                f"processor {cpu:.2f} / {bare_cpu:.2f} s = {ratios[-1][1]:.3f}; "
                f"accuracy {accuracies['halfway']!r} and {accuracies['bare']!r}"
            )
            if accuracies["halfway"] != accuracies["bare"]:
                raise SystemExit("the two trainers ended at different accuracies: switched off, Halfway must change nothing")
    for which, column in (("wall", 0), ("processor", 1)):
        values = [r[column] for r in ratios]
        spread = f"(min {min(values):.3f}, max {max(values):.3f})"
        print(f"{which} time, halfway / bare GRPOTrainer: median {statistics.median(values):.3f} {spread}")


if __name__ == "__main__":
    main()
