"""Suites: TOML grids of combinations x strategies x seeds, read strictly and unrolled into runs.

Whatever is wrong in a suite file is one :class:`SuiteError` that names the file, the line and the key, with a suggestion
where a known word is near. A suite has ``name``, ``description``, ``seeds`` and ``baseline`` at the top, optional tables
``[algorithm] [evaluation] [target] [execution] [budget]``, and the arrays ``[[combinations]]`` and ``[[strategies]]``,
whose ``algorithm`` tables override the suite's (strategy over combination over suite).
"""

from __future__ import annotations

import importlib.util
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from harness.errors import UserError, did_you_mean
from harness.spec import AlgorithmSpec, BudgetSpec, CombinationSpec, EvaluationSpec, ExecutionSpec, RunSpec, StrategySpec, TargetSpec

DEFAULT_BASELINE = "grpo"


class SuiteError(UserError):
    """A suite that cannot be used; the message says where and what to do."""


@dataclass(frozen=True, slots=True)
class Arm:
    """One strategy on one combination, all settings resolved; a run is an arm with a seed."""

    combination: CombinationSpec
    strategy: StrategySpec
    algorithm: AlgorithmSpec


@dataclass(frozen=True, slots=True)
class Suite:
    """A suite as resolved from its file."""

    name: str
    description: str
    path: Path
    seeds: tuple[int, ...]
    baseline: str
    arms: tuple[Arm, ...]
    evaluation: EvaluationSpec
    target: TargetSpec
    execution: ExecutionSpec
    budget: BudgetSpec

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
    return sorted(suites_folder().glob("*.toml"))


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
    """Every run of the suite: by combination, then seed, then arm with the baseline first.

    All arms of one seed stand together, so that what is compared in pairs also runs close in time.
    """
    runs = []
    for combination in suite.combinations:
        arms = [arm for arm in suite.arms if arm.combination.name == combination]
        arms.sort(key=lambda arm: arm.strategy.label != suite.baseline)
        for seed in suite.seeds:
            runs += [_run(suite, arm, seed) for arm in arms]
    return runs


def _run(suite: Suite, arm: Arm, seed: int) -> RunSpec:
    return RunSpec(
        suite=suite.name,
        combination=arm.combination,
        strategy=arm.strategy,
        algorithm=arm.algorithm,
        evaluation=suite.evaluation,
        seed=seed,
        execution=suite.execution,
        target=suite.target,
        budget=suite.budget,
    )


def load_suite(path: Path, plugins: Iterable[str] = ()) -> Suite:
    """Read and resolve a suite file. Raises SuiteError in words: file, line, key, suggestion."""
    from harness.suite_file import SuiteReader

    try:
        text = path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise SuiteError(f"cannot read {path}: {getattr(error, 'strerror', None) or error}") from error
    return SuiteReader(path, text, tuple(plugins)).suite()
