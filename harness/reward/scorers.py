"""The scorers that run inside a worker process: ``(answer, gold, metadata) → score``."""

from __future__ import annotations

import importlib
from collections.abc import Callable, Mapping
from typing import Any

from harness.reward.spec import MANY_FAMILIES, REASONING_GYM, RewardError

Scorer = Callable[[str, str, Mapping[str, Any]], float]


class RefusedScore(Exception):
    """A user's function returned something that is no score; the message shows it."""


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
    from harness.reward.grading.calculus import load_parser, needs_calculus, same_by_calculus
    from harness.reward.grading.compare import same_answer

    load_parser()

    def score(answer: str, gold: str, _metadata: Mapping[str, Any]) -> float:
        try:
            return float(same_answer(answer, gold) or (needs_calculus(answer, gold) and same_by_calculus(answer, gold)))
        except (Exception, RecursionError):
            return 0.0

    return score


def _reasoning_gym(family: str) -> Scorer:
    if family == MANY_FAMILIES:
        scorers: dict[str, Scorer] = {}

        def by_family(answer: str, gold: str, metadata: Mapping[str, Any]) -> float:
            name = str(metadata.get("family"))
            if name not in scorers:
                scorers[name] = _family_scorer(name)
            return scorers[name](answer, gold, metadata)

        return by_family
    return _family_scorer(family)


def _family_scorer(family: str) -> Scorer:
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
        try:
            number = float(value)
        except (TypeError, ValueError):
            raise RefusedScore(_short(value)) from None
        if not 0.0 <= number <= 1.0:  # nan is not either
            raise RefusedScore(_short(value))
        return number

    return score


def _short(value: Any) -> str:
    """A returned value as it is shown in a message."""
    text = " ".join(repr(value).split())
    return text if len(text) <= 60 else f"{text[:59]}…"
