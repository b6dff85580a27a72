"""Reading a suite file strictly: every mistake is one sentence with file, line, key, and a suggestion where a known word is near."""

from __future__ import annotations

import tomllib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from pydantic import BaseModel, Field, JsonValue, ValidationError

from harness.errors import UserError, did_you_mean, first_line
from harness.files import import_from
from harness.predictor.artifact import artifact_digest
from harness.registry import BACKENDS, TASKS, StrategyEntry, entry_of, load_backend, make_task_builder, refusal, strategy_entry
from harness.spec import (
    SLUG,
    AlgorithmSpec,
    BudgetSpec,
    CombinationSpec,
    EvaluationSpec,
    ExecutionSpec,
    ModelSpec,
    RunSpec,
    Settings,
    StrategySpec,
    TargetSpec,
    TaskSpec,
)
from harness.suite.report_table import ReportTable
from harness.suite.suite import DEFAULT_BASELINE, Arm, Expected, Suite, SuiteError, plan, suites_folder
from harness.suite.toml_lines import KeyPath, key_lines, line_of
from harness.suite.trainer_words import TRAINER_WORDS
from harness.suite.tuning_table import TuningTable
from harness.validation import explain, most_telling


class _CombinationTable(Settings):
    name: str = Field(pattern=SLUG)
    backend: str = Field(min_length=1)
    model: str | ModelSpec
    task: str | dict[str, JsonValue]
    algorithm: dict[str, JsonValue] = Field(default_factory=dict)
    evaluation: dict[str, JsonValue] = Field(default_factory=dict)
    expected: Expected | None = None


class _StrategyTable(Settings):
    name: str = Field(min_length=1)
    label: str | None = Field(default=None, pattern=SLUG)
    config: dict[str, JsonValue] = Field(default_factory=dict)
    algorithm: dict[str, JsonValue] = Field(default_factory=dict)
    plugin: str | None = None
    combinations: list[str] | None = Field(default=None, min_length=1)
    settings_of: str | None = Field(default=None, description="label of the arm whose tuned algorithm settings this control takes")


class _SuiteTable(Settings):
    name: str = Field(pattern=SLUG)
    description: str = ""
    seeds: list[int] = Field(min_length=1)
    baseline: str = DEFAULT_BASELINE
    algorithm: dict[str, JsonValue] = Field(default_factory=dict)
    evaluation: EvaluationSpec = EvaluationSpec()
    target: TargetSpec = TargetSpec()
    execution: ExecutionSpec = ExecutionSpec()
    budget: BudgetSpec = BudgetSpec()
    tuning: TuningTable = TuningTable()
    report: ReportTable = ReportTable()
    combinations: list[_CombinationTable] = Field(min_length=1)
    strategies: list[_StrategyTable] = Field(min_length=1)


