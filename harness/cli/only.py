"""The option ``--only KEY=VALUE``: which runs, or which arms, a command works on."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, TypeVar

from harness.errors import UserError, did_you_mean

if TYPE_CHECKING:
    from harness.spec import RunSpec
    from harness.suite.suite import Arm

Item = TypeVar("Item")

ARM_KEYS: Mapping[str, Callable[[Arm | RunSpec], str]] = {
    "combination": lambda item: item.combination.name,
    "strategy": lambda item: item.strategy.label,
    "backend": lambda item: item.combination.backend,
}
"""What an arm can be chosen by: a strategy on a combination."""

RUN_KEYS: Mapping[str, Callable[[RunSpec], str]] = {
    "combination": lambda run: run.combination.name,
    "strategy": lambda run: run.strategy.label,
    "seed": lambda run: str(run.seed),
    "backend": lambda run: run.combination.backend,
    "run": lambda run: run.run_id,
}
"""What a run can be chosen by."""


def choose(
    items: Sequence[Item], only: Sequence[str], keys: Mapping[str, Callable[[Item], str]], noun: str, option: str = "--only"
) -> list[Item]:
    """The items that all of ``only`` leave: values of one key are alternatives, different keys must all hold.

    The value of ``run`` may be the beginning of an id. Raises UserError for an unknown key, a value that no item has, or where nothing
    is left.
    """
    wanted: dict[str, set[str]] = {}
    for text in only:
        key, equals, value = text.partition("=")
        if not equals or key not in keys:
            raise UserError(f"{option} {text}: write key=value with one of the keys {', '.join(keys)}{did_you_mean(key, keys)}")
        known = {keys[key](item) for item in items}
        chosen = {v for v in known if v == value or (key == "run" and value and v.startswith(value))}
        if not chosen:
            shown = f" (there are: {', '.join(sorted(known))})" if key != "run" else ""
            raise UserError(f"{option} {text}: no {noun} has {key} {value!r}{did_you_mean(value, known)}{shown}")
        wanted.setdefault(key, set()).update(chosen)
    kept = [item for item in items if all(keys[key](item) in values for key, values in wanted.items())]
    if not kept:
        raise UserError(f"{option} {f' {option} '.join(only)}: no {noun} has all of these")
    return kept
