"""Realistic ledgers, written to disk by the real writer, with costs that can be worked out by hand.

A run evaluates every 4 steps. A step of ``pace`` seconds is 10 % select, 40 % rollout, 10 % reward, 10 % log-probs and
30 % update; accuracy climbs along ``ceiling · (1 − exp(−step / time constant))`` unless a list of accuracies is given.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from harness.errors import FailureKind
from harness.records.ledger import LEDGER_NAME, LedgerWriter, RunLog, read_ledger
from harness.records.ledger_records import Attempt, Complete, Failure, OneOff, Provenance, RunStart, Warned
from harness.types import Costs, EvalPoint, StepRecord

EVERY = 4
GROUPS, GROUP_SIZE, TOKENS_PER_ROLLOUT = 8, 8, 10

ENVIRONMENT: dict[str, Any] = {
    "fingerprint": "c0ffee123456",
    "cpu": "Example CPU 3.0 GHz",
    "cores": 2,
    "gpus": [],
    "threads": 1,
    "memory_gib": 8.0,
    "platform": "Linux-6.1-x86_64",
    "python": "3.11.7",
    "versions": {"halfway": "0.1.0", "torch": "2.13.0", "trl": "1.16.0"},
}


def spec(
    combination: str,
    label: str,
    seed: int,
    *,
    oracle: bool = False,
    algorithm: Mapping[str, Any] | None = None,
    backend: str = "trl",
    task: str | None = None,
) -> dict[str, Any]:
    """A resolved run spec as the runner writes it, as far as a report reads it."""
    return {
        "suite": "mini",
        "combination": {
            "name": combination,
            "backend": backend,
            "model": {"name": "embedded:llama-64x2", "revision": None},
            "task": {"name": task or combination, "config": {"seed": 7}},
        },
        "strategy": {"label": label, "name": label, "version": "1", "config": {"alpha": 0.5} if "dots" in label else {},
                     "uncharged_oracle": oracle, "plugin": None},
        "algorithm": {"groups_per_step": GROUPS, "group_size": GROUP_SIZE, "updates_per_batch": 1, "learning_rate": 1e-3,
                      "drop_degenerate": False, **(algorithm or {})},
        "evaluation": {"every_steps": EVERY, "sets": ["test"]},
        "seed": seed,
        "execution": {"device": "cpu", "threads": 1, "processes": 1},
        "target": {"share_of_gain": 0.9, "crossing": "sustained"},
        "budget": {},
    }  # fmt: skip


def write_run(
    folder: Path,
    label: str,
    seed: int,
    *,
    combination: str = "spell-backward",
    steps: int = 48,
    pace: float = 0.5,
    ceiling: float = 0.45,
    constant: float = 14.0,
    accuracies: Sequence[float] | None = None,
    replayed: int = 0,
    correlation: float | None = None,
    oracle: bool = False,
    algorithm: Mapping[str, Any] | None = None,
    environment: Mapping[str, Any] | None = None,
    state: str = "complete",
    failure: str = "the loss is NaN at step 12; lower the learning rate",
    lost_from: int | None = None,
    warnings: Sequence[str] = (),
    one_off: Mapping[str, float] | None = None,
    every: int = EVERY,
    groups: int = GROUPS,
    busy: float = 1.0,
    backend: str = "trl",
    task: str | None = None,
    provenance: Mapping[str, Any] | None = None,
) -> Path:
    """Write one run and return its ledger.

    accuracies: one per evaluation (step 0 first), instead of the climbing curve. lost_from: a first attempt goes on to the
    end and is taken back to this step by a second one. state: ``complete``, ``failed`` or ``unfinished``.
    """
    run_id = f"{combination}-{label}-{seed}".replace("/", "_")
    path = folder / f"{abs(hash_of(run_id)):012x}"[:12] / LEDGER_NAME
    rng = np.random.default_rng(hash_of(run_id))
    writer = LedgerWriter(path)
    settings = spec(combination, label, seed, oracle=oracle, algorithm=algorithm, backend=backend, task=task)
    writer.write(RunStart(path.parent.name, settings))
    for name, seconds in (one_off or {}).items():
        writer.write(OneOff(name, seconds))
    first, second = 0, 0
    for attempt in range(1 if lost_from is None else 2):
        first = 0 if attempt == 0 else int(lost_from or 0)
        second = steps
        if provenance is not None:
            writer.write(Provenance(backend, **provenance))
        writer.write(Attempt(attempt + 1, dict(environment or ENVIRONMENT), first))
        for step in range(first + (attempt > 0), second + 1):
            costs = _costs(step, pace, groups, replayed, oracle)
            costs.cpu_seconds *= busy
            if step:
                writer.write(_step(step, costs, pace, rng, replayed, correlation, oracle, groups))
            if step % every == 0:
                index = step // every
                value = accuracies[index] if accuracies is not None else ceiling * (1 - math.exp(-step / constant)) + 0.08
                writer.write(_evaluation(step, float(value), costs, rng, correlation))
    for message in warnings:
        writer.write(Warned(message))
    if state == "complete":
        writer.write(Complete(steps))
    elif state == "failed":
        writer.write(Failure(FailureKind.NAN, failure))
    writer.close()
    return path


def hash_of(text: str) -> int:
    """A hash that is the same in every process."""
    import zlib

    return zlib.crc32(text.encode("utf-8", "replace"))


def _costs(step: int, pace: float, groups: int, replayed: int, oracle: bool) -> Costs:
    fresh = (groups - replayed) * GROUP_SIZE * step
    return Costs(
        training_seconds=pace * step,
        cpu_seconds=pace * step * 0.95,
        training_steps=step,
        optimizer_steps=step,
        fresh_rollouts=fresh,
        replayed_rollouts=replayed * GROUP_SIZE * step,
        oracle_rollouts=64 * step if oracle else 0,
        generated_tokens=fresh * TOKENS_PER_ROLLOUT,
        trained_tokens=groups * GROUP_SIZE * TOKENS_PER_ROLLOUT * step,
    )


def _step(
    step: int,
    costs: Costs,
    pace: float,
    rng: np.random.Generator,
    replayed: int,
    correlation: float | None,
    oracle: bool,
    groups: int,
) -> StepRecord:
    fresh = groups - replayed
    spread = 0.9 if oracle else 2.5 if correlation is not None else 0.8
    rates = np.round(rng.beta(spread, spread, fresh) * GROUP_SIZE) / GROUP_SIZE
    old = replayed if step > 2 else 0
    return StepRecord(
        step=step,
        question_ids=rng.choice(512, fresh, replace=False).tolist(),
        pass_rates=rates.tolist(),
        replayed_question_ids=rng.choice(512, old, replace=False).tolist(),
        staleness=rng.integers(1, 3, old).tolist(),
        non_degenerate_share=float(((rates > 0) & (rates < 1)).mean()),
        dropped_groups=0,
        updates=1,
        seconds=pace,
        phases={"probe": 0.0, "select": pace * 0.1, "rollout": pace * 0.4, "reward": pace * 0.1, "log_probs": pace * 0.1,
                "replay": 0.0, "update": pace * 0.3},
        costs=costs,
        loss=float(rng.normal(0, 0.1)),
        mean_reward=float(rates.mean()),
        mean_completion_tokens=float(TOKENS_PER_ROLLOUT),
        importance_ratio={"mean": 0.98, "min": 0.2, "max": 1.5 + step / 10, "classes": [1, 4, 20, 50, 20, 4, 1]} if old else {},
        pool_size=512,
    )  # fmt: skip


def _evaluation(step: int, accuracy: float, costs: Costs, rng: np.random.Generator, correlation: float | None) -> EvalPoint:
    diagnostics = {}
    if correlation is not None and step:
        near = float(np.clip(correlation + rng.normal(0, 0.03), -1, 1))
        diagnostics = {"pearson": near, "spearman": near - 0.02, "mae": 0.2, "n": 64.0}
        diagnostics |= {"reliability": [[16, 0.15, 0.2], [32, 0.45, 0.5], [16, 0.85, 0.7]]}
    return EvalPoint(step, accuracy, {"test": accuracy}, 512, costs, diagnostics)


def mini_suite(folder: Path, *, combinations: Sequence[str] = ("spell-backward",)) -> list[Path]:
    """Four strategies, three seeds: one that is faster, one that is not, an upper bound, and what goes wrong in practice.

    ``dots-rr`` learns a third faster at a lower price per step; ``dots`` is a coin toss with one run that failed; the
    oracle's labels are not charged; seed 3 of ``rr`` was cut off once and seed 2 never finished.
    """
    paths = []
    for combination in combinations:
        for seed in (1, 2, 3):
            wobble = 1 + 0.06 * (seed - 2)
            paths += [
                write_run(folder, "grpo", seed, combination=combination, constant=14 * wobble),
                write_run(
                    folder, "dots-rr", seed, combination=combination, constant=10 * wobble, pace=0.46, replayed=4, correlation=0.45,
                    one_off={"predictor training": 41.0, "embedding the pool": 3.5},
                ),
                write_run(
                    folder, "dots", seed, combination=combination, constant=14 + (seed - 2) * 3, pace=0.52, correlation=0.4,
                    steps=12 if seed == 3 else 48, state="failed" if seed == 3 else "complete",
                ),
                write_run(folder, "oracle", seed, combination=combination, constant=9 * wobble, oracle=True),
                write_run(
                    folder, "rr", seed, combination=combination, constant=16 * wobble, pace=0.45, replayed=4,
                    lost_from=20 if seed == 3 else None, steps=24 if seed == 2 else 48,
                    state="unfinished" if seed == 2 else "complete",
                    warnings=("the importance ratio reached 6.3; consider weight_cap",),
                ),
            ]  # fmt: skip
    return paths


def read(paths: Sequence[Path]) -> list[RunLog]:
    """Read ledgers back."""
    return [read_ledger(p) for p in paths]
