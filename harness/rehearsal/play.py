"""One rehearsal: a strategy plays one seed against a recording, and what its batches were like is measured at every step."""

from __future__ import annotations

import time
from dataclasses import dataclass

import numpy as np

from harness.numerics.prediction_quality import diagnostics
from harness.rehearsal.engine import Draws, RecordedEngine
from harness.rehearsal.recording import Recording
from harness.step.clock import Clock
from harness.step.driver import Batch, StepDriver, UpdateReport
from harness.strategy import Strategy
from harness.types import FloatArray, IntArray, PromptGroup, QuestionPool

#: Draws that fall on so many questions are called concentrated; 50 of 1,000 is where a published run had 54 % of them.
MOST_DRAWN = 50
#: Steps between two looks at the strategy's predictions of the whole pool (at most so many questions of it).
PREDICTION_EVERY, PREDICTION_QUESTIONS = 5, 2_000

PER_STEP = (
    "informative", "fresh_informative", "variance", "fresh_rollouts", "probe_rollouts", "filtered_rollouts", "replayed_rollouts",
    "coverage", "seconds", "pearson", "spearman", "calibration_error",
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class Conditions:
    """What is the same for every strategy.

    steps: training steps, spread over a trajectory. groups_per_step: B. group_size: G. window: evaluations averaged for the true rate.
    """

    steps: int = 100
    groups_per_step: int = 64
    group_size: int = 8
    draws: Draws = "binomial"
    window: int = 5


@dataclass(frozen=True, slots=True)
class Outcome:
    """One strategy on one seed.

    columns: shape (steps,) per name of ``PER_STEP``, NaN where a strategy predicts nothing. concentration: share of the fresh draws on
    the 50 most drawn questions. wasted: generated rollouts per rollout of an informative group that was trained on.
    """

    columns: dict[str, FloatArray]
    concentration: float
    wasted: float


def play(
    recording: Recording,
    strategy: Strategy,
    seed: int,
    conditions: Conditions,
    embeddings: FloatArray,
    predictor: str | None = None,
) -> Outcome:
    """Play one strategy; seed s meets the recorded policy s mod T where the policies are unrelated."""
    clock = Clock(cpu=time.perf_counter)  # processor time is not reported, and asking for it is a system call
    engine = RecordedEngine(
        recording, clock, embeddings, steps=conditions.steps, policy=seed % recording.rates.shape[1],
        draws=conditions.draws, window=conditions.window,
    )  # fmt: skip
    driver = StepDriver(
        strategy, engine, QuestionPool(recording.pool()), clock, seed=seed, groups_per_step=conditions.groups_per_step,
        group_size=conditions.group_size, predictor=predictor,
    )  # fmt: skip
    columns = {name: np.full(conditions.steps, np.nan) for name in PER_STEP}
    drawn = np.zeros(len(recording), dtype=np.int64)
    useful = 0
    clock.start()
    for step in range(conditions.steps):
        engine.policy_version = step
        before = driver.snapshot()
        batch = driver.next_batch()
        record = driver.finish_step(batch, UpdateReport(updates=1, loss=0.0, trained_tokens=sum(g.num_tokens for g in batch.groups)))
        np.add.at(drawn, [g.question_id for g in batch.fresh], 1)
        useful += sum(len(g.trained_rollouts) for g in batch.groups if not g.is_degenerate)
        measured = _batch(batch)
        measured["coverage"] = float((drawn > 0).mean())
        measured["seconds"] = record.phases["select"] + record.phases["replay"]
        for kind in ("fresh_rollouts", "probe_rollouts", "filtered_rollouts", "replayed_rollouts"):
            measured[kind] = getattr(record.costs, kind) - getattr(before, kind)
        if step % PREDICTION_EVERY == 0:
            measured |= _predictions(driver, engine.true_rates)
        for name, value in measured.items():
            columns[name][step] = value
    clock.stop()
    generated = sum(columns[k].sum() for k in ("fresh_rollouts", "probe_rollouts", "filtered_rollouts"))
    return Outcome(columns, concentration(drawn), float(generated / useful) if useful else float("inf"))


def concentration(draws: IntArray) -> float:
    """Share of all draws that fell on the ``MOST_DRAWN`` questions drawn most. draws: number of draws per question, shape (n,)."""
    return float(np.sort(draws)[::-1][:MOST_DRAWN].sum() / max(1, draws.sum()))


def _batch(batch: Batch) -> dict[str, float]:
    trained = batch.groups
    fresh = [g for g in trained if g.source != "replayed"]
    return {
        "informative": float(np.mean([not g.is_degenerate for g in trained])),
        "fresh_informative": float(np.mean([not g.is_degenerate for g in fresh])) if fresh else float("nan"),
        "variance": float(np.mean([_variance(g) for g in trained])),
    }


def _variance(group: PromptGroup) -> float:
    """Reward variance of a group of right and wrong answers."""
    rate = sum(r.reward for r in group.rollouts) / group.size
    return rate * (1 - rate)


def _predictions(driver: StepDriver, true: FloatArray) -> dict[str, float]:
    """Correlation of predicted with true rates, and the expected calibration error over ten bins; nothing where nothing is predicted."""
    ids = np.arange(len(true))
    if len(ids) > PREDICTION_QUESTIONS:
        ids = np.random.default_rng([driver.seed, 0x70726564]).choice(len(ids), PREDICTION_QUESTIONS, replace=False)
    predicted = driver.strategy.predict(ids, driver.context("predict"))
    if predicted is None:
        return {}
    found = diagnostics(np.asarray(predicted, dtype=np.float64), true[ids])
    error = sum(count * abs(mean - observed) for count, mean, observed in found["reliability"]) / len(ids)
    return {"calibration_error": error, **{name: found[name] for name in ("pearson", "spearman") if name in found}}
