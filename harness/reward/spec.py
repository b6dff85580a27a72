"""Which reward a task uses: data only, so that it can be part of a run's identity."""

from __future__ import annotations

from dataclasses import dataclass

from harness.errors import UserError

REASONING_GYM = "reasoning-gym:"


class RewardError(UserError):
    """A reward that does not exist; the message names the ones that do."""


@dataclass(frozen=True, slots=True)
class RewardSpec:
    """How a completion is scored against the gold answer.

    name: ``exact`` (equal after stripping white space), ``math-verify`` (mathematically equal, final answer in
    ``\\boxed{}``), ``reasoning-gym:FAMILY`` (1 where the family's own scorer gives 1, else 0), or ``module:attr``, a
    function ``(completion: str, answer: str, metadata: dict) -> float``.
    seconds: time limit for one answer; processor seconds, for a user's function seconds of the wall clock.
    """

    name: str = "exact"
    seconds: float = 5.0

    def __post_init__(self) -> None:
        if self.seconds <= 0:
            raise RewardError(f"reward {self.name!r}: the time limit must be positive, not {self.seconds} seconds")
        module, _, attr = self.name.partition(":")
        if self.name not in ("exact", "math-verify") and not (module and attr):
            raise RewardError(f"unknown reward {self.name!r}; use exact, math-verify, reasoning-gym:FAMILY or module:attr of a function")

    @property
    def is_user_function(self) -> bool:
        """Whether the reward is code that did not come with Halfway."""
        return ":" in self.name and not self.name.startswith(REASONING_GYM)