class SuiteReader:
    """Reads one file; knows where its keys are. Modules beside the file can be imported from then on."""

    def __init__(self, path: Path, text: str, plugins: tuple[str, ...]) -> None:
        self.path, self.plugins = path, plugins
        # The suites that come with Halfway have nothing of the user's beside them.
        self.folder = "" if path.resolve().parent == suites_folder().resolve() else str(path.resolve().parent)
        import_from(self.folder)
        try:
            self.data = tomllib.loads(text)
        except tomllib.TOMLDecodeError as error:
            raise SuiteError(f"{path}, {_syntax(error, text)}") from error
        self.lines = key_lines(text)

    def suite(self) -> Suite:
        """The whole file, checked and resolved."""
        table = self.validate(_SuiteTable, self.data, ())
        self._unique([c.name for c in table.combinations], "combinations", "combination", "name")
        labels = [s.label or s.name for s in table.strategies]
        self._unique(labels, "strategies", "strategy", "label")
        self._controls(table, labels)
        repeated = next((s for i, s in enumerate(table.seeds) if s in table.seeds[:i]), None)
        if repeated is not None:
            raise self.error(("seeds",), f"seed {repeated} is listed twice")
        for i, seed in enumerate(table.seeds):
            if not 0 <= seed < 2**31:
                raise self.error(("seeds", i), f"a seed must lie between 0 and {2**31 - 1}, not {seed}")
        arms = tuple(self._arms(table))
        if table.baseline not in labels:
            hint = did_you_mean(table.baseline, labels)
            raise self.error(
                ("baseline",), f"baseline {table.baseline!r} is not a strategy of this suite{hint} (labels: {', '.join(labels)})"
            )
        suite = Suite(
            name=table.name,
            description=table.description.strip(),
            path=self.path,
            seeds=tuple(table.seeds),
            baseline=table.baseline,
            arms=arms,
            target=table.target,
            execution=table.execution,
            budget=table.budget,
            tuning=table.tuning,
            report=table.report,
            expected={c.name: c.expected for c in table.combinations if c.expected is not None},
        )
        self._distinct(suite)
        return suite

    def _controls(self, table: _SuiteTable, labels: Sequence[str]) -> None:
        """Refuse a control whose settings come from an arm that is not there or is a control itself."""
        for i, strategy in enumerate(table.strategies):
            source = strategy.settings_of
            if source is None:
                continue
            at: KeyPath = ("strategies", i, "settings_of")
            if source not in labels:
                raise self.error(at, f"{source!r} is not a strategy of this suite{did_you_mean(source, labels)}")
            if table.strategies[labels.index(source)].settings_of is not None:
                raise self.error(at, f"{source!r} takes its settings from another arm itself; name an arm that is tuned")

    def _arms(self, table: _SuiteTable) -> Iterable[Arm]:
        names = [c.name for c in table.combinations]
        strategies = [self._strategy(i, s, names) for i, s in enumerate(table.strategies)]
        entries = [entry_of(spec) for spec in strategies]
        for i, combination in enumerate(table.combinations):
            resolved, evaluation = self._combination(i, combination), self._evaluation(table, i)
            for j, (strategy, spec) in enumerate(zip(table.strategies, strategies, strict=True)):
                if strategy.combinations is None or combination.name in strategy.combinations:
                    if refused := refusal(entries[j], resolved.backend, spec.config):
                        raise self.error(("strategies", j, "name"), f"{refused}; give it combinations with another backend")
                    yield Arm(resolved, spec, self._algorithm(table, i, j), evaluation, strategy.settings_of)

    def _evaluation(self, table: _SuiteTable, combination: int) -> EvaluationSpec:
        """The suite's evaluation with what the combination says otherwise."""
        merged = {**table.evaluation.model_dump(mode="json"), **table.combinations[combination].evaluation}
        resolved: EvaluationSpec = self.validate(EvaluationSpec, merged, ("combinations", combination, "evaluation"))
        return resolved

    def _algorithm(self, table: _SuiteTable, combination: int, strategy: int) -> AlgorithmSpec:
        """Strategy over combination over suite; an error points at the table that the value came from."""
        layers: list[tuple[KeyPath, Mapping[str, Any]]] = [
            (("algorithm",), table.algorithm),
            (("combinations", combination, "algorithm"), table.combinations[combination].algorithm),
            (("strategies", strategy, "algorithm"), table.strategies[strategy].algorithm),
        ]
        merged = {key: value for _, layer in layers for key, value in layer.items()}
        origin: dict[str, KeyPath] = {key: (*path, key) for path, layer in layers for key in layer}
        try:
            return AlgorithmSpec(**merged)
        except ValidationError as error:
            location, words = explain(error.errors()[0], AlgorithmSpec)
            if location:
                at = origin[str(location[0])]
                raise self.error(at, _named(at, _in_words_of_trainers(words, at))) from error
            # A rule over several settings: point at the innermost key that the sentence names.
            at = next((path for key, path in reversed(origin.items()) if key in words), ("strategies", strategy))
            raise self.error(at, words) from error

    def _combination(self, index: int, table: _CombinationTable) -> CombinationSpec:
        at: KeyPath = ("combinations", index)
        if ":" not in table.backend and table.backend not in BACKENDS:
            known = f"{did_you_mean(table.backend, BACKENDS)} (known: {', '.join(sorted(BACKENDS))})"
            raise self.error((*at, "backend"), f"unknown backend {table.backend!r}{known}")
        try:
            load_backend(table.backend)
        except UserError as error:
            raise self.error((*at, "backend"), str(error)) from error
        return CombinationSpec(
            name=table.name,
            backend=table.backend,
            model=self.validate(ModelSpec, {"name": table.model}, (*at, "model")) if isinstance(table.model, str) else table.model,
            task=self._task((*at, "task"), table.task),
        )

    def _task(self, at: KeyPath, task: str | Mapping[str, Any]) -> TaskSpec:
        config = {} if isinstance(task, str) else {k: v for k, v in task.items() if k != "name"}
        name = task if isinstance(task, str) else task.get("name")
        if not isinstance(name, str) or not name:
            raise self.error(at, "a task needs a 'name'")
        if ":" not in name and name not in TASKS:
            raise self.error(at, f"unknown task {name!r}{did_you_mean(name, TASKS)} (known: {', '.join(sorted(TASKS))})")
        try:
            builder = make_task_builder(name, config, self.folder)
        except UserError as error:
            raise self.error((*at, *_offending_key(error, config)), str(error)) from error
        except Exception as error:  # a task of the user's own
            raise self.error(at, f"task {name!r} cannot be made: {type(error).__name__}: {first_line(error)}") from error
        resolved = getattr(builder, "config", None)
        return TaskSpec(
            name=name,
            config=resolved.model_dump(mode="json") if isinstance(resolved, BaseModel) else config,
            version=str(getattr(builder, "version", "")),
            folder=self.folder,
        )

    def _strategy(self, index: int, table: _StrategyTable, combinations: Sequence[str]) -> StrategySpec:
        at: KeyPath = ("strategies", index)
        for i, name in enumerate(table.combinations or ()):
            if name not in combinations:
                hint = did_you_mean(name, combinations)
                raise self.error((*at, "combinations", i), f"unknown combination {name!r}{hint} (known: {', '.join(combinations)})")
        plugins = (*self.plugins, *([table.plugin] if table.plugin else ()))
        try:
            entry = strategy_entry(table.name, dict.fromkeys(plugins))
        except UserError as error:
            raise self.error((*at, "plugin" if table.plugin and repr(table.plugin) in str(error) else "name"), str(error)) from error
        try:
            config = entry.resolve_config(table.config)
        except UserError as error:
            raise self.error((*at, "config", *_offending_key(error, table.config)), str(error)) from error
        return StrategySpec(
            label=table.label or table.name,
            name=table.name,
            version=entry.version,
            config=config,
            uncharged_oracle=entry.uncharged_oracle,
            plugin=_plugin_of(entry),
            predictor_digest=artifact_digest(str(config["predictor"])) if config.get("predictor") else "",
        )

    def _unique(self, names: Sequence[str], array: str, noun: str, key: str) -> None:
        for i, name in enumerate(names):
            if name in names[:i]:
                raise self.error((array, i, key), f"{noun} {name!r} is there twice; give each its own {key}")

    def _distinct(self, suite: Suite) -> None:
        seen: dict[str, RunSpec] = {}
        for run in plan(suite):
            other = seen.setdefault(run.run_id, run)
            if other is not run:
                raise self.error(
                    ("strategies",), f"{other.title} and {run.title} are the same run under two labels; remove one or change a setting"
                )

    def validate(self, model: type[Any], data: Any, at: KeyPath) -> Any:
        """``data`` as ``model``; ``at`` is where in the file it stands."""
        try:
            return model.model_validate(data)
        except ValidationError as error:
            location, words = explain(most_telling(error), model)
            location = (*at, *(part for part in location if part not in _UNION_TAGS))
            raise self.error(location, _named(location, _in_words_of_trainers(words, location))) from error

    def error(self, at: KeyPath, words: str) -> SuiteError:
        """The error to raise for what stands at ``at``."""
        line = line_of(self.lines, at)
        return SuiteError(f"{self.path}{f', line {line}' if line else ''}: {words}")


