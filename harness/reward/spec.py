"""Which reward a task uses: data only, so that it can be part of a run's identity."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from harness.errors import UserError

REASONING_GYM = "reasoning-gym:"
#: Instead of a family: every question's hidden metadata say which family scores it.
MANY_FAMILIES = "*"
#: Rewards that are decided at once, without a worker process.
IN_PROCESS = ("exact", "number")
#: Goes up with every change after which math-verify may score an answer otherwise; part of a task's identity.
GRADING_VERSION = 2


class RewardError(UserError):
    """A reward that does not exist; the message names the ones that do."""


@dataclass(frozen=True, slots=True)
class RewardSpec:
    """How a completion is scored against the gold answer.

    name: ``exact`` (equal after stripping white space), ``number`` (the last number of the completion is the gold number),
    ``math-verify`` (mathematically equal, final answer in ``\\boxed{}``), ``reasoning-gym:FAMILY`` (1 where the family's own scorer gives
    1, else 0; ``*`` for the family that a question's metadata name), or ``module:attr``, a function
    ``(completion: str, answer: str, metadata: dict) -> float``.
    seconds: time limit for one answer; processor seconds, for a user's function seconds of the wall clock.
    box_required: for ``math-verify``: only an answer in ``\\boxed{}`` counts; otherwise an announced one (``the answer is 7``) does too.
    """

    name: str = "exact"
    seconds: float = 5.0
    box_required: bool = False

    def __post_init__(self) -> None:
        if self.seconds <= 0:
            raise RewardError(f"reward {self.name!r}: the time limit must be positive, not {self.seconds} seconds")
        module, _, attr = self.name.partition(":")
        if self.name not in (*IN_PROCESS, "math-verify") and not (module and attr):
            raise RewardError(
                f"unknown reward {self.name!r}; use exact, number, math-verify, reasoning-gym:FAMILY or module:attr of a function"
            )

    @property
    def is_user_function(self) -> bool:
        """Whether the reward is code that did not come with Halfway."""
        return ":" in self.name and not self.name.startswith(REASONING_GYM)

    @property
    def identity(self) -> Mapping[str, Any]:
        """What decides scores, for the hash of a task: two runs with equal ones scored alike."""
        common = {"name": self.name, "seconds": self.seconds}
        return {**common, "box_required": self.box_required, "version": GRADING_VERSION} if self.name == "math-verify" else common
