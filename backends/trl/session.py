"""Where TRL's trainer meets a run: on every rank, with the :class:`~backends.common.run_session.RunSession` on rank 0 alone."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Protocol

from transformers import TrainerCallback

from backends.common.failures import naming_full_disk
from backends.common.run_session import RunSession, evaluation_due
from backends.trl.books import StepBooks
from backends.trl.older_weights import OlderWeights
from backends.trl.rollout_engine import GenerationTrainer, TrlRolloutEngine
from harness.spec import RunSpec
from harness.step.clock import Clock
from harness.strategy import Correction
from harness.types import PromptGroup


class SessionTrainer(GenerationTrainer, Protocol):
    """What the session needs of the trainer."""

    args: Any
    state: Any
    control: Any
    callback_handler: Any
    books: StepBooks


class TrlSession:
    """What the trainer's overrides and the callback ask for, on any rank.

    run: the run on rank 0; on other ranks None, where the session follows what rank 0 does. correction: how replayed
    rollouts enter the loss.
    """

    def __init__(self, spec: RunSpec, engine: TrlRolloutEngine, run: RunSession | None, correction: Correction) -> None:
        self.spec, self.engine, self.run, self.correction = spec, engine, run, correction
        self.clock: Clock = engine.clock
        self.trainer: SessionTrainer

    def attach(self, trainer: SessionTrainer) -> None:
        """The trainer of this rank; call it before training."""
        self.trainer = trainer
        self.engine.attach(trainer)
        self.older = OlderWeights(trainer.accelerator.unwrap_model(trainer.model), self.spec.algorithm.staleness)

    @property
    def updates(self) -> int:
        """Optimizer steps per training step."""
        return self.spec.algorithm.updates_per_batch

    def prompt(self, question_id: int) -> str:
        """The prompt of a training question, as TRL's rows carry it."""
        return self.engine.questions[question_id].prompt

    # -- one step --------------------------------------------------------------------------------------------------

    def next_groups(self) -> list[PromptGroup] | None:
        """This rank's whole groups of the next batch; None outside of training.

        Raises RunFailed for a run that cannot go on; on ranks other than 0 also where rank 0 has failed.
        """
        if not self.trainer.model.training:
            return None
        with self.older.in_the_model():
            groups = self._sampled_groups()
        with self.clock.phase("rollout"):
            self.older.remember()
        with self.clock.phase("replay"):
            return self.engine.hand_out(groups)

    def _sampled_groups(self) -> list[PromptGroup] | None:
        """All groups of the next batch on rank 0; None on the others, which have taken part in sampling them."""
        if self.run is None:
            self.engine.follow()
            return None
        with self._followers_released_on_failure():
            batch = self.run.next_batch()
        with self.clock.phase("replay"):
            self.engine.release()
        return batch.groups

    @contextmanager
    def _followers_released_on_failure(self) -> Iterator[None]:
        """Around what rank 0 does while the others follow: if it fails, they stop too instead of waiting forever."""
        try:
            yield
        except BaseException as error:
            self.engine.abort(f"{type(error).__name__}: {error}")
            raise

    def end_step(self) -> bool:
        """After the last update of a batch, on all ranks: write the step, evaluate if it is time.

        Returns, alike on all ranks, whether the budget is spent, so that a checkpoint is due now.
        """
        books = self.trainer.books.of_all_ranks(self.trainer.accelerator.num_processes)
        if self.run is not None:
            self.run.record_step(books.report(self.updates, self.spec.algorithm.group_size))
        self.trainer.books = StepBooks()
        step = self.trainer.state.global_step // self.updates
        if evaluation_due(self.spec, step):
            self.evaluate(step)
        return self.engine.from_rank_zero(self.run is not None and self.run.budget_spent)

    def evaluate(self, step: int) -> None:
        """Evaluate after a training step, on all ranks; off the clock."""
        with self.clock.off():
            if self.run is None:
                self.engine.follow()
                return
            with self._followers_released_on_failure():
                point = self.run.evaluate(step)
            self.engine.release()
            if self.spec.execution.trackers:
                self._track({"eval_accuracy": point.accuracy, **{f"eval_accuracy_{name}": a for name, a in point.accuracies.items()}})

    def _track(self, values: dict[str, float]) -> None:
        """Hand values to the trackers alone: the trainer's own ``log`` would also flush its averages of the step."""
        trainer = self.trainer
        wanted = trainer.control.should_log
        trainer.callback_handler.on_log(trainer.args, trainer.state, trainer.control, values)
        trainer.control.should_log = wanted  # the handler takes it for the trainer's own log of this step

    # -- checkpoints ---------------------------------------------------------------------------------------------

    def complete_checkpoint(self, global_step: int) -> bool:
        """After TRL has saved on all ranks: complete its checkpoint of this optimizer step with ours.

        Returns, alike on all ranks, whether training ends here; see :meth:`RunSession.complete_checkpoint`.
        """
        self.trainer.accelerator.wait_for_everyone()
        ends = False
        if self.run is not None:
            folder = Path(self.trainer.args.output_dir) / f"checkpoint-{global_step}"
            with naming_full_disk(folder):
                self.older.save(folder)
            ends = self.run.complete_checkpoint(folder, global_step // self.updates)
        return self.engine.from_rank_zero(ends)

    def resume(self, folder: Path) -> None:
        """Take the run's state and older weights from a checkpoint; TRL takes the model's itself.

        Raises CheckpointError for another run's.
        """
        if self.run is not None:
            self.run.resume(folder)
        self.older.load(folder)


class SessionCallback(TrainerCallback):  # type: ignore[misc]
    """Where the trainer's loop meets the session."""

    def __init__(self, session: TrlSession) -> None:
        self.session = session

    def on_train_begin(self, args: Any, state: Any, control: Any, **_: Any) -> None:
        if state.global_step == 0:
            self.session.evaluate(0)

    def on_step_begin(self, args: Any, state: Any, control: Any, **_: Any) -> None:
        self.session.clock.start()  # here, not before: a resumed run first skips the batches it has seen

    def on_step_end(self, args: Any, state: Any, control: Any, **_: Any) -> None:
        if state.global_step % self.session.updates == 0 and self.session.end_step():
            control.should_save = True

    def on_train_end(self, args: Any, state: Any, control: Any, **_: Any) -> None:
        self.session.clock.stop()
