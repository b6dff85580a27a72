"""The clock: exclusive phases that add up, paused off the clock, continued after a resume."""

from __future__ import annotations

import pytest

from harness.step.clock import Clock


class Time:
    """A time that tests set."""

    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def time() -> Time:
    return Time()


def test_nested_phases_are_exclusive_and_add_up(time: Time) -> None:
    """5 s select with 2 s probe inside: select gets 3; outside of phases it is update."""
    clock = Clock(wall=time, cpu=time)
    clock.start()
    time.now += 1
    with clock.phase("select"):
        time.now += 2
        with clock.phase("probe"):
            time.now += 2
        time.now += 1
    time.now += 4
    assert clock.phases == {
        "probe": 2, "select": 3, "rollout": 0, "reward": 0, "log_probs": 0, "replay": 0, "update": 5,
    }  # fmt: skip
    assert clock.seconds == clock.cpu_seconds == 10


def test_off_the_clock_costs_nothing(time: Time) -> None:
    """Evaluation inside a phase stops everything and the phase goes on afterwards."""
    clock = Clock(wall=time, cpu=time)
    clock.start()
    with clock.phase("rollout"):
        time.now += 1
        with clock.off():
            time.now += 50
        time.now += 2
    assert clock.phases["rollout"] == clock.seconds == 3


def test_before_start_and_after_stop_nothing_counts(time: Time) -> None:
    """Start-up is off the clock, and off() does not start a clock that was not running."""
    clock = Clock(wall=time, cpu=time)
    time.now += 5
    with clock.off():
        time.now += 5
    with clock.phase("select"):
        time.now += 5
    clock.start()
    time.now += 1
    clock.stop()
    time.now += 5
    assert clock.seconds == 1


def test_a_resumed_clock_goes_on_where_the_checkpoint_was(time: Time) -> None:
    """The work lost in a crash is neither counted twice nor free."""
    clock = Clock(wall=time, cpu=time)
    clock.start()
    with clock.phase("rollout"):
        time.now += 3
    state = clock.state_dict()
    time.now += 100  # lost
    resumed = Clock(wall=time, cpu=time)
    resumed.load_state_dict(state)
    resumed.start()
    time.now += 2
    assert resumed.phases["rollout"] == 3
    assert resumed.seconds == 5


def test_an_exception_closes_its_phase(time: Time) -> None:
    """What follows a failed phase is not charged to it."""
    clock = Clock(wall=time, cpu=time)
    clock.start()
    with pytest.raises(RuntimeError), clock.phase("reward"):
        raise RuntimeError
    time.now += 1
    assert clock.phases["update"] == 1
    with pytest.raises(ValueError, match="unknown phase 'rollouts'"), clock.phase("rollouts"):
        pass


def test_synchronize_is_called_at_every_boundary(time: Time) -> None:
    """Asynchronous device work is charged to the phase that started it."""
    pending = [0.0]

    def synchronize() -> None:
        time.now += pending[0]
        pending[0] = 0.0

    clock = Clock(synchronize, wall=time, cpu=time)
    clock.start()
    with clock.phase("rollout"):
        pending[0] = 7.0
    time.now += 1
    assert clock.phases["rollout"] == 7
    assert clock.phases["update"] == 1
