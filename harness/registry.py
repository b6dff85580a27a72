"""Names to code, lazily: strategies, backends and task builders are ``"module:attr"`` strings until used.

Strategies come from three places: the built-in table, the entry-point group ``halfway.strategies`` of installed
packages, and ``--plugin module:attr``. Two parties that claim one name are an error that names both.
"""

from __future__ import annotations

import importlib
import importlib.metadata
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pydantic import BaseModel, ValidationError

from harness.backend import WHOLE_GROUPS
from harness.errors import UserError, did_you_mean, first_line
from harness.strategies.uniform import Uniform
from harness.strategy import Composition, NoReplay, Part, Replay, Requirement, Selector, Strategy
from harness.validation import explain, most_telling

if TYPE_CHECKING:
    from harness.spec import StrategySpec, TaskSpec

ENTRY_POINT_GROUP = "halfway.strategies"
_PLUGIN = "--plugin "

BUILTIN_STRATEGIES: dict[str, str] = {
    "grpo": "harness.strategies.uniform:GRPO",
    "dots": "harness.strategies.dots:DOTS",
    "rr": "harness.strategies.fifo:RR",
    "dots-rr": "harness.strategies.dots_rr:DOTS_RR",
    "oracle": "harness.strategies.oracle:ORACLE",
    "dapo": "harness.strategies.filtering:DAPO",
    "bae": "harness.strategies.filtering:BAE",
    "greso": "harness.strategies.greso:GRESO",
    "mopps": "harness.strategies.mopps:MOPPS",
    "history": "harness.strategies.history:HISTORY",
    "frontier": "harness.strategies.frontier:FRONTIER",
    "cdas": "harness.strategies.cdas:CDAS",
    "adarft": "harness.strategies.adarft:ADARFT",
    "sec": "harness.strategies.sec:SEC",
    "prompt-replay": "harness.strategies.prompt_replay:PROMPT_REPLAY",
    "speed": "harness.strategies.speed:SPEED",
    "lilo": "harness.strategies.lilo:LILO",
    "pcl": "harness.strategies.pcl:PCL",
    "static-filter": "harness.strategies.static:STATIC_FILTER",
    "curriculum": "harness.strategies.static:CURRICULUM",
    "knapsack": "harness.strategies.knapsack:KNAPSACK",
    "pods": "harness.strategies.pods:PODS",
    "aper": "harness.strategies.aper:APER",
    "freshper": "harness.strategies.freshper:FRESHPER",
    "random-replay": "harness.strategies.freshper:RANDOM_REPLAY",
    "repo": "harness.strategies.repo:REPO",
    "rlep": "harness.strategies.successes:RLEP",
    "arpo": "harness.strategies.successes:ARPO",
    "fewer-fresh": "harness.strategies.fifo:FEWER_FRESH",
    "fair-replay": "harness.strategies.fair_replay:FAIR_REPLAY",
    "no-positive-resampling": "harness.strategies.no_positive_resampling:NO_POSITIVE_RESAMPLING",
    "reinforce-ada": "harness.strategies.reinforce_ada:REINFORCE_ADA",
    "pilot-commit": "harness.strategies.pilot_commit:PILOT_COMMIT",
    "vip": "harness.strategies.vip:VIP",
    "snr-filter": "harness.strategies.snr_filter:SNR_FILTER",
    "lze": "harness.strategies.lze:LZE",
    "cures": "harness.strategies.cures:CURES",
    "dppo": "harness.strategies.dppo:DPPO",
}
BACKENDS: dict[str, str] = {
    "trl": "backends.trl.backend:TrlBackend",
    "verl": "backends.verl.backend:VerlBackend",
    "simulator": "backends.simulator.backend:SimulatorBackend",
}
TASKS: dict[str, str] = {
    "spell-backward": "suites.tasks.spell_backward:SpellBackward",
    "reasoning-gym": "suites.tasks.reasoning_gym:ReasoningGym",
    "maths": "suites.tasks.maths:Maths",
    "science": "suites.tasks.science:Science",
    "jsonl": "suites.tasks.own_data:OwnData",
    "latent-skills": "suites.tasks.latent_skills:LatentSkills",
}
#: What tasks that ship import when they build their questions; a warm worker has it by then.
TASK_IMPORTS: dict[str, tuple[str, ...]] = {
    "spell-backward": ("suites.tasks.spell_backward", "reasoning_gym.data"),
    "reasoning-gym": ("suites.tasks.reasoning_gym", "reasoning_gym.factory"),
}


class RegistryError(UserError):
    """A name that nothing, or more than one thing, answers to."""


