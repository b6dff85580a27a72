"""Suites: TOML grids of combinations x strategies x seeds, read strictly and unrolled into runs.

Whatever is wrong in a suite file is one :class:`SuiteError` that names the file, the line and the key, with a suggestion
where a known word is near. A suite has ``name``, ``description``, ``seeds`` and ``baseline`` at the top, optional tables
``[algorithm] [evaluation] [target] [execution] [budget] [tuning] [report]``, and the arrays ``[[combinations]]`` and ``[[strategies]]``,
whose ``algorithm`` tables override the suite's (strategy over combination over suite); so does a combination's ``evaluation``. A
combination's ``expected`` table says what a run costs, with its source; it is shown by ``halfway plan`` and changes nothing else.
"""

from __future__ import annotations

import importlib.util
from dataclasses import dataclass, field
from pathlib import Path

from pydantic import Field

from harness.errors import UserError, did_you_mean
from harness.spec import (
    AlgorithmSpec,
    BudgetSpec,
    CombinationSpec,
    EvaluationSpec,
    ExecutionSpec,
    RunSpec,
    Settings,
    StrategySpec,
    TargetSpec,
)
from harness.suite.report_table import ReportTable
from harness.suite.tuning_table import TuningTable

DEFAULT_BASELINE = "grpo"


class SuiteError(UserError):
    """A suite that cannot be used; the message says where and what to do."""


@dataclass(frozen=True, slots=True)
class Arm:
    """One strategy on one combination, all settings resolved; a run is an arm with a seed.

    settings_of: label of the arm whose tuned algorithm settings this one takes instead of being tuned (a control), or None.
    steps_scale: steps of this arm that stand for one of the suite's own; not 1 where tuning changed the batch size.
    unscaled_evaluation: how its combination is evaluated with the suite's own batch size.
    """

    combination: CombinationSpec
    strategy: StrategySpec
    algorithm: AlgorithmSpec
    unscaled_evaluation: EvaluationSpec
    settings_of: str | None = None
    steps_scale: float = 1.0

    @property
    def evaluation(self) -> EvaluationSpec:
        """How it is evaluated: as often per prompt group as the combination's other arms."""
        own = self.unscaled_evaluation
        every = max(1, round(own.every_steps * self.steps_scale))
        return own if every == own.every_steps else own.model_copy(update={"every_steps": every})


class Expected(Settings):
    """What the author of a suite expects a run of a combination to cost, for ``halfway plan`` until runs say it themselves."""

    source: str = Field(min_length=1, description="where the numbers come from: measured when and on what, or which table of which paper")
    seconds_per_step: float | None = Field(default=None, gt=0, description="wall seconds per training step, evaluations included")
    tokens_per_step: float | None = Field(default=None, gt=0, description="generated tokens per training step")
    disk_mib: float | None = Field(default=None, gt=0, description="size of a finished run's folder")


@dataclass(frozen=True, slots=True)
class Suite:
    """A suite as resolved from its file; ``lock`` is the file that its arms' settings were tuned in, None for the suite's own settings."""

    name: str
    description: str
    path: Path
    seeds: tuple[int, ...]
    baseline: str
    arms: tuple[Arm, ...]
    target: TargetSpec
    execution: ExecutionSpec
    budget: BudgetSpec
    tuning: TuningTable = TuningTable()  # noqa: RUF009 - frozen
    report: ReportTable = ReportTable()  # noqa: RUF009 - frozen
    lock: Path | None = None
    expected: dict[str, Expected] = field(default_factory=dict)

    @property
    def argument(self) -> str:
        """How a command line names this suite: by its name if it comes with Halfway, by its path otherwise."""
        return self.path.stem if self.path.parent == suites_folder() else str(self.path)

    @property
    def tuning_target(self) -> TargetSpec:
        """What trials aim for; by default what runs are compared at."""
        return self.tuning.target or self.target

    @property
    def combinations(self) -> list[str]:
        """Names of the combinations, in the order of the file."""
        return list(dict.fromkeys(arm.combination.name for arm in self.arms))

    @property
    def labels(self) -> list[str]:
        """Labels of the strategies, baseline first."""
        found = dict.fromkeys(arm.strategy.label for arm in self.arms)
        return sorted(found, key=lambda label: label != self.baseline)


def suites_folder() -> Path:
    """Where the suite files that come with Halfway are."""
    spec = importlib.util.find_spec("suites")
    if spec is None or not spec.submodule_search_locations:
        raise SuiteError("the package 'suites' that comes with Halfway is not installed; reinstall halfway")
    return Path(next(iter(spec.submodule_search_locations)))


def shipped_suites() -> list[Path]:
    """Files of the suites that come with Halfway, by name."""
    return sorted(path for path in suites_folder().glob("*.toml") if not path.name.endswith(".lock.toml"))


def find_suite(name: str) -> Path:
    """The file of a suite given by name (``quick``) or by path (``./mine.toml``)."""
    path = Path(name)
    if path.suffix == ".toml" or len(path.parts) > 1:
        if path.is_file():
            return path
        raise SuiteError(f"no suite file {name}; give a path to a .toml file, or a name that 'halfway list' shows")
    known = {p.stem: p for p in shipped_suites()}
    if name not in known:
        raise SuiteError(
            f"unknown suite {name!r}{did_you_mean(name, known)} (known: {', '.join(known) or 'none'}; or give a path to a .toml file)"
        )
    return known[name]


def plan(suite: Suite) -> list[RunSpec]:
    """Every run of the suite in the order in which runs start: by combination; in it the baseline's runs, then seed by seed the others.

    The baseline comes first because targets come from it. The other arms of one seed stand together, so that what is compared in
    pairs also runs close in time.
    """
    runs = []
    for combination in suite.combinations:
        arms = [arm for arm in suite.arms if arm.combination.name == combination]
        baseline = [arm for arm in arms if arm.strategy.label == suite.baseline]
        others = [arm for arm in arms if arm.strategy.label != suite.baseline]
        for group in (baseline, others):
            runs += [_run(suite, arm, seed) for seed in suite.seeds for arm in group]
    return runs


def _run(suite: Suite, arm: Arm, seed: int) -> RunSpec:
    return RunSpec(
        suite=suite.name,
        combination=arm.combination,
        strategy=arm.strategy,
        algorithm=arm.algorithm,
        evaluation=arm.evaluation,
        seed=seed,
        execution=suite.execution,
        target=suite.target,
        budget=suite.budget,
    )
