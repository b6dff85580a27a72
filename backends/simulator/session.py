"""One simulated run: batches from the shared driver, updates of the policy, evaluations and checkpoints off the clock."""

from __future__ import annotations

from collections import deque
from pathlib import Path

import numpy as np

from backends.simulator.engine import PricedTime, SimulatorEngine, embeddings_of, generated_price, right_answers
from backends.simulator.policy import Policy
from backends.simulator.predictor import predictor_for, settings_of
from harness.errors import UserError
from harness.numerics.latent_skills import skill_questions
from harness.records import checkpoint
from harness.records.ledger import LedgerWriter
from harness.registry import entry_of, load_task
from harness.spec import RunSpec
from harness.step.clock import Clock
from harness.step.driver import Batch, StepDriver, UpdateReport
from harness.types import EvalPoint, FloatArray, QuestionPool


class SimulatorSession:
    """Builds everything from the run's spec; ``run`` trains to its last step."""

    def __init__(self, spec: RunSpec, run_dir: Path, cache: Path, ledger: LedgerWriter) -> None:
        self.spec, self.run_dir, self.ledger = spec, run_dir, ledger
        task = load_task(spec.combination.task.name)(spec.combination.task.config)
        self.config, self.task = task.config, task.build()
        settings = settings_of(spec, "train")
        pool = self.task.split("train")
        questions = skill_questions(settings, "train", len(pool))
        self.policy = Policy(questions, np.zeros(settings.skills), self.config.gradient_noise, self.config.forgetting)
        self.older: deque[FloatArray] = deque(maxlen=spec.algorithm.staleness + 1)  # skills at the last steps, newest last
        self.time = PricedTime(generated_price(spec) or 1.0)
        self.clock = Clock(wall=self.time, cpu=self.time)
        embeddings = embeddings_of(questions, settings.skills, settings.seed)
        self.engine = SimulatorEngine(self.policy, self.clock, self.time, self.config.tokens, embeddings)
        self.strategy = entry_of(spec.strategy).build(spec.strategy.config)
        self.driver = StepDriver(
            self.strategy, self.engine, QuestionPool(pool), self.clock, seed=spec.seed, groups_per_step=spec.algorithm.groups_per_step,
            group_size=spec.algorithm.group_size, max_refills=spec.algorithm.max_refills,
            predictor=predictor_for(spec, cache, lambda *_: None),
        )  # fmt: skip
        self.sets = {name: skill_questions(settings_of(spec, name), name, self._size(name)) for name in spec.evaluation.all_sets}

    def _size(self, split: str) -> int:
        size = len(self.task.split(split))
        if size == 0:
            raise UserError(f"the evaluation set {split!r} has no questions; set its size above 0")
        return min(size, self.spec.evaluation.max_questions or size)

    def run(self, resume_from: Path | None) -> None:
        """Train from the start or from a checkpoint, and write step, evaluation and checkpoint records."""
        algorithm, execution = self.spec.algorithm, self.spec.execution
        if resume_from is None:
            self._evaluate()
        else:
            state = checkpoint.load_state(resume_from)
            self.driver.load_state_dict(state["driver"])
            self.policy.load_state_dict(state["policy"])
            self.older.extend(state.get("older", ()))
        self.clock.start()
        while self.driver.step < algorithm.max_steps:
            self.older.append(self.policy.theta)  # replaced by an update, never changed
            self.engine.theta = self.older[0]
            self.engine.policy_version = self.driver.step + 1 - len(self.older)
            batch = self.driver.next_batch()
            record = self.driver.finish_step(batch, self._update(batch))
            with self.clock.off():
                self.ledger.write(record)
                last = record.step == algorithm.max_steps
                if record.step % self.spec.evaluation.every_steps == 0 or last:
                    self._evaluate()
                if (record.step % execution.checkpoint_every_steps == 0 or last) and self._save():
                    break
        self.clock.stop()

    def _update(self, batch: Batch) -> UpdateReport:
        algorithm = self.spec.algorithm
        kept = [g for g in batch.groups if not (algorithm.drop_degenerate and g.is_degenerate)]
        tokens, trained = (sum(r.num_tokens for g in groups for r in g.trained_rollouts) for groups in (batch.groups, kept))
        replayed = any(flag for g in batch.groups for flag in g.replayed_flags)
        # The old policy's log-probs take a pass of their own where the weights move within a batch, or μ is another policy.
        forward = tokens if replayed or algorithm.staleness or algorithm.updates_per_batch > 1 else 0
        rng = np.random.default_rng([self.spec.seed, 0x757064, batch.step])
        ratios, off = self.policy.train(batch.groups, algorithm, self.strategy.correction, rng)
        self.time.pay(trained=trained, forward=forward)
        fresh = (float(off.max()), float(off.mean())) if algorithm.staleness and len(off) else (None, None)
        return UpdateReport(algorithm.updates_per_batch, 0.0, trained, forward, len(batch.groups) - len(kept), ratios, *fresh)

    def _evaluate(self) -> None:
        evaluation, step = self.spec.evaluation, self.driver.step
        temperature = self.spec.algorithm.temperature if evaluation.temperature is None else evaluation.temperature
        samples = evaluation.samples_per_question
        right = {
            name: right_answers(questions, self.policy.theta, samples=samples, greedy=temperature == 0, seed=self.spec.seed)
            for name, questions in self.sets.items()
        }
        found = {name: float(counts.mean() / samples) for name, counts in right.items()}
        number = sum(len(q) for q in self.sets.values())
        counts = {name: found_.tolist() for name, found_ in right.items()}
        self.ledger.write(EvalPoint(step, evaluation.accuracy(found), found, number, self.driver.snapshot(), right=counts))

    def _save(self) -> bool:
        """Write a checkpoint; returns whether training ends here, short of its last step."""
        step = self.driver.step
        folder = self.run_dir / "checkpoints" / f"step-{step}"
        state = {"driver": self.driver.state_dict(), "policy": self.policy.state_dict(), "older": np.array(self.older)}
        checkpoint.save_state(folder, state)
        checkpoint.seal(folder, step)
        checkpoint.prune(self.run_dir / "checkpoints")
        return self.ledger.write_checkpoint(step)
