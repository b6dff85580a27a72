"""One run on one process: batches, step records, evaluations and checkpoints, the same for every training library.

A backend builds a :class:`RunSession` on the process that holds the ledger and calls it from its trainer's own control flow::

    session.resume(folder)                  # if there is a checkpoint
    session.evaluate(0)                     # before the first step
    batch = session.next_batch()            # once per training step, then the library updates on it
    session.record_step(report)
    session.evaluate(step)                  # if evaluation_due(spec, step)
    session.complete_checkpoint(folder, step)   # after the library has saved into the folder; True ends training
"""

from __future__ import annotations

import math
import time
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from backends.common.evaluator import Evaluator
from backends.common.failures import naming_divergence
from backends.common.rollout_files import keep_rollouts
from harness.errors import FailureKind, RunFailed
from harness.records import checkpoint
from harness.records.activity import ActivityFile
from harness.records.run_folder import RunPaths
from harness.step.driver import Batch, StepDriver, UpdateReport
from harness.types import EvalPoint, QuestionPool

if TYPE_CHECKING:
    from backends.common.prepare import Prepared
    from backends.common.scoring_engine import ScoringEngine
    from harness.records.ledger import LedgerWriter
    from harness.reward.service import RewardService
    from harness.spec import RunSpec
    from harness.strategy import Strategy
    from harness.task import TaskData


@dataclass(slots=True)
class RunSession:
    """The state of a run that does not depend on the training library.

    checkpoints: the folder of the run's checkpoints, beside which kept rollouts are written. batch: the batch of the running
    step, None before the first.
    """

    spec: RunSpec
    engine: ScoringEngine
    driver: StepDriver
    evaluator: Evaluator
    ledger: LedgerWriter
    checkpoints: Path
    batch: Batch | None = field(default=None, init=False)

    # -- one step --------------------------------------------------------------------------------------------------

    def next_batch(self) -> Batch:
        """The groups of the next training step, rolled out, scored and mixed.

        Raises RunFailed where the policy's logits are no longer finite, and for replayed rollouts that cannot be corrected.
        """
        self.engine.policy_version = max(0, self.driver.step - self.spec.algorithm.staleness)
        with naming_divergence():
            self.batch = self.driver.next_batch()
        _check_replayed(self.batch, self.driver.strategy)
        return self.batch

    def record_step(self, report: UpdateReport) -> None:
        """Close the books of the running step on the clock; write its record, and its rollouts if they are kept, off it.

        Raises RunFailed for a loss that is not finite.
        """
        assert self.batch is not None, "no step is running"
        with naming_divergence():
            record = self.driver.finish_step(self.batch, report)
        timeouts, crashes = self._unscored()
        record = replace(record, reward_timeouts=timeouts, reward_crashes=crashes)
        with self.engine.clock.off():
            self.ledger.write(record)
            if self.spec.execution.keep_rollouts:
                keep_rollouts(self.checkpoints.parent / "rollouts", record.step, self.batch.groups, self.engine.questions)

    def evaluate(self, step: int) -> EvalPoint:
        """Accuracy on the evaluation sets and, at every few evaluations, the predictor's quality; off the clock, into the ledger.

        Raises RunFailed where the policy's logits are no longer finite.
        """
        started = time.monotonic()
        with self.engine.clock.off(), naming_divergence():
            activity = ActivityFile(RunPaths(self.checkpoints.parent).activity)
            found = self.evaluator.evaluate(self.engine.decode, step, lambda done, total: activity.say("evaluating", done, total))
            accuracy = self.spec.evaluation.accuracy(found.accuracies)
            quality = self._prediction_quality(step)
            timeouts, crashes = self._unscored()
            point = EvalPoint(
                step, accuracy, found.accuracies, found.num_questions, self.driver.snapshot(), quality, timeouts, crashes, found.right,
                found.completions, round(time.monotonic() - started, 3),
            )  # fmt: skip
            self.ledger.write(point)
        return point

    def _prediction_quality(self, step: int) -> dict[str, Any]:
        evaluation = self.spec.evaluation
        number = math.ceil(step / evaluation.every_steps)  # of this evaluation; the last step has one even off the grid
        if evaluation.diagnostic_questions and number % evaluation.diagnostic_every == 0 and step > 0:
            return self.driver.diagnose(evaluation.diagnostic_questions, self.spec.algorithm.group_size)
        return {}

    def _unscored(self) -> tuple[int, int]:
        """(time-outs, crashes): answers that scored 0 since the last record without having been judged."""
        return self.engine.scorer.take_failures() if self.engine.scorer is not None else (0, 0)

    @property
    def budget_spent(self) -> bool:
        """Whether the finished steps have used up the run's budget: a checkpoint is due, at which training ends."""
        return self.spec.budget.reached(self.driver.costs)

    # -- checkpoints -----------------------------------------------------------------------------------------------

    def complete_checkpoint(self, folder: Path, step: int) -> bool:
        """Add strategy, buffer, costs and clock to the library's checkpoint; only then does it count and may older ones go.

        Returns whether training ends here, short of its last step: the budget is spent, or the run was asked to stop.
        """
        identity = {"run_id": self.spec.run_id, "task": self.engine.task.content_hash}
        checkpoint.save_state(folder, {"driver": self.driver.state_dict(), **identity})
        checkpoint.seal(folder, step)
        checkpoint.prune(self.checkpoints)
        return self.ledger.write_checkpoint(step)

    def resume(self, folder: Path) -> None:
        """Take strategy, buffer, costs and clock from a checkpoint. Raises CheckpointError for another run's or another task's."""
        state = checkpoint.load_state(folder)
        if state["run_id"] != self.spec.run_id:
            raise checkpoint.CheckpointError(
                f"{folder} belongs to run {state['run_id']}, not {self.spec.run_id}; move the run's folder away and run it again"
            )
        if state["task"] != self.engine.task.content_hash:
            raise checkpoint.CheckpointError(
                f"the questions of task {self.spec.combination.task.name!r} have changed since {folder} was written; "
                "install the packages it was written with, or move the run's folder away and run it again"
            )
        self.driver.load_state_dict(state["driver"])


