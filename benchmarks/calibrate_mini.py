"""Calibrate the combinations of a suite on validation questions: initial difficulty, cost of a step, progress of GRPO.

    python benchmarks/calibrate_mini.py [--suite mini] [--only NAME ...] [--probe] [--seeds 101] [--steps N] [--lr X]

Prints, for each combination, the processor seconds of the warm-up, the initial pass rates on the validation questions (8 rollouts each),
and for one run of the baseline per seed, evaluated on the validation questions: processor seconds per step, the share of rollouts in it,
the share of non-degenerate groups in the first four steps, accuracy at the start, halfway and at the end, and the plateau check at the
suite's target. ``--probe`` stops before the runs. Test questions are not read, and the suite's own seeds are refused.
The numbers behind ``suites/mini.toml`` are in ``docs/mini.md``.
"""

from __future__ import annotations

import argparse
import os
import resource
import tempfile
import time
from pathlib import Path
from typing import Any

os.environ.setdefault("OMP_NUM_THREADS", "1")

import numpy as np

from harness.records.ledger import RunLog
from harness.records.ledger_records import start_of
from harness.spec import RunSpec
from harness.suite.reader import load_suite
from harness.suite.suite import Suite, find_suite, plan

PROBE_ROLLOUTS, PROBE_SEED = 8, 77


