"""The scorers that run inside a worker process: ``(answer, gold, metadata) → score``."""

from __future__ import annotations

import functools
import importlib
import logging
from collections.abc import Callable, Mapping
from typing import Any

from harness.reward.spec import REASONING_GYM, RewardError

Scorer = Callable[[str, str, Mapping[str, Any]], float]


def build_scorer(name: str) -> Scorer:
    """The scorer behind a reward name; RewardError in one sentence if it cannot be had."""
    if name == "math-verify":
        return _math_verify()
    if name.startswith(REASONING_GYM):
        return _reasoning_gym(name.removeprefix(REASONING_GYM))
    function = _load(name)
    if not callable(function):
        raise RewardError(f"reward {name!r} is a {type(function).__name__}; it must be a function (completion, answer, metadata)")
    return _user(function)


def _load(reference: str) -> Any:
    # Not harness.registry.load_attr: what that imports would triple the start of a worker.
    module, _, attr = reference.partition(":")
    try:
        return getattr(importlib.import_module(module), attr)
    except ModuleNotFoundError as error:
        raise RewardError(f"reward {reference!r}: no module named {error.name!r}") from error
    except AttributeError as error:
        raise RewardError(f"reward {reference!r}: {error}") from error


def _math_verify() -> Scorer:
    try:
        from math_verify import parse, verify
    except ModuleNotFoundError as error:
        raise RewardError("reward 'math-verify' needs the package math-verify: pip install 'math-verify[antlr4_13_2]'") from error
    logging.disable(logging.CRITICAL)  # it logs every answer that it cannot parse

    @functools.lru_cache(maxsize=10_000)
    def parse_gold(gold: str) -> Any:
        # The library's own time-outs are off: the worker's clock stops an answer that takes too long.
        return parse(f"\\boxed{{{gold}}}", parsing_timeout=None)

    def score(answer: str, gold: str, _metadata: Mapping[str, Any]) -> float:
        try:
            wanted = parse_gold(gold)
            found = parse(answer, parsing_timeout=None)
            return float(bool(found) and bool(wanted) and verify(wanted, found, timeout_seconds=None))
        except (Exception, RecursionError):
            return 0.0

    return score


def _reasoning_gym(family: str) -> Scorer:
    try:
        import reasoning_gym
    except ModuleNotFoundError as error:
        raise RewardError(f"reward {REASONING_GYM + family!r} needs the package reasoning-gym: pip install reasoning-gym") from error
    try:
        score_answer = reasoning_gym.get_score_answer_fn(family)
    except Exception as error:
        raise RewardError(f"reasoning-gym has no family {family!r}") from error

    def score(answer: str, gold: str, metadata: Mapping[str, Any]) -> float:
        # Wrong but well-formed answers get 0.01 to 0.17 from many families: only a full score is a correct answer.
        try:
            return float(
                score_answer(answer, {"question": metadata.get("question", ""), "answer": gold, "metadata": dict(metadata)}) >= 1.0
            )
        except Exception:
            return 0.0

    return score


def _user(function: Callable[..., Any]) -> Scorer:
    def score(completion: str, gold: str, metadata: Mapping[str, Any]) -> float:
        value = function(completion, gold, dict(metadata))
        number = float(value)
        if number != number or number in (float("inf"), float("-inf")):
            raise ValueError(f"returned {number}, which is not a finite number")
        return number

    return score
