"""The runner's toy engine with a task that has validation questions, one that has none, and one whose questions are in the data folder."""

from __future__ import annotations

import json
import os
from pathlib import Path

from toy_engine import ToyBackend, ToyTask

from harness.reward.spec import RewardSpec
from harness.task import TaskData
from harness.types import Question

__all__ = ["Backend", "FromData", "Task", "WithoutValidation"]

Backend = ToyBackend


class Task(ToyTask):
    sizes = {"train": 48, "validation": 8, "test": 8, "adapter": 0}

    def build(self) -> TaskData:
        splits = {name: tuple(Question(i, f"{name} {i}?", "0", "toy") for i in range(size)) for name, size in self.sizes.items()}
        return TaskData("toy", splits, RewardSpec("exact"), "0")


class WithoutValidation(Task):
    sizes = {**Task.sizes, "validation": 0}


class FromData(Task):
    def build(self) -> TaskData:
        path = Path(os.environ["HALFWAY_DATA"]) / "questions.json"
        texts = json.loads(path.read_text(encoding="utf-8"))
        splits = {
            name: tuple(Question(i, f"{name} {t}", "0", "toy") for i, t in enumerate(texts)) for name, size in self.sizes.items() if size
        }
        return TaskData("toy", splits, RewardSpec("exact"), "0", sources={"train": {"file": path.name}})
