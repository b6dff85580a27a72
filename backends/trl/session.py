"""One run of one strategy inside a ``GRPOTrainer``: batches, books, evaluation, checkpoints."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from transformers import TrainerCallback

from backends.common.rollout_files import keep_rollouts
from backends.common.session import close_step, diagnose, resume_driver, save_driver
from backends.trl.engine import TrlEngine
from backends.trl.loss import RatioStatistics
from harness import checkpoint
from harness.clock import Clock
from harness.driver import Batch, StepDriver, UpdateReport
from harness.errors import RunFailed
from harness.ledger import LedgerWriter
from harness.spec import RunSpec
from harness.strategy import Correction
from harness.types import EvalPoint, PromptGroup

if TYPE_CHECKING:
    from backends.common.evaluator import Evaluator
    from backends.trl.trainer import HalfwayGRPOTrainer


class Session:
    """What rank 0 knows; on other ranks ``driver``, ``ledger`` and ``evaluator`` are None and the session follows."""

    def __init__(
        self,
        spec: RunSpec,
        engine: TrlEngine,
        driver: StepDriver | None,
        ledger: LedgerWriter | None,
        evaluator: Evaluator | None,
        correction: Correction,
    ) -> None:
        self.spec, self.engine, self.driver, self.ledger, self.evaluator = spec, engine, driver, ledger, evaluator
        self.correction = correction
        self.clock: Clock = engine.clock
        self.drop_degenerate = spec.algorithm.drop_degenerate
        self._batch: Batch | None = None

    def attach(self, trainer: HalfwayGRPOTrainer) -> None:
        self.trainer = trainer
        self.engine.attach(trainer)

    @contextmanager
    def scoring(self) -> Iterator[None]:
        """The reward's worker processes: started off the clock, ended at the end."""
        try:
            if self.engine.scorer is not None:
                self.engine.scorer.start()
            yield
        finally:
            if self.engine.scorer is not None:
                self.engine.scorer.close()

    @property
    def updates(self) -> int:
        return self.spec.algorithm.updates_per_batch

    def prompt(self, question_id: int) -> str:
        return self.engine.questions[question_id].prompt

    # -- one step --------------------------------------------------------------------------------------------------

    def next_groups(self) -> list[PromptGroup] | None:
        """This rank's groups of the next batch; None outside of training."""
        if not self.trainer.model.training:
            return None
        if self.driver is None:
            self.engine.follow()
            return self.engine.hand_out(None)
        with self._ending_followers():
            self.engine.policy_version = self.driver.step
            self._batch = self.driver.next_batch()
        with self.clock.phase("replay"):
            self.engine.release()
            return self.engine.hand_out(self._batch.groups)

    @contextmanager
    def _ending_followers(self) -> Iterator[None]:
        """Around what rank 0 does while the others follow: if it fails, they are told instead of waiting for ever."""
        try:
            yield
        except BaseException as error:
            self.engine.abort(f"{type(error).__name__}: {error}")
            if isinstance(error, FloatingPointError):
                raise _diverged(error) from error
            raise

    def end_step(self) -> None:
        """After the last update of a batch: write the step, evaluate if it is time."""
        trainer = self.trainer
        ratio, trained = _reduce(trainer)
        if self.driver is not None and self._batch is not None and self.ledger is not None:
            report = UpdateReport(
                updates=self.updates,
                loss=sum(trainer.losses) / self.updates,
                trained_tokens=trained["tokens"],
                forward_tokens=trained["forward"],
                dropped_groups=trained["dropped"] // self.spec.algorithm.group_size,
                importance_ratio=ratio.summary(),
                fresh_log_ratio=ratio.fresh,
            )
            try:
                record = close_step(self.driver, self._batch, report, self.engine.scorer)
            except FloatingPointError as error:
                raise _diverged(error) from error
            with self.clock.off():
                self.ledger.write("step", record)
                if self.spec.execution.keep_rollouts:
                    keep_rollouts(Path(trainer.args.output_dir).parent / "rollouts", record.step, self._batch.groups)
        trainer.reset_books()
        step = trainer.state.global_step // self.updates
        if step % self.spec.evaluation.every_steps == 0 or step == self.spec.algorithm.max_steps:
            self.evaluate(step)

    def evaluate(self, step: int) -> None:
        """Accuracy on the evaluation sets and, every few times, the predictor's quality; all off the clock."""
        with self.clock.off():
            if self.driver is None:
                self.engine.follow()
                return
            assert self.evaluator is not None
            assert self.ledger is not None
            with self._ending_followers():
                accuracies, count = self.evaluator.evaluate(self.engine.decode, step)
            predictor = diagnose(self.spec, self.driver, step)
            self.engine.release()
            accuracy = self.spec.evaluation.accuracy(accuracies)
            self.ledger.write("evaluation", EvalPoint(step, accuracy, accuracies, count, self.driver.snapshot(), predictor))
            if self.spec.execution.trackers:
                self._track({"eval_accuracy": accuracy, **{f"eval_accuracy_{name}": value for name, value in accuracies.items()}})

    def _track(self, values: dict[str, float]) -> None:
        """Hand values to the trackers alone: the trainer's own ``log`` would also flush its averages of the step."""
        trainer = self.trainer
        wanted = trainer.control.should_log
        trainer.callback_handler.on_log(trainer.args, trainer.state, trainer.control, values)
        trainer.control.should_log = wanted  # the handler takes it for the trainer's own log of this step

    # -- checkpoints ---------------------------------------------------------------------------------------------

    def save_beside(self, global_step: int) -> None:
        """Complete the trainer's checkpoint with ours; only then does it count and may older ones go."""
        self.trainer.accelerator.wait_for_everyone()
        if self.driver is None or self.ledger is None:
            return
        checkpoints = Path(self.trainer.args.output_dir)
        folder = checkpoints / f"checkpoint-{global_step}"
        step = global_step // self.updates
        save_driver(folder, self.spec, self.driver, self.engine.task)
        checkpoint.seal(folder, step)
        checkpoint.prune(checkpoints)
        self.ledger.write("checkpoint", step=step)

    def resume(self, folder: Path) -> None:
        """Take back strategy, buffer, costs and clock."""
        if self.driver is not None:
            resume_driver(folder, self.spec, self.driver, self.engine.task)