def _check_replayed(batch: Batch, strategy: Strategy) -> None:
    """Refuse replayed rollouts without the log-probs that correct for the policy that sampled them, or without declaring their use.

    The trainers are configured from that declaration: without it they would train on such rollouts as if the present policy had
    sampled them, with a wrong loss and nothing to show for it. The driver has rules of its own; this one must not depend on them.
    """
    declared = "behaviour_log_probs" in strategy.requires
    for group in batch.groups:
        for rollout, replayed in zip(group.trained_rollouts, group.replayed_flags, strict=True):
            if replayed and not (declared and rollout.behaviour_log_probs is not None):
                raise RunFailed(
                    FailureKind.INPUT,
                    f"strategy {strategy.name!r} replays a rollout of question {group.question_id} without behaviour log-probs; "
                    "add 'behaviour_log_probs' to its requires",
                )


def build_session(
    spec: RunSpec,
    strategy: Strategy,
    engine: ScoringEngine,
    prepared: Prepared,
    scorer: RewardService,
    ledger: LedgerWriter,
    checkpoints: Path,
) -> RunSession:
    """The session of a run, with its driver on the training questions of ``engine``."""
    algorithm = spec.algorithm
    driver = StepDriver(
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
    evaluator = _build_evaluator(spec, prepared.task, engine.tokenizer, scorer)
    return RunSession(spec, engine, driver, evaluator, ledger, checkpoints)


def _build_evaluator(spec: RunSpec, task: TaskData, tokenizer: Any, scorer: RewardService) -> Evaluator:
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


def evaluation_due(spec: RunSpec, step: int) -> bool:
    """Whether the policy is evaluated after this training step: before the first, every few, and after the last."""
    return step % spec.evaluation.every_steps == 0 or step == spec.algorithm.max_steps
