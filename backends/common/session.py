"""What every engine's session does the same way: its driver and evaluator, the predictor's checks, its part of a checkpoint."""

from __future__ import annotations

import math
from pathlib import Path
from typing import TYPE_CHECKING, Any

from backends.common.evaluator import Evaluator
from harness import checkpoint
from harness.driver import Batch, StepDriver, UpdateReport
from harness.types import QuestionPool, StepRecord

if TYPE_CHECKING:
    from backends.common.engine import ScoringEngine
    from backends.common.prepare import Prepared
    from harness.reward.service import RewardService
    from harness.spec import RunSpec
    from harness.strategy import Strategy
    from harness.task import TaskData


def build_driver(spec: RunSpec, strategy: Strategy, engine: ScoringEngine, prepared: Prepared) -> StepDriver:
    """The driver of a run, on the training questions of its engine."""
    algorithm = spec.algorithm
    return StepDriver(
        strategy,
        engine,
        QuestionPool(engine.questions),
        engine.clock,
        seed=spec.seed,
        groups_per_step=algorithm.groups_per_step,
        group_size=algorithm.group_size,
        max_refills=algorithm.max_refills,
        predictor=prepared.predictor,
    )


def build_evaluator(spec: RunSpec, task: TaskData, tokenizer: Any, scorer: RewardService) -> Evaluator:
    """The evaluator of a run; what the evaluation does not set is as in training."""
    algorithm, evaluation = spec.algorithm, spec.evaluation
    return Evaluator(
        task,
        tokenizer,
        scorer.score,
        sets=evaluation.all_sets,
        samples_per_question=evaluation.samples_per_question,
        temperature=algorithm.temperature if evaluation.temperature is None else evaluation.temperature,
        top_p=algorithm.top_p if evaluation.top_p is None else evaluation.top_p,
        max_new_tokens=algorithm.max_completion_tokens,
        max_questions=evaluation.max_questions,
        seed=spec.seed,
    )


def close_step(driver: StepDriver, batch: Batch, report: UpdateReport, scorer: RewardService | None) -> StepRecord:
    """The record of a step, with the answers that could not be scored since the step before (evaluations included)."""
    record = driver.finish_step(batch, report)
    if scorer is not None:
        record.reward_timeouts, record.reward_crashes = scorer.take_failures()
    return record


def diagnose(spec: RunSpec, driver: StepDriver, step: int) -> dict[str, Any]:
    """The predictor's quality at this evaluation; empty at those that do not check it."""
    evaluation = spec.evaluation
    number = math.ceil(step / evaluation.every_steps)  # of this evaluation; the last step has one even off the grid
    if evaluation.diagnostic_questions and number % evaluation.diagnostic_every == 0 and step > 0:
        return driver.diagnose(evaluation.diagnostic_questions, spec.algorithm.group_size)
    return {}


def save_driver(folder: Path, spec: RunSpec, driver: StepDriver, task: TaskData) -> None:
    """Write strategy, buffer, costs and clock beside the engine's own checkpoint, with whose they are."""
    checkpoint.save_state(folder, {"driver": driver.state_dict(), "run_id": spec.run_id, "task": task.content_hash})


def resume_driver(folder: Path, spec: RunSpec, driver: StepDriver, task: TaskData) -> None:
    """Take them back. Raises CheckpointError for another run's or another task's."""
    state = checkpoint.load_state(folder)
    if state["run_id"] != spec.run_id:
        raise checkpoint.CheckpointError(
            f"{folder} belongs to run {state['run_id']}, not {spec.run_id}; move the run's folder away and run it again"
        )
    if state["task"] != task.content_hash:
        raise checkpoint.CheckpointError(
            f"the questions of task {spec.combination.task.name!r} have changed since {folder} was written; "
            "install the packages it was written with, or move the run's folder away and run it again"
        )
    driver.load_state_dict(state["driver"])
