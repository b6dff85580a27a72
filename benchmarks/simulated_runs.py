"""Simulated runs in this process: what the benchmarks on simulated policies share. Everything computed from them is simulated."""

from __future__ import annotations

import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from backends.simulator.session import SimulatorSession
from harness.records.ledger import LedgerWriter
from harness.registry import strategy_entry
from harness.spec import RunSpec, StrategySpec
from harness.stats import Curve, SpeedUp, Target, TargetRule, paired_speed_up, reach, resolve_target
from harness.suite.reader import load_suite
from harness.suite.suite import find_suite, plan
from harness.types import EvalPoint, StepRecord

CACHE = Path(tempfile.gettempdir()) / "halfway-simulated"


@dataclass(frozen=True, slots=True)
class Arm:
    """A strategy with settings, on the suite ``simulated`` with changes to its algorithm and its task."""

    name: str
    config: Mapping[str, Any] = field(default_factory=dict)
    algorithm: Mapping[str, Any] = field(default_factory=dict)
    task: Mapping[str, Any] = field(default_factory=dict)

    def spec(self, seed: int, every_steps: int = 5) -> RunSpec:
        """The run of one seed. Evaluations draw 32 answers per question: with one, their noise is a tenth of GRPO's gain."""
        base = plan(load_suite(find_suite("simulated")))[0]
        entry = strategy_entry(self.name)
        strategy = StrategySpec(label=self.name, name=self.name, version=entry.version, config=entry.resolve_config(self.config))
        task = base.combination.task.model_copy(update={"config": {**base.combination.task.config, **self.task}})
        algorithm = base.algorithm.model_copy(update=dict(self.algorithm))
        return base.model_copy(
            update={
                "strategy": strategy, "seed": seed, "algorithm": algorithm,
                "combination": base.combination.model_copy(update={"task": task}),
                "evaluation": base.evaluation.model_copy(update={"every_steps": every_steps, "samples_per_question": 32}),
                "execution": base.execution.model_copy(update={"checkpoint_every_steps": algorithm.max_steps}),
            }
        )  # fmt: skip


class KeptRecords(LedgerWriter):
    """A ledger in memory."""

    def __init__(self) -> None:
        self.points: list[EvalPoint] = []
        self.steps: list[StepRecord] = []

    def write(self, record: Any) -> None:
        """Keep evaluations and steps."""
        if isinstance(record, EvalPoint):
            self.points.append(record)
        elif isinstance(record, StepRecord):
            self.steps.append(record)

    def curve(self, label: str, seed: int) -> Curve:
        """Accuracy against token counts and steps."""
        names = ("generated_tokens", "trained_tokens", "forward_tokens", "training_steps")
        costs = {name: np.array([float(getattr(p.costs, name)) for p in self.points]) for name in names}
        return Curve("simulated", label, seed, np.array([p.accuracy for p in self.points]), costs)


def simulate(arm: Arm, seed: int, every_steps: int = 5) -> KeptRecords:
    """Train one simulated run to its end."""
    records = KeptRecords()
    with tempfile.TemporaryDirectory() as folder:
        SimulatorSession(arm.spec(seed, every_steps), Path(folder), CACHE, records).run(None)
    return records


def speed_up(baseline: Sequence[Curve], arm: Sequence[Curve], target: Target, cost: str) -> SpeedUp:
    """Paired by seed, as in a report."""
    assert target.accuracy is not None
    reached = [[reach(c, target.accuracy, cost=cost, rule="sustained") for c in curves] for curves in (baseline, arm)]
    return paired_speed_up(list(zip(*reached, strict=True)))


def target_of(baseline: Sequence[Curve], share: float = 0.9) -> Target:
    """The suite's target: a share of the baseline's gain."""
    return resolve_target(TargetRule("share_of_gain", share), baseline)
