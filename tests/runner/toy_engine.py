"""A real, small engine for the runner's tests: policy gradient on a softmax policy, numpy only, milliseconds a step.

It goes through the same strategy driver, clock, ledger and checkpoints as the big ones. A suite names it as
``backend = "toy_engine:ToyBackend"`` and ``task = "toy_engine:ToyTask"``. What shall go wrong comes from the environment, so
that a disturbed run has the same identity as an undisturbed one:

TOY_FAULT          "kind@event", for one run of a suite "kind@event&label/seed", several joined by ";"; TOY_TRACE shows the events
TOY_FAULT_ONCE     folder where it is noted that a fault has happened; without it a fault happens every time
TOY_TRACE          file to which every event is appended
TOY_STEP_SECONDS   pause per step
"""

from __future__ import annotations

import errno
import math
import os
import resource
import signal
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from pydantic import BaseModel, ConfigDict, Field

from harness.backend import BackendStatus, OneOff, Progress
from harness.errors import FailureKind, RunFailed, UserError
from harness.records.checkpoint import load_state, prune, save_state, seal
from harness.records.ledger import LedgerWriter
from harness.registry import strategy_entry
from harness.spec import RunSpec
from harness.step.clock import Clock
from harness.step.driver import StepDriver, UpdateReport
from harness.types import EvalPoint, PromptGroup, Question, QuestionPool, Rollout

CLUSTERS = 12


class ToyConfig(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")

    questions: int = Field(default=48, ge=8, description="training pool")
    actions: int = Field(default=5, ge=2, description="possible answers")


class ToyTask:
    def __init__(self, config: Mapping[str, Any]) -> None:
        self.config = ToyConfig(**config)


def happens(event: str, spec: RunSpec) -> None:
    """An event of a run: note it, pause, or go wrong as the environment asks."""
    if trace := os.environ.get("TOY_TRACE"):
        with open(trace, "a", encoding="utf-8") as file:
            file.write(event + "\n")
    for fault in filter(None, os.environ.get("TOY_FAULT", "").split(";")):
        fault, _, only = fault.partition("&")
        kind, _, where = fault.partition("@")
        if where == event and only in ("", f"{spec.strategy.label}/{spec.seed}") and _first_time(event, spec):
            _go_wrong(kind)


def _first_time(event: str, spec: RunSpec) -> bool:
    once = os.environ.get("TOY_FAULT_ONCE")
    if not once:
        return True
    try:
        (Path(once) / f"{event}-{spec.run_id}").touch(exist_ok=False)
    except FileExistsError:
        return False
    return True


def _go_wrong(kind: str) -> None:
    if kind == "kill":
        os.kill(os.getpid(), signal.SIGKILL)
    elif kind == "segv":
        os.kill(os.getpid(), signal.SIGSEGV)
    elif kind == "hang":
        time.sleep(3600)
    elif kind == "exit":
        os._exit(9)
    elif kind == "memory":
        raise MemoryError
    elif kind == "allocate":  # more than the kernel gives
        resource.setrlimit(resource.RLIMIT_AS, (1 << 30, resource.getrlimit(resource.RLIMIT_AS)[1]))
        np.ones(1 << 28)
    elif kind == "full":  # from now on the kernel lets no file grow
        resource.setrlimit(resource.RLIMIT_FSIZE, (0, resource.getrlimit(resource.RLIMIT_FSIZE)[1]))
    elif kind == "disk":
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), "model.safetensors")
    elif kind == "nan":
        raise RunFailed(FailureKind.NAN, "the loss is NaN at step 3; lower the learning rate")
    elif kind == "user":
        raise UserError("toy engine 2.0 is not installed; pip install toy")
    elif kind == "bug":
        raise ZeroDivisionError("a bug in the engine")
    else:
        raise AssertionError(f"unknown fault {kind!r}")


class Toy:
    """The engine: a softmax policy over answers per cluster of questions."""

    def __init__(self, spec: RunSpec, clock: Clock) -> None:
        self.spec, self.clock = spec, clock
        self.config = ToyConfig.model_validate(spec.combination.task.config)
        self.logits = np.zeros((CLUSTERS, self.config.actions))
        self.versions = 0

    def _probabilities(self, question: int) -> np.ndarray[Any, Any]:
        weights = np.exp(self.logits[question % CLUSTERS] - self.logits[question % CLUSTERS].max())
        return weights / weights.sum()

    def right(self, question: int) -> int:
        return (question % CLUSTERS) % self.config.actions

    def rollout(self, question_ids: Any, rollouts_per_question: int, phase: Any, stream: Sequence[int]) -> list[PromptGroup]:
        rng = np.random.default_rng(list(stream))
        with self.clock.phase(phase):
            return [self._group(int(q), rollouts_per_question, rng) for q in question_ids]

    def embed(self, question_ids: Any) -> Any:
        return np.eye(CLUSTERS)[np.asarray(question_ids) % CLUSTERS]

    def _group(self, question: int, size: int, rng: np.random.Generator) -> PromptGroup:
        p = self._probabilities(question)
        actions = rng.choice(len(p), size=size, p=p)
        return PromptGroup(
            question,
            tuple(
                Rollout(
                    question, np.array([question]), np.array([a]), np.log(p[[a]]), self.versions, str(a), float(a == self.right(question))
                )
                for a in actions
            ),
        )

    def update(self, groups: Sequence[PromptGroup]) -> UpdateReport:
        gradient, loss, tokens = np.zeros_like(self.logits), 0.0, 0
        for group in groups:
            advantages = group.rewards - group.pass_rate
            for rollout, advantage in zip(group.rollouts, advantages, strict=True):
                p, action = self._probabilities(group.question_id), int(rollout.completion_token_ids[0])
                gradient[group.question_id % CLUSTERS] += advantage * (np.eye(len(p))[action] - p)
                loss -= float(advantage * math.log(p[action]))
                tokens += 1
        self.logits += 400 * self.spec.algorithm.learning_rate * gradient
        self.versions += 1
        return UpdateReport(updates=1, loss=loss / tokens, trained_tokens=tokens)

    def accuracy(self, seed: int, step: int) -> float:
        rng = np.random.default_rng([seed, 77, step])
        answers = [rng.choice(self.config.actions, p=self._probabilities(q)) == self.right(q) for q in range(200)]
        return float(np.mean(answers))