#: What pydantic adds to the location of an error inside ``str | ModelSpec`` and ``str | dict``.
_UNION_TAGS = frozenset({"str", "ModelSpec", "dict[str,JsonValue]", "dict[str,json-or-python[json=list,python=list]]"})


def _in_words_of_trainers(words: str, location: KeyPath) -> str:
    """For an unknown key that TRL or verl has: what it is called here, or why it is not there."""
    known = TRAINER_WORDS.get(str(location[-1]))
    return f"unknown key {location[-1]!r}; {known}" if known and words.startswith("unknown key") else words


def _named(at: KeyPath, words: str) -> str:
    """Say which key in which table the words are about."""
    keys = [str(part) for part in at if isinstance(part, str)]
    if not keys or words.endswith("is missing") or words.startswith("give one of"):
        return words
    if words.startswith("unknown key"):
        where = f"[{'.'.join(keys[:-1])}]" if keys[:-1] else "the suite"
        head, semicolon, hint = words.partition(";")
        return f"{head} in {where}{semicolon}{hint}"
    return f"{'.'.join(keys)} {words}"


def _offending_key(error: UserError, config: Mapping[str, Any]) -> KeyPath:
    """The key of ``config`` that an error is about, as a path below it; empty if that is unknown."""
    if isinstance(error.__cause__, ValidationError) and (location := most_telling(error.__cause__)["loc"]):
        return (location[0],)
    return next(((key,) for key in config if repr(key) in str(error)), ())


