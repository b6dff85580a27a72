"""The strategy under test, and what is said about a promise that it breaks: what happened, and where in its own file."""

from __future__ import annotations

import inspect
import pickle  # only compares objects of this process
import traceback
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

import harness
from harness.registry import StrategyEntry
from harness.strategy import Part, Strategy
from harness.testing.simulation import SimulatedRun
from harness.types import PromptGroup

POOL = 96  # with 16 groups a step, questions come back within a run of eight
_OURS = Path(harness.__file__).parent


@dataclass(frozen=True, slots=True)
class Promise:
    """One promise of the contract: kept or broken, and what was seen."""

    name: str
    passed: bool
    message: str = ""


class ContractBroken(AssertionError):
    """A promise was broken; the message says how. method: of the strategy, where the cause is likely to be."""

    def __init__(self, message: str, method: str = "") -> None:
        super().__init__(message)
        self.method = method


def require(condition: bool, message: str, method: str = "") -> None:
    """Raise ContractBroken unless the condition holds."""
    if not condition:
        raise ContractBroken(message, method)


class Subject:
    """A strategy under test: makes fresh instances and runs them."""

    def __init__(self, entry: StrategyEntry, config: Mapping[str, Any], predictor: str | None) -> None:
        self.entry, self.config, self.predictor = entry, dict(config), predictor

    def build(self) -> Strategy:
        return self.entry.build(self.config)

    def run(self, strategy: Strategy | None = None, seed: int = 1, pool_size: int = POOL) -> SimulatedRun:
        return SimulatedRun(strategy or self.build(), pool_size, seed, predictor=self.predictor)

    @property
    def requires(self) -> frozenset[str]:
        return self.build().requires

    def parts(self) -> tuple[type[Part[Any]], type[Part[Any]]]:
        return self.entry.composition.selector, self.entry.composition.replay


def place_of_method(subject: Subject, method: str) -> str:
    """``file:line (Class.method)`` of the part that defines a method outside of harness, or of the first part's class; "" if unknown."""
    for part in (*subject.parts(), None):
        if part is None:
            return _place(subject.parts()[0], subject.parts()[0].__name__)
        found = getattr(part, method, None)
        if callable(found) and not _is_ours(getattr(inspect.unwrap(found), "__module__", "")):
            return _place(found, f"{part.__name__}.{method}")
    return ""


def _place(target: Any, name: str) -> str:
    try:
        return f"{inspect.getsourcefile(target)}:{inspect.getsourcelines(target)[1]} ({name})"
    except (OSError, TypeError):
        return ""


def _is_ours(module: str) -> bool:
    return module.partition(".")[0] == "harness" and not module.startswith("harness.strategies.")


def place_of_error(error: BaseException, subject: Subject) -> str:
    """``file:line (function)`` of the innermost frame in the strategy's own files; "" if it was not in one."""
    files = {inspect.getsourcefile(part) for part in subject.parts()}
    frames = traceback.extract_tb(error.__traceback__)
    own = [f for f in frames if f.filename in files]
    others = [f for f in frames if _OURS not in Path(f.filename).parents and "site-packages" not in f.filename]
    chosen = (own or others)[-1:]
    return "".join(f"{f.filename}:{f.lineno} ({f.name})" for f in chosen)


def trace(run: SimulatedRun, steps: int) -> list[Any]:
    """(question, source, trained positions, policy version of every rollout) of every group of every batch."""
    return [
        [(g.question_id, g.source, g.trained, tuple(r.policy_version for r in g.rollouts)) for g in run.step().groups] for _ in range(steps)
    ]


def content(state: Any) -> bytes:
    """A state as bytes: equal for states with equal content."""
    if isinstance(state, Mapping):
        return b"{" + b",".join(str(k).encode() + b":" + content(v) for k, v in sorted(state.items())) + b"}"
    if isinstance(state, list | tuple):
        return b"[" + b",".join(content(v) for v in state) + b"]"
    return np.asarray(state).tobytes() if isinstance(state, np.ndarray) else repr(state).encode()


def forgotten(original: Strategy, loaded: Strategy) -> list[str]:
    """Attributes of the two parts that differ between a strategy and the one its state was loaded into."""
    found = []
    for before, after in ((original.selector, loaded.selector), (original.replay_part, loaded.replay_part)):
        for name, value in vars(before).items():
            if name != "config" and _fingerprint(value) != _fingerprint(vars(after).get(name)):
                found.append(f"{type(before).__name__}.{name}")
    return found


def _fingerprint(value: Any) -> bytes:
    if hasattr(value, "state_dict"):
        return content(value.state_dict())
    if isinstance(value, set | frozenset):
        return content(sorted(value, key=repr))
    try:
        return content(value) if isinstance(value, Mapping | list | tuple | np.ndarray) else pickle.dumps(value)
    except Exception:  # what cannot be pickled has a promise of its own
        return repr(type(value)).encode()


def arrays_of(group: PromptGroup) -> list[np.ndarray[Any, Any]]:
    """Tokens, log-probs and rewards of a group."""
    return [a for r in group.rollouts for a in (r.completion_token_ids, r.behaviour_log_probs, np.array([r.reward])) if a is not None]