class ToyBackend:
    name = "toy"

    def status(self) -> BackendStatus:
        if os.environ.get("TOY_MISSING"):
            return BackendStatus("toy", False, "toy is not installed; pip install 'halfway[toy]'", supported="toy 1.x")
        return BackendStatus("toy", True, "ready", {"toy": "1.0"}, "toy 1.x")

    def prepare(self, spec: RunSpec, cache: Path, progress: Progress) -> list[OneOff]:
        artifact = cache / f"{spec.combination.name}.json"
        if not artifact.exists():
            for i in range(3):
                progress("building the toy", i + 1, 3)
            happens("prepare", spec)
            cache.mkdir(parents=True, exist_ok=True)
            artifact.write_text("{}", encoding="utf-8")
            with open(cache / "built.log", "a", encoding="utf-8") as file:
                file.write(spec.combination.name + "\n")
        return [OneOff("toy model", 1.5, {"size": 1})]

    def train(self, spec: RunSpec, run_dir: Path, cache: Path, ledger: LedgerWriter, resume_from: Path | None) -> None:
        clock = Clock()
        engine = Toy(spec, clock)
        strategy = strategy_entry(spec.strategy.name, [spec.strategy.plugin] if spec.strategy.plugin else []).build(spec.strategy.config)
        questions = [Question(i, f"{i}?", str(engine.right(i)), "toy") for i in range(engine.config.questions)]
        pool = QuestionPool(questions)
        algorithm = spec.algorithm
        driver = StepDriver(
            strategy, engine, pool, clock, seed=spec.seed, groups_per_step=algorithm.groups_per_step, group_size=algorithm.group_size
        )
        if resume_from is not None:
            state = load_state(resume_from)
            driver.load_state_dict(state["driver"])
            engine.logits, engine.versions = state["logits"], int(state["versions"])
        else:
            self._evaluate(spec, engine, driver, ledger)
        clock.start()
        while driver.step < algorithm.max_steps:
            happens(f"step {driver.step + 1} begins", spec)
            batch = driver.next_batch()
            report = engine.update(batch.groups)
            time.sleep(float(os.environ.get("TOY_STEP_SECONDS", "0")))
            record = driver.finish_step(batch, report)
            with clock.off():
                ledger.write(record)
                happens(f"step {record.step} written", spec)
                if spec.execution.keep_rollouts:
                    from backends.common.rollout_files import keep_rollouts  # loads pandas

                    keep_rollouts(run_dir / "rollouts", record.step, batch.groups, questions)
                if record.step % spec.evaluation.every_steps == 0 or record.step == algorithm.max_steps:
                    self._evaluate(spec, engine, driver, ledger)
                    happens(f"step {record.step} evaluated", spec)
                due = record.step % spec.execution.checkpoint_every_steps == 0 or record.step == algorithm.max_steps
                if due and self._checkpoint(spec, run_dir, engine, driver, ledger):
                    break
        clock.stop()
        happens("trained", spec)

    def _evaluate(self, spec: RunSpec, engine: Toy, driver: StepDriver, ledger: LedgerWriter) -> None:
        accuracy = engine.accuracy(spec.seed, driver.step)
        ledger.write(EvalPoint(driver.step, accuracy, {"test": accuracy}, 200, driver.snapshot()))

    def _checkpoint(self, spec: RunSpec, run_dir: Path, engine: Toy, driver: StepDriver, ledger: LedgerWriter) -> bool:
        step = driver.step
        folder = run_dir / "checkpoints" / f"step-{step}"
        happens(f"checkpoint {step} begins", spec)
        save_state(folder, {"driver": driver.state_dict(), "logits": engine.logits, "versions": engine.versions})
        happens(f"checkpoint {step} half written", spec)
        (folder / "extra.bin").write_bytes(b"x" * 1000)
        happens(f"checkpoint {step} unsealed", spec)
        seal(folder, step)
        happens(f"checkpoint {step} sealed", spec)
        stop = ledger.write_checkpoint(step)
        happens(f"checkpoint {step} written", spec)
        prune(run_dir / "checkpoints")
        happens(f"checkpoint {step} pruned", spec)
        return stop
