"""Tasks whose reward functions are broken in the two ways that users' functions are."""

from __future__ import annotations

import dataclasses
import time
from typing import Any

from harness.reward.spec import RewardSpec
from harness.task import TaskData
from suites.tasks.spell_backward import SpellBackward


def raises(completion: str, answer: str, metadata: dict[str, Any]) -> float:
    return float(completion[100]) + len(answer) + len(metadata)


def hangs(completion: str, answer: str, metadata: dict[str, Any]) -> float:
    time.sleep(3600)
    return float(completion == answer and bool(metadata))


class Raises(SpellBackward):
    def build(self) -> TaskData:
        return dataclasses.replace(super().build(), reward=RewardSpec(f"{__name__}:raises"))


class Hangs(SpellBackward):
    def build(self) -> TaskData:
        return dataclasses.replace(super().build(), reward=RewardSpec(f"{__name__}:hangs", seconds=0.2))
