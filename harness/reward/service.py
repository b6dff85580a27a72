"""The reward as a service: cheap decisions here, everything else in worker processes under a time limit.

What decides, in this order: a literal match with the gold answer, the cache, equality of plain numbers, a worker. An answer
that cannot be parsed, takes too long or kills its worker scores 0; a *user's* reward function that raises, or hangs on more
than a few answers, ends the run, because every reward after it would be wrong in silence.
"""

from __future__ import annotations

import json
import os
import threading
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import numpy.typing as npt

from harness.errors import FailureKind, RunFailed
from harness.reward.answers import MAX_ANSWER, math_answer, tagged_answer
from harness.reward.grading.choices import same_choice
from harness.reward.last_number import same_number
from harness.reward.numbers import compare
from harness.reward.pool import Item, Outcome, WorkerPool
from harness.reward.spec import IN_PROCESS, RewardSpec

#: Entries of the cache; the oldest go first.
CACHE_SIZE = 200_000
#: A user's function may hang on this share of the answers of one call, and on two answers in any case.
MAX_HANGING_SHARE = 0.1
MIN_HANGING = 3


class RewardService:
    """Scores completions; use it as a context manager or ``close`` it.

    workers: processes, default one per processor, at most 4. seconds: time limit per answer, default the spec's.
    timeouts, crashes: answers so far that scored 0 because they took too long or ended their process.
    """

    def __init__(self, spec: RewardSpec, workers: int | None = None, seconds: float | None = None) -> None:
        self.spec = spec if seconds is None else replace(spec, seconds=seconds)
        self.timeouts = self.crashes = 0
        self._taken = (0, 0)
        self._pool = WorkerPool(self.spec, workers or max(1, min(4, os.cpu_count() or 1)))
        self._cache: dict[tuple[str, str, str], float] = {}
        self._lock = threading.Lock()

    def __enter__(self) -> RewardService:
        return self

    def __exit__(self, *exc: object) -> None:
        self.close()

    def start(self) -> None:
        """Start all workers now, off the clock; RewardError in one sentence if the reward cannot be imported."""
        if self.spec.name not in IN_PROCESS:
            self._pool.start()

    def close(self) -> None:
        """End the workers. Scoring again starts new ones."""
        self._pool.close()

    def take_failures(self) -> tuple[int, int]:
        """(time-outs, crashes) since the last call."""
        now, before = (self.timeouts, self.crashes), self._taken
        self._taken = now
        return now[0] - before[0], now[1] - before[1]

    def score(self, items: Sequence[tuple[str, str, Mapping[str, Any]]]) -> npt.NDArray[np.float64]:
        """Rewards of (completion, gold answer, metadata), shape (n,), in order.

        Raises RunFailed if a user's function raises (``reward-raised``), returns anything but a number from 0 to 1
        (``reward-range``), or hangs on more than 10 % of the answers and at least three of them (``reward-hangs``).
        """
        with self._lock:
            scores = np.zeros(len(items))
            undecided: dict[tuple[str, str, str], list[int]] = {}
            asked: list[Item] = []
            for i, (completion, gold, metadata) in enumerate(items):
                decided, key, item = self._decide(i, completion, gold, metadata)
                if decided is not None:
                    scores[i] = decided
                elif key in undecided:
                    undecided[key].append(i)
                else:
                    undecided[key] = [i]
                    asked.append(item)
            if asked:
                for (key, positions), outcome in zip(undecided.items(), self._ask(asked, len(items)), strict=True):
                    scores[positions] = outcome.score
                    self._remember(key, outcome)
            return scores

    def _decide(self, i: int, completion: str, gold: str, metadata: Mapping[str, Any]) -> tuple[float | None, tuple[str, str, str], Item]:
        """(score if it is decided here, cache key, what a worker would be asked)."""
        if self.spec.name == "exact":
            return float(completion.strip() == gold.strip()), ("", "", ""), (completion, gold, metadata)
        if self.spec.name == "number":
            return same_number(completion, gold), ("", "", ""), (completion, gold, metadata)
        if self.spec.is_user_function:
            # Its value may depend on anything: no literal match, no cache, one call per completion.
            return None, (str(i), "", ""), (completion, gold, metadata)
        mathematics = self.spec.name == "math-verify"
        item: Item
        if mathematics:
            answer = math_answer(completion, self.spec.box_required) or ""
            key, item = (answer, gold, ""), (answer, gold, {})
        else:
            answer = tagged_answer(completion)
            key, item = (answer, gold, _text(metadata)), (answer, gold, metadata)
        if not answer or len(answer) > MAX_ANSWER:
            return 0.0, key, item
        if answer == gold.strip():
            return 1.0, key, item
        if mathematics and len(gold) > MAX_ANSWER:
            return 0.0, key, item
        known = self._cache.get(key)
        if known is None and mathematics:
            known = compare(answer, gold)
            if known is None and (chosen := same_choice(answer, gold)) is not None:
                known = float(chosen)
        return known, key, item

    def _ask(self, asked: Sequence[Item], call_size: int) -> list[Outcome]:
        hanging = 0

        def watch(position: int, outcome: Outcome) -> None:
            nonlocal hanging
            self.timeouts += outcome.kind == "timeout"
            self.crashes += outcome.kind == "crashed"
            if outcome.kind == "raised":
                raise RunFailed(
                    FailureKind.REWARD_RAISED,
                    f"the reward function {self.spec.name} raised {outcome.message} on the answer {_short(asked[position][0])}; "
                    "mend the function and run again",
                )
            if outcome.kind == "refused":
                raise RunFailed(
                    FailureKind.REWARD_RANGE,
                    f"the reward function {self.spec.name} returned {outcome.message} for the answer {_short(asked[position][0])}; "
                    "a score must be a number from 0 to 1",
                )
            hanging += outcome.kind in ("timeout", "crashed")
            if self.spec.is_user_function and hanging >= MIN_HANGING and hanging > MAX_HANGING_SHARE * call_size:
                raise RunFailed(
                    FailureKind.REWARD_HANGS,
                    f"the reward function {self.spec.name} gave no score within {self.spec.seconds:g} seconds for {hanging} of "
                    f"{call_size} answers, the last one {_short(asked[position][0])}; mend it or raise reward_seconds",
                )

        return self._pool.run(asked, watch)

    def _remember(self, key: tuple[str, str, str], outcome: Outcome) -> None:
        if self.spec.is_user_function:
            return
        if len(self._cache) >= CACHE_SIZE:
            for old in list(self._cache)[: CACHE_SIZE // 10]:
                del self._cache[old]
        self._cache[key] = outcome.score


def _text(metadata: Mapping[str, Any]) -> str:
    return json.dumps(metadata, sort_keys=True, default=str)


def _short(answer: str) -> str:
    """A long answer by its beginning and end."""
    return repr(answer if len(answer) <= 80 else f"{answer[:50]} … {answer[-20:]}")
