"""The runner's toy engine with a task that has validation questions, and one that has none."""

from __future__ import annotations

from toy_engine import ToyBackend, ToyTask

from harness.reward.spec import RewardSpec
from harness.task import TaskData
from harness.types import Question

__all__ = ["Backend", "Task", "WithoutValidation"]

Backend = ToyBackend


class Task(ToyTask):
    sizes = {"train": 48, "validation": 8, "test": 8, "adapter": 0}

    def build(self) -> TaskData:
        splits = {name: tuple(Question(i, f"{name} {i}?", "0", "toy") for i in range(size)) for name, size in self.sizes.items()}
        return TaskData("toy", splits, RewardSpec("exact"), "0")


class WithoutValidation(Task):
    sizes = {**Task.sizes, "validation": 0}