@dataclass(frozen=True, slots=True)
class StrategyEntry:
    """A strategy that can be built: name, where it came from, and its composition."""

    name: str
    origin: str
    composition: Composition
    fields: Mapping[str, tuple[type[Part[Any]], str]] = field(default_factory=dict)

    @property
    def version(self) -> str:
        """``NAME:SELECTOR+REPLAY``: the registered name and the versions that its two parts declare.

        Part of a run's identity. It names no module, so moving a strategy to another file leaves its finished runs valid; whoever
        changes what a strategy does raises the ``version`` of the part concerned.
        """
        return f"{self.name}:{self.composition.selector.version}+{self.composition.replay.version}"

    @property
    def requires(self) -> frozenset[Requirement]:
        return self.composition.selector.requires | self.composition.replay.requires

    @property
    def uncharged_oracle(self) -> bool:
        return self.composition.selector.uncharged_oracle

    def resolve_config(self, config: Mapping[str, Any]) -> dict[str, Any]:
        """All settings with their defaults filled in. Raises RegistryError for unknown keys and bad values."""
        selector, replay = self._configs(config)
        return {**replay.model_dump(mode="json"), **selector.model_dump(mode="json")}

    def build(self, config: Mapping[str, Any]) -> Strategy:
        """A fresh strategy object; ``config`` may be partial."""
        selector, replay = self._configs(config)
        return Strategy(self.name, self.composition.selector(selector), self.composition.replay(replay))

    def _configs(self, config: Mapping[str, Any]) -> tuple[BaseModel, BaseModel]:
        for key in config:
            if key not in self.fields:
                known = ", ".join(sorted(self.fields)) or "none"
                raise RegistryError(f"strategy {self.name!r} has no setting {key!r}{did_you_mean(key, self.fields)} (settings: {known})")
        made = []
        for part in (self.composition.selector, self.composition.replay):
            own = {k: v for k, v in config.items() if k in part.Config.model_fields}
            try:
                made.append(part.Config(**own))
            except ValidationError as error:
                location, words = explain(most_telling(error), part.Config)
                at = ".".join(map(str, location)) or part.__name__
                raise RegistryError(f"strategy {self.name!r}, setting {at!r}: {words}") from error
        return made[0], made[1]


def load_attr(reference: str) -> Any:
    """The object behind ``"module:attr"``. Raises RegistryError if the module or the attribute is missing, or the import fails."""
    module, _, attr = reference.partition(":")
    if not module or not attr or module.startswith("."):
        raise RegistryError(f"{reference!r} is not of the form module:attr")
    try:
        return getattr(importlib.import_module(module), attr)
    except ModuleNotFoundError as error:
        raise RegistryError(f"cannot import {reference!r}: no module named {error.name!r}") from error
    except AttributeError as error:
        raise RegistryError(f"cannot import {reference!r}: {error}") from error
    except SyntaxError as error:
        raise RegistryError(f"cannot import {reference!r}: {error.filename}, line {error.lineno}: {error.msg}") from error
    except UserError:
        raise
    except Exception as error:  # a user's module can raise anything while it is imported
        raise RegistryError(f"cannot import {reference!r}: the module raises {type(error).__name__}: {first_line(error)}") from error


def strategy_entry(name: str, plugins: Iterable[str] = ()) -> StrategyEntry:
    """Look a strategy up by name. ``plugins`` are ``module:attr`` references whose names join the table."""
    table = strategy_references(plugins)
    if name not in table and "+" in name:
        return _combined(name, plugins)
    if name not in table:
        raise RegistryError(f"unknown strategy {name!r}{did_you_mean(name, table)} (known: {', '.join(sorted(table))})")
    origin, reference = table[name]
    return _entry(name, origin, load_attr(reference))


def _combined(name: str, plugins: Iterable[str]) -> StrategyEntry:
    """``selector+replay``: the selector of the strategy before the plus, the replay of the one after it."""
    first, _, second = name.partition("+")
    if not first or not second or "+" in second:
        raise RegistryError(f"strategy {name!r} is not of the form selector+replay (for example mopps+rr)")
    plugins = tuple(plugins)
    chooser, replayer = strategy_entry(first, plugins), strategy_entry(second, plugins)
    left, right = chooser.composition, replayer.composition
    if left.replay is not NoReplay:
        raise RegistryError(f"strategy {name!r}: {first!r} has a replay of its own; what stands before the plus only selects")
    if right.replay is NoReplay:
        raise RegistryError(f"strategy {name!r}: {second!r} replays nothing; what stands after the plus must replay")
    if right.selector is not Uniform:
        raise RegistryError(f"strategy {name!r}: {second!r} has a selector of its own; what stands after the plus only replays")
    from_plugin = [entry.origin for entry in (chooser, replayer) if entry.origin.startswith(_PLUGIN)]
    if len(from_plugin) > 1:
        raise RegistryError(f"strategy {name!r} combines two --plugin references; install one of them as a package")
    both = [
        "; ".join(text for text in texts if text and text != "nothing")
        for texts in zip(_description(left), _description(right), strict=True)
    ]
    return _entry(name, from_plugin[0] if from_plugin else "a combination", Composition(left.selector, right.replay, *both))


def _description(composition: Composition) -> tuple[str, ...]:
    return composition.summary, composition.source, composition.observes, composition.acts, composition.costs


#: What a backend lacks where it cannot serve a requirement.
_LACKING: dict[Requirement, str] = {
    "probe": "rolling out questions for the strategy",
    "embed": "embeddings",
    "predictor": "difficulty predictors",
    "oracle": "uncharged pass rates",
    "behaviour_log_probs": "the log-probs of the policy that sampled a rollout",
    "group_sizes": "groups of different sizes",
    "partial_groups": "training on part of a group",
    "mixed_groups": "stored rollouts inside a fresh group",
    "loss_weights": "weights on the loss of a group",
}


