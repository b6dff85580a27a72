"""Tasks whose reward functions are broken in the ways that users' functions are."""

from __future__ import annotations

import dataclasses
import os
import time
from typing import Any

from harness.reward.spec import RewardSpec
from harness.task import TaskData
from suites.tasks.spell_backward import SpellBackward

#: Environment variable with the file that ``dies_once`` leaves.
DIED = "HALFWAY_TEST_REWARD_DIED"


def raises(completion: str, answer: str, metadata: dict[str, Any]) -> float:
    return float(completion[100]) + len(answer) + len(metadata)


def hangs(completion: str, answer: str, metadata: dict[str, Any]) -> float:
    time.sleep(3600)
    return float(completion == answer and bool(metadata))


def too_much(completion: str, answer: str, metadata: dict[str, Any]) -> float:
    return 7.0 + len(completion) + len(answer) + len(metadata)


def dies_once(completion: str, answer: str, metadata: dict[str, Any]) -> float:
    """Ends its process on the first answer that any process gets; the file that says so is named by the environment."""
    try:
        os.close(os.open(os.environ[DIED], os.O_CREAT | os.O_EXCL))
    except FileExistsError:
        return float(completion == answer and bool(metadata))
    os._exit(9)


class TooMuch(SpellBackward):
    def build(self) -> TaskData:
        return dataclasses.replace(super().build(), reward=RewardSpec(f"{__name__}:too_much"))


class DiesOnce(SpellBackward):
    def build(self) -> TaskData:
        return dataclasses.replace(super().build(), reward=RewardSpec(f"{__name__}:dies_once"))


class Raises(SpellBackward):
    def build(self) -> TaskData:
        return dataclasses.replace(super().build(), reward=RewardSpec(f"{__name__}:raises"))


class Hangs(SpellBackward):
    def build(self) -> TaskData:
        return dataclasses.replace(super().build(), reward=RewardSpec(f"{__name__}:hangs", seconds=0.2))
