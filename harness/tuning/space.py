"""What is searched: the shared space of a combination, and each strategy's own declared ranges."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cache
from typing import Any, Literal, get_args

from pydantic import ValidationError
from pydantic.fields import FieldInfo

from harness.errors import UserError, did_you_mean
from harness.registry import StrategyEntry, strategy_entry
from harness.spec import AlgorithmSpec
from harness.suite.suite import Arm
from harness.suite.tuning_table import DEFAULT_SPACE, Range
from harness.validation import explain

TUNABLE = (
    "groups_per_step", "learning_rate", "lr_schedule", "warmup_steps", "adam_beta1", "adam_beta2", "weight_decay", "max_grad_norm",
    "updates_per_batch", "clip_epsilon", "clip_epsilon_high", "kl_coefficient", "advantage_normalization", "loss_aggregation",
    "drop_degenerate",
)  # fmt: skip
"""Algorithm settings that may be tuned. The others change what an evaluation is (sampling, lengths, precision), and with it what the
comparison is about. With another ``groups_per_step`` the number of steps and the rhythm of evaluations follow, so that every trial
trains on as many prompt groups."""


@dataclass(frozen=True, slots=True)
class Parameter:
    """One dimension of a space.

    own: the suite's own value for this arm, always inside. choices: values for a categorical dimension, else None and ``low`` to ``high``.
    """

    name: str
    part: Literal["algorithm", "strategy"]
    own: Any
    choices: tuple[Any, ...] | None = None
    low: float = 0.0
    high: float = 0.0
    log: bool = False
    integer: bool = False

    @property
    def setting(self) -> str:
        """What the setting is called where it belongs; ``name`` has the strategy's before it if the algorithm has one of that name."""
        return self.name.rpartition(".")[2]

    @property
    def described(self) -> dict[str, Any]:
        """As in a suite file."""
        if self.choices is not None:
            return {"choices": list(self.choices)}
        low, high = (int(self.low), int(self.high)) if self.integer else (self.low, self.high)
        return {"low": low, "high": high, **({"log": True} if self.log else {})}

    def contains(self, value: Any) -> bool:
        """Whether a recorded value is a point of this dimension."""
        if self.choices is not None:
            return value in self.choices
        return isinstance(value, (int, float)) and not isinstance(value, bool) and self.low <= value <= self.high

    def at(self, place: float) -> Any:
        """The value at a share of the way through, 0 ≤ place < 1."""
        if self.choices is not None:
            return self.choices[int(place * len(self.choices))]
        if self.log:
            value = math.exp(math.log(self.low) + place * (math.log(self.high) - math.log(self.low)))
        else:
            value = self.low + place * (self.high - self.low)
        return round(value) if self.integer else value

    def rounded(self, value: Any) -> Any:
        """A proposed value with four significant digits, still inside."""
        if self.choices is not None or self.integer:
            return value
        return min(max(float(f"{value:.4g}"), self.low), self.high)


Space = tuple[Parameter, ...]
Point = dict[str, Any]


def spaces(arms: Sequence[Arm], baseline: Arm, shared: Mapping[str, Range], own: Mapping[str, Range]) -> list[Space]:
    """The space of each arm of one combination; the shared dimensions are the same for all. own: ranges of strategies' settings.

    Every dimension is widened just so far that it holds the suite's own settings, so that the first trial of every study is
    a point of its space. Raises UserError for a range that makes no sense.
    """
    made = []
    _check_own(own, arms)
    for arm in arms:
        common = [_shared(name, declared, arm, arms, baseline) for name, declared in shared.items()]
        made.append((*common, *_declared(arm, {p.name for p in common}, own)))
    return made


def at(arm: Arm, space: Space, point: Mapping[str, Any]) -> Arm:
    """The arm with the values of a point. Raises UserError where two values do not go together."""
    algorithm, strategy = ({p.setting: point[p.name] for p in space if p.part == part} for part in ("algorithm", "strategy"))
    return with_settings(arm, algorithm, strategy)


def with_settings(arm: Arm, algorithm: Mapping[str, Any], strategy: Mapping[str, Any]) -> Arm:
    """The arm with some settings of algorithm and strategy replaced. Raises UserError for values that do not go together."""
    changed = _algorithm(arm, algorithm)
    scale = arm.steps_scale * arm.algorithm.groups_per_step / changed.groups_per_step
    moved = replace(arm, algorithm=changed, steps_scale=scale)
    if not strategy:
        return moved
    config = _entry(arm.strategy.name, arm.strategy.plugin).resolve_config({**arm.strategy.config, **strategy})
    return replace(moved, strategy=arm.strategy.model_copy(update={"config": config}))


@cache
def _entry(name: str, plugin: str | None) -> StrategyEntry:
    # Once per process: looking a name up reads the entry points of every installed package.
    return strategy_entry(name, [plugin] if plugin else [])


