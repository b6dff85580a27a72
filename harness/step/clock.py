"""The training clock: exclusive phase times that add up, pausable, saved in the checkpoint (docs/protocol.md, what is counted)."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any

from harness.types import PHASES

DEFAULT_PHASE = "update"


class Clock:
    """Wall and process seconds of a run, split into the phases of a training step.

    While the clock runs, every moment belongs to exactly one phase: the innermost open ``phase`` block, or
    ``update`` (forward, backward, optimizer and the trainer's own loop) outside of any. ``off()`` stops it for
    evaluation, checkpoints and logging. ``synchronize`` is called at each boundary (a GPU backend passes
    ``torch.cuda.synchronize``), so that asynchronous work is charged to the phase that started it.
    """

    def __init__(
        self,
        synchronize: Callable[[], None] | None = None,
        wall: Callable[[], float] = time.perf_counter,
        cpu: Callable[[], float] = time.process_time,
    ) -> None:
        self._synchronize, self._wall, self._cpu = synchronize, wall, cpu
        self._seconds = dict.fromkeys(PHASES, 0.0)
        self._cpu_seconds = 0.0
        self._stack: list[str] = []
        self._since: tuple[float, float] | None = None

    @property
    def running(self) -> bool:
        return self._since is not None

    @property
    def seconds(self) -> float:
        self._settle()
        return sum(self._seconds.values())

    @property
    def cpu_seconds(self) -> float:
        self._settle()
        return self._cpu_seconds

    @property
    def phases(self) -> dict[str, float]:
        """Seconds per phase so far (a copy)."""
        self._settle()
        return dict(self._seconds)

    def start(self) -> None:
        if self._since is None:
            self._since = (self._wall(), self._cpu())

    def stop(self) -> None:
        self._settle()
        self._since = None

    @contextmanager
    def phase(self, name: str) -> Iterator[None]:
        """Charge the block to ``name``; nested blocks take their time away from the outer one."""
        if name not in self._seconds:
            raise ValueError(f"unknown phase {name!r}; phases are {', '.join(PHASES)}")
        self._settle()
        self._stack.append(name)
        try:
            yield
        finally:
            self._settle()
            self._stack.pop()

    @contextmanager
    def off(self) -> Iterator[None]:
        """Take the block off the clock."""
        was_running = self.running
        self.stop()
        try:
            yield
        finally:
            if was_running:
                self.start()

    def _settle(self) -> None:
        if self._since is None:
            return
        if self._synchronize is not None:
            self._synchronize()
        wall, cpu = self._wall(), self._cpu()
        self._seconds[self._stack[-1] if self._stack else DEFAULT_PHASE] += wall - self._since[0]
        self._cpu_seconds += cpu - self._since[1]
        self._since = (wall, cpu)

    def state_dict(self) -> dict[str, Any]:
        return {"phases": self.phases, "cpu_seconds": self.cpu_seconds}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        self._seconds = {name: float(state["phases"][name]) for name in PHASES}
        self._cpu_seconds = float(state["cpu_seconds"])