def refusal(entry: StrategyEntry, backend: str, config: Mapping[str, Any] | None = None) -> str:
    """Why a backend cannot run a strategy with these settings (None: the defaults); empty if it can."""
    lacking = sorted(entry.build(config or {}).requires - getattr(load_backend(backend), "capabilities", WHOLE_GROUPS))
    if not lacking:
        return ""
    return f"strategy {entry.name!r} cannot run on backend {backend!r}, which does not support {', '.join(_LACKING[r] for r in lacking)}"


def entry_of(strategy: StrategySpec) -> StrategyEntry:
    """The entry behind a resolved spec's strategy, its plugin included."""
    return strategy_entry(strategy.name, [strategy.plugin] if strategy.plugin else [])


def strategy_references(plugins: Iterable[str] = ()) -> dict[str, tuple[str, str]]:
    """All known strategy names: name → (origin, ``module:attr``). Loads plugins only."""
    table = {name: ("built in", ref) for name, ref in BUILTIN_STRATEGIES.items()}
    for point in importlib.metadata.entry_points(group=ENTRY_POINT_GROUP):
        package = point.dist.name if point.dist else "an unnamed package"
        _claim(table, point.name, f"package {package}", point.value)
    for reference in plugins:
        part = load_attr(reference)
        name = getattr(part, "name", None) or reference.partition(":")[2].lower().replace("_", "-")
        _claim(table, name, f"{_PLUGIN}{reference}", reference)
    return table


def _claim(table: dict[str, tuple[str, str]], name: str, origin: str, reference: str) -> None:
    if name in table and table[name][1] != reference:
        raise RegistryError(f"strategy name {name!r} is claimed twice: by {table[name][0]} and by {origin}; rename one of them")
    table[name] = (origin, reference)


def _entry(name: str, origin: str, target: Any) -> StrategyEntry:
    composition = _as_composition(name, origin, target)
    fields: dict[str, tuple[type[Part[Any]], str]] = {}
    for part in (composition.selector, composition.replay):
        for key, info in part.Config.model_fields.items():
            if key in fields and _declared_by(part, key) is not _declared_by(fields[key][0], key):
                raise RegistryError(f"strategy {name!r}: both its selector and its replay have a setting {key!r}; rename one")
            fields[key] = (part, info.description or "")
    return StrategyEntry(name, origin, composition, fields)


def _declared_by(part: type[Part[Any]], key: str) -> type:
    """The config class that first declares a setting; two parts share the settings of a base class that both their configs have."""
    return [base for base in part.Config.__mro__ if issubclass(base, BaseModel) and key in base.model_fields][-1]


def _as_composition(name: str, origin: str, target: Any) -> Composition:
    if isinstance(target, Composition):
        return target
    summary = (getattr(target, "__doc__", None) or "").strip().partition("\n")[0]
    if isinstance(target, type) and issubclass(target, Selector):
        return Composition(target, NoReplay, summary)
    if isinstance(target, type) and issubclass(target, Replay):
        return Composition(Uniform, target, summary)
    raise RegistryError(f"strategy {name!r} ({origin}) is {target!r}; it must be a Selector class, a Replay class or a Composition")


def load_backend(name: str) -> Any:
    """A backend instance by name, or by an explicit ``module:attr``. Raises RegistryError if that is no backend."""
    if ":" in name:
        found = load_attr(name)
        if not isinstance(found, type) or not all(callable(getattr(found, method, None)) for method in ("status", "prepare", "train")):
            raise RegistryError(f"{name!r} is no backend: it must be a class with the methods status, prepare and train")
        return found()
    if name not in BACKENDS:
        raise RegistryError(f"unknown backend {name!r}{did_you_mean(name, BACKENDS)} (known: {', '.join(sorted(BACKENDS))})")
    return load_attr(BACKENDS[name])()


def load_task(name: str) -> Any:
    """A task builder class by name, or by an explicit ``module:attr``. Raises RegistryError if that is no class."""
    if ":" in name:
        found = load_attr(name)
        if not isinstance(found, type):
            raise RegistryError(f"{name!r} is no task: it must be a class that is made with the task's settings")
        return found
    if name not in TASKS:
        raise RegistryError(f"unknown task {name!r}{did_you_mean(name, TASKS)} (known: {', '.join(sorted(TASKS))})")
    return load_attr(TASKS[name])


def task_builder(task: TaskSpec) -> Any:
    """The builder of a spec's task, made with its settings; one that reads files of the user's is told where the suite is."""
    return make_task_builder(task.name, task.config, task.folder)


def make_task_builder(name: str, config: Mapping[str, Any], folder: str = "") -> Any:
    """A task builder. ``folder``: that of the suite file, for classes with ``reads_own_files``; empty for the current folder."""
    found = load_task(name)
    return found(config, Path(folder)) if getattr(found, "reads_own_files", False) else found(config)