def _plugin_of(entry: StrategyEntry) -> str | None:
    prefix = "--plugin "
    return entry.origin.removeprefix(prefix) if entry.origin.startswith(prefix) else None


def _syntax(error: tomllib.TOMLDecodeError, text: str) -> str:
    words, _, where = str(error).rpartition(" (at ")
    last = str(text.rstrip("\n").count("\n") + 1)
    line = where.removeprefix("line ").partition(",")[0] if where.startswith("line ") else last
    words = words or str(error)
    return f"line {line}: not valid TOML: {words[0].lower()}{words[1:]}"


def with_backend(suite: Suite, backend: str) -> Suite:
    """The suite with all combinations on one backend. Raises SuiteError if there is no such backend."""
    if ":" not in backend and backend not in BACKENDS:
        raise SuiteError(f"--backend {backend}: unknown{did_you_mean(backend, BACKENDS)} (known: {', '.join(sorted(BACKENDS))})")
    for strategy in {arm.strategy.label: arm.strategy for arm in suite.arms}.values():
        if refused := refusal(entry_of(strategy), backend, strategy.config):
            raise SuiteError(f"--backend {backend}: {refused}")
    arms = tuple(replace(arm, combination=arm.combination.model_copy(update={"backend": backend})) for arm in suite.arms)
    return replace(suite, arms=arms)


def load_suite(path: Path, plugins: Iterable[str] = ()) -> Suite:
    """Read and resolve a suite file. Raises SuiteError: file, line and key, and a suggestion where a known word is near."""
    try:
        text = path.read_text(encoding="utf-8-sig")  # some editors begin a file with a byte order mark
    except (OSError, UnicodeDecodeError) as error:
        raise SuiteError(f"cannot read {path}: {getattr(error, 'strerror', None) or error}") from error
    return SuiteReader(path, text, tuple(plugins)).suite()
