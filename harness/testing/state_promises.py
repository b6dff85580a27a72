"""What a strategy promises about its state: it can be saved, loaded, sent to another process, and gone on with."""

from __future__ import annotations

import pickle  # only between objects of this process, to see that a strategy can be sent to a Ray worker
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from harness.records.checkpoint import load_state, save_state
from harness.strategy import Strategy
from harness.testing.subject import Subject, content, forgotten, require, trace

STEPS = 8


def state_round_trip(subject: Subject) -> str:
    """State saved without pickle and loaded into a new strategy is the state: saved again, it has the same content."""
    run = subject.run()
    trace(run, STEPS // 2)
    strategy = run.driver.strategy
    with tempfile.TemporaryDirectory() as folder:
        save_state(Path(folder), strategy.state_dict())
        loaded = subject.build()
        loaded.load_state_dict(load_state(Path(folder)))
    before, after = strategy.state_dict(), loaded.state_dict()
    keys = ", ".join(_differing(before, after))
    require(content(before) == content(after), f"load_state_dict() does not take back {keys}, which state_dict() saved", "load_state_dict")
    return f"{len(content(before)):,} bytes after {STEPS // 2} steps"


def _differing(before: Mapping[str, Any], after: Mapping[str, Any]) -> list[str]:
    return [
        repr(key)
        for part in ("selector", "replay")
        for key in {**before[part], **after[part]}
        if content(before[part].get(key)) != content(after[part].get(key))
    ]


def kill_and_resume(subject: Subject) -> str:
    """Killed in any step after a checkpoint, the run goes on with the batches of the run that was never killed."""
    whole = trace(subject.run(), STEPS)
    killed = subject.run()
    for step in range(1, STEPS):
        trace(killed, 1)
        with tempfile.TemporaryDirectory() as folder:
            save_state(Path(folder), killed.driver.state_dict())
            resumed = subject.run()
            resumed.driver.load_state_dict(load_state(Path(folder)))
        missing = _forgets(killed.driver.strategy, resumed.driver.strategy)
        require(trace(resumed, 1) == whole[step : step + 1], f"resumed after step {step}, the next batch differs{missing}", "state_dict")
        if step == STEPS // 2:
            rest = trace(resumed, STEPS - step - 1)
            require(rest == whole[step + 1 :], f"resumed after step {step}, later batches differ{missing}", "state_dict")
    return f"killed after each of {STEPS - 1} steps, same next batches"


def _forgets(original: Strategy, loaded: Strategy) -> str:
    names = forgotten(original, loaded)
    return f": state_dict() forgets {', '.join(names)}; save it there and take it back in load_state_dict()" if names else ""


def picklable(subject: Subject) -> str:
    """The strategy can be sent to another process (Ray) in the middle of a run."""
    run = subject.run()
    trace(run, 2)
    copy = pickle.loads(pickle.dumps(run.driver.strategy))  # noqa: S301 - our own bytes
    same = content(run.driver.strategy.state_dict()) == content(copy.state_dict())
    require(same, "the unpickled strategy has another state", "state_dict")
    return f"{len(pickle.dumps(run.driver.strategy)):,} bytes after two steps"