def main() -> None:
    """Print one block of lines per combination."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--suite", default="mini")
    parser.add_argument("--only", nargs="*", help="combinations; default: all")
    parser.add_argument("--strategy", help="label of the arm; default: the suite's baseline")
    parser.add_argument("--probe", action="store_true", help="initial pass rates only, no training")
    parser.add_argument("--seeds", type=int, nargs="+", default=[101])
    parser.add_argument("--steps", type=int, help="instead of the suite's max_steps")
    parser.add_argument("--lr", type=float, help="instead of the suite's learning_rate")
    parser.add_argument("--cache", type=Path, default=Path(tempfile.gettempdir()) / "halfway-benchmark-cache")
    arguments = parser.parse_args()
    suite = load_suite(find_suite(arguments.suite))
    if set(arguments.seeds) & set(suite.seeds):
        raise SystemExit(f"seeds {suite.seeds} are the suite's own; calibrate on others")
    change = {k: v for k, v in {"max_steps": arguments.steps, "learning_rate": arguments.lr}.items() if v is not None}
    for name in arguments.only or suite.combinations:
        specs = [_spec(suite, name, arguments.strategy or suite.baseline, seed, change) for seed in arguments.seeds]
        print(f"{name}: {specs[0].combination.model.name}, lr {specs[0].algorithm.learning_rate:g}", flush=True)
        calibrate(specs, arguments.cache, arguments.probe)


def _spec(suite: Suite, combination: str, label: str, seed: int, change: dict[str, Any]) -> RunSpec:
    spec = next(s for s in plan(suite) if s.combination.name == combination and s.strategy.label == label)
    return spec.model_copy(
        update={
            "seed": seed,
            "algorithm": spec.algorithm.model_copy(update=change),
            "evaluation": spec.evaluation.model_copy(update={"sets": ("validation",)}),
        }
    )


def calibrate(specs: list[RunSpec], cache: Path, probe_only: bool) -> None:
    """Measure one combination; ``specs`` differ in their seed."""
    from backends.common.prepare import prepare

    before = processor_seconds()
    prepared = prepare(specs[0], cache, lambda *_: None)
    for cost in prepared.one_off:
        print(f"  {cost.name}: {cost.seconds:.0f} s when it was built {cost.detail}")
    print(f"  prepare: {processor_seconds() - before:.0f} processor seconds now")
    rates, tokens, truncated = start_pass_rates(specs[0], prepared, PROBE_ROLLOUTS, specs[0].algorithm.temperature)
    greedy = start_pass_rates(specs[0], prepared, 1, 0.0)[0].mean()
    counts = np.histogram(rates, bins=[0, 0.01, 0.2, 0.4, 0.6, 0.8, 0.99, 1.01])[0]
    informative = float(((rates > 0) & (rates < 1)).mean())
    print(
        f"  start: mean pass rate {rates.mean():.3f} (greedy {greedy:.3f}), non-degenerate {informative:.2f}, of {len(rates)} questions "
        f"0 | to .2 .4 .6 .8 <1 | 1: {counts.tolist()}; {tokens:.0f} tokens a completion, {truncated:.3f} cut off",
        flush=True,
    )
    if not probe_only:
        report([train(spec, cache) for spec in specs], specs[0])


def start_pass_rates(spec: RunSpec, prepared: Any, rollouts: int, temperature: float) -> tuple[np.ndarray[Any, Any], float, float]:
    """(pass rate per validation question, mean tokens of a completion, share cut off at the limit)."""
    import torch

    from backends.common.completion import decode_text
    from backends.common.decoder import Decoder
    from backends.common.model_loading import load_model
    from backends.common.prompts import encode_prompts
    from harness.reward.service import RewardService

    loaded, task = load_model(prepared.model), prepared.task
    questions = task.split("validation")
    groups = Decoder(loaded.model, loaded.eos_ids, loaded.pad_id, max_rows=2048).generate(
        encode_prompts(loaded.tokenizer, task, questions),
        rollouts,
        max_new_tokens=spec.algorithm.max_completion_tokens,
        temperature=temperature,
        top_p=spec.algorithm.top_p,
        generator=torch.Generator().manual_seed(PROBE_SEED),
    )
    done = [(q, c) for q, group in zip(questions, groups, strict=True) for c in group]
    with RewardService(task.reward, workers=1) as scorer:
        rewards = scorer.score([(decode_text(loaded.tokenizer, c.token_ids), q.answer, task.scoring_metadata(q)) for q, c in done])
    tokens = float(np.mean([len(c.token_ids) for _, c in done]))
    return rewards.reshape(len(questions), -1).mean(axis=1), tokens, float(np.mean([c.truncated for _, c in done]))


def train(spec: RunSpec, cache: Path) -> tuple[RunLog, float]:
    """(ledger of a complete run, its processor seconds including preparation, evaluations and reward workers)."""
    from backends.trl.backend import TrlBackend
    from harness.records.ledger import LedgerWriter, read_ledger

    with tempfile.TemporaryDirectory() as folder:
        before, backend = processor_seconds(), TrlBackend()
        ledger = LedgerWriter(Path(folder) / "ledger.jsonl")
        ledger.write(start_of(spec))
        backend.prepare(spec, cache, lambda *_: None)
        backend.train(spec, Path(folder), cache, ledger, None)
        ledger.close()
        return read_ledger(Path(folder) / "ledger.jsonl"), processor_seconds() - before


def report(runs: list[tuple[RunLog, float]], spec: RunSpec) -> None:
    """Print the results of the runs."""
    from harness.records.curves import curve_of
    from harness.stats.target import check_plateau, parse_target, resolve_target

    for log, seconds in runs:
        phases = {k: sum(s.phases[k] for s in log.steps) for k in log.steps[0].phases}
        total = sum(phases.values())
        shares = ", ".join(f"{k} {v / total:.2f}" for k, v in phases.items() if v / total >= 0.005)
        start = float(np.mean([s.non_degenerate_share for s in log.steps[:4]]))
        end = float(np.mean([s.non_degenerate_share for s in log.steps[-8:]]))
        accuracy = [e.accuracy for e in log.evaluations]
        step = log.steps[-1].costs.cpu_seconds / len(log.steps)
        print(
            f"  run {log.spec['seed']}: {seconds:.0f} processor seconds in all, {step:.2f} a step ({shares}); non-degenerate {start:.2f} "
            f"in steps 1-4, {end:.2f} in the last 8; {np.mean([s.mean_completion_tokens for s in log.steps]):.0f} tokens a completion\n"
            f"    accuracy {' '.join(f'{a:.3f}' for a in accuracy)}",
            flush=True,
        )
    curves = [curve_of(log) for log, _ in runs]
    target = resolve_target(parse_target(spec.target.model_dump()), curves)
    plateau = check_plateau(curves, target.accuracy, cost="training_steps", assumed_deviation=0.02)
    verdict = "no target or not reached" if plateau is None else f"shift {plateau.shift:.2f}{' FLAGGED' if plateau.flagged else ''}"
    print(f"  target {target.accuracy} from {target.start} to {target.final}; plateau check: {verdict}", flush=True)


def processor_seconds() -> float:
    """Processor time of this process and its finished children."""
    children = resource.getrusage(resource.RUSAGE_CHILDREN)
    return time.process_time() + children.ru_utime + children.ru_stime


if __name__ == "__main__":
    main()