def _algorithm(arm: Arm, settings: Mapping[str, Any]) -> AlgorithmSpec:
    own = arm.algorithm
    groups = int(settings.get("groups_per_step", own.groups_per_step))
    if groups >= 1 and groups != own.groups_per_step:
        scale = own.groups_per_step / groups
        steps = {"max_steps": max(1, round(own.max_steps * scale)), "warmup_steps": round(own.warmup_steps * scale)}
        settings = {**steps, **settings}
    try:
        return AlgorithmSpec(**{**own.model_dump(), **settings})
    except ValidationError as error:
        words = explain(error.errors()[0], AlgorithmSpec)[1]
        raise UserError(
            f"tuning {arm.combination.name}/{arm.strategy.label} with {_shown(settings)}: {words}; change [tuning.space]"
        ) from error


def _shared(name: str, declared: Range, arm: Arm, arms: Sequence[Arm], baseline: Arm) -> Parameter:
    where = f"tuning.space.{name}"
    if name not in TUNABLE:
        hint = did_you_mean(name, TUNABLE)
        raise UserError(f"{where}: not a setting of the algorithm that can be tuned{hint} (those are {', '.join(TUNABLE)})")
    owns = [getattr(a.algorithm, name) for a in arms]
    if declared is DEFAULT_SPACE["updates_per_batch"]:
        batches = [a.algorithm.groups_per_step * a.algorithm.group_size for a in arms]
        declared = Range(choices=tuple(c for c in (1, 2, 4, 8) if all(batch % c == 0 for batch in batches)))
    found = _parameter(name, "algorithm", declared, AlgorithmSpec.model_fields[name], owns, getattr(baseline.algorithm, name), where)
    for value in found.choices or (found.low, found.high):
        _algorithm(arm, {name: int(value) if found.integer else value})
    return Parameter(name, "algorithm", getattr(arm.algorithm, name), found.choices, found.low, found.high, found.log, found.integer)


def _check_own(own: Mapping[str, Range], arms: Sequence[Arm]) -> None:
    known = dict.fromkeys(name for arm in arms for name in _entry(arm.strategy.name, arm.strategy.plugin).fields)
    for name in own:
        if name not in known:
            raise UserError(f"tuning.strategy_space.{name}: no strategy of the suite has this setting{did_you_mean(name, known)}")


def _declared(arm: Arm, taken: set[str], own_ranges: Mapping[str, Range]) -> list[Parameter]:
    entry, made = _entry(arm.strategy.name, arm.strategy.plugin), []
    for name, (part, _) in entry.fields.items():
        info = part.Config.model_fields[name]
        extra = info.json_schema_extra
        if name not in own_ranges and (not isinstance(extra, dict) or "tune" not in extra):
            continue
        where = f"strategy {entry.name!r}, setting {name!r}"
        try:
            declared = own_ranges[name] if name in own_ranges else Range.model_validate(extra["tune"])  # type: ignore[index]
        except ValidationError as error:
            raise UserError(f"{where}: its tune range {explain(error.errors()[0], Range)[1]}") from error
        own = arm.strategy.config[name]
        known_as = f"{entry.name}.{name}" if name in taken else name
        made.append(_parameter(known_as, "strategy", declared, info, [own], own, where))
    return made


def _parameter(
    name: str, part: Literal["algorithm", "strategy"], declared: Range, info: FieldInfo, owns: Sequence[Any], centre: Any, where: str
) -> Parameter:
    if declared.choices is not None:
        return Parameter(name, part, centre, tuple(dict.fromkeys([*declared.choices, *owns])))
    numbers = [own for own in owns if isinstance(own, (int, float)) and not isinstance(own, bool)]
    if len(numbers) < len(owns):
        raise UserError(f"{where}: the suite's own value is {_shown(owns[0])}, not a number; give choices, or a number in the suite")
    low, high, log = declared.low, declared.high, declared.log
    if declared.factor is not None:
        if centre <= 0:
            raise UserError(f"{where}: a factor needs a value above 0 in the suite, not {centre:g}; give low and high")
        low, high, log = centre / declared.factor, centre * declared.factor, True
    assert low is not None, "a range without choices and factor has bounds"
    assert high is not None
    low, high = min(low, *numbers), max(high, *numbers)
    integer = _is_integer(info)
    if log and low <= 0:
        raise UserError(f"{where}: the suite's own value {low:g} cannot be searched on a logarithmic scale; leave log out")
    return Parameter(name, part, centre, None, *((math.ceil(low), math.floor(high)) if integer else (low, high)), log=log, integer=integer)


def _is_integer(info: FieldInfo) -> bool:
    kinds = get_args(info.annotation) or (info.annotation,)
    return int in kinds and float not in kinds


def _shown(value: Any) -> str:
    if isinstance(value, Mapping):
        return ", ".join(f"{key} = {_shown(item)}" for key, item in value.items()) or "its own settings"
    return "none" if value is None else f"{value:g}" if isinstance(value, float) else str(value)