def _diverged(error: FloatingPointError) -> RunFailed:
    return RunFailed("nan-loss", f"training diverged: {error}; lower learning_rate or max_grad_norm, then run the suite again")


class SessionCallback(TrainerCallback):  # type: ignore[misc]
    """Where the trainer's loop meets the session."""

    def __init__(self, session: Session) -> None:
        self.session = session

    def on_train_begin(self, args: Any, state: Any, control: Any, **_: Any) -> None:
        if state.global_step == 0:
            self.session.evaluate(0)

    def on_step_begin(self, args: Any, state: Any, control: Any, **_: Any) -> None:
        self.session.clock.start()  # here, not before: a resumed run first skips the batches it has seen

    def on_step_end(self, args: Any, state: Any, control: Any, **_: Any) -> None:
        if state.global_step % self.session.updates == 0:
            self.session.end_step()
            self._stop_on_budget(control)

    def on_train_end(self, args: Any, state: Any, control: Any, **_: Any) -> None:
        self.session.clock.stop()

    def _stop_on_budget(self, control: Any) -> None:
        # Rank 0 alone knows the costs; with several ranks the ledger ends the run at the next checkpoint of all of them.
        driver = self.session.driver if self.session.trainer.accelerator.num_processes == 1 else None
        if driver is not None and self.session.spec.budget.reached(driver.costs.to_json()):
            control.should_save = True
            control.should_training_stop = True


def _reduce(trainer: HalfwayGRPOTrainer) -> tuple[RatioStatistics, dict[str, int]]:
    """Books of all ranks together."""
    import torch

    books = {"tokens": trainer.tokens_trained, "forward": trainer.forward_tokens, "dropped": trainer.rows_dropped}
    if trainer.accelerator.num_processes == 1:
        return trainer.ratio, books
    everyone: list[Any] = [None] * trainer.accelerator.num_processes
    torch.distributed.all_gather_object(everyone, (trainer.ratio, books))
    return RatioStatistics.merge([r for r, _ in everyone]), {k: sum(b[k] for _, b in everyone) for k in books}
