"""Whether the Ray actors behind a run are alive; verl's polling would wait for rollouts of a dead one forever."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import ray


class Liveness:
    """Call it now and then: raises Ray's own error for an actor that is gone. A busy actor counts as alive."""

    def __init__(self, actors: Sequence[Any]) -> None:
        self._asked = {actor.__ray_ready__.remote(): actor for actor in actors}

    def __call__(self) -> None:
        answered, _ = ray.wait(list(self._asked), num_returns=len(self._asked), timeout=0)
        for answer in answered:
            actor = self._asked.pop(answer)
            ray.get(answer)
            self._asked[actor.__ray_ready__.remote()] = actor
