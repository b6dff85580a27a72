"""Parts that break in the ways that users' parts do: an agent loop that raises, an engine that gives up, a reward that hangs."""

from __future__ import annotations

import dataclasses
import time
from typing import Any

from harness.reward.spec import RewardSpec
from harness.task import TaskData
from suites.tasks.spell_backward import SpellBackward

FAIL_FROM_STEP = 2


def hangs(completion: str, answer: str, metadata: dict[str, Any]) -> float:
    time.sleep(3600)
    return float(completion == answer and bool(metadata))


class Hangs(SpellBackward):
    def build(self) -> TaskData:
        return dataclasses.replace(super().build(), reward=RewardSpec(f"{__name__}:hangs", seconds=0.2))


def __getattr__(name: str) -> Any:
    """The agent loops are made where verl is: their base class needs it."""
    if name not in ("Raising", "GivingUp"):
        raise AttributeError(name)
    from backends.verl.agent_loop import HalfwayAgentLoop

    class Raising(HalfwayAgentLoop):
        async def run(self, sampling_params: dict[str, Any], **kwargs: Any) -> Any:
            if kwargs["global_steps"] >= FAIL_FROM_STEP and kwargs["index"] == 1:
                raise ValueError("this prompt fails")
            return await super().run(sampling_params, **kwargs)

    class Deaf:
        async def generate(self, **_: Any) -> Any:
            raise TimeoutError("the engine gives up")

    class GivingUp(HalfwayAgentLoop):
        async def run(self, sampling_params: dict[str, Any], **kwargs: Any) -> Any:
            if kwargs["global_steps"] >= FAIL_FROM_STEP and kwargs["index"] == 1:
                self.server_manager = Deaf()
            return await super().run(sampling_params, **kwargs)

    globals().update(Raising=Raising, GivingUp=GivingUp)
    return globals()[name]
