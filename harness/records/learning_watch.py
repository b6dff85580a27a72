"""Notices a run in which nothing is learned: groups without gradient step after step, or no reward at all."""

from __future__ import annotations

from harness.types import StepRecord

#: Steps in a row without a single informative group after which a person should know.
STEPS_WITHOUT_GRADIENT = 10


class LearningWatch:
    """Looks at the step records of one attempt and says once, in a sentence, that nothing is being learned."""

    def __init__(self) -> None:
        self._in_a_row = 0
        self._rewarded = False
        self._said = False

    def warning(self, step: StepRecord) -> str | None:
        """A sentence for the ledger after ``STEPS_WITHOUT_GRADIENT`` steps of degenerate groups, once per attempt; else None."""
        self._rewarded = self._rewarded or step.mean_reward > 0
        self._in_a_row = 0 if step.non_degenerate_share > 0 else self._in_a_row + 1
        if self._said or self._in_a_row < STEPS_WITHOUT_GRADIENT:
            return None
        self._said = True
        why = "all right or all wrong" if self._rewarded else "all wrong, no rollout has been rewarded yet"
        return (
            f"nothing is learned: up to step {step.step}, every group of the last {self._in_a_row} steps was degenerate ({why}); "
            "choose questions nearer to what the model can do, or check the reward with 'halfway validate'"
        )
