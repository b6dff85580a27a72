"""What happens when a part of a verl run dies, fails, hangs or fills up: a clear state, and the run goes on from its checkpoint."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from harness.errors import Interrupted, RunFailed
from harness.records.checkpoint import newest_complete
from harness.records.ledger import read_ledger
from harness.spec import BudgetSpec, RunSpec
from harness.testing.backend_contract import contract_spec
from tests.backends.verl.recording import record

pytestmark = [pytest.mark.slow_verl, pytest.mark.timeout(1500)]


def short_spec(steps: int = 3, **execution: Any) -> RunSpec:
    spec = contract_spec("verl", **{"checkpoint_every_steps": 1, **execution})
    return spec.model_copy(update={"algorithm": spec.algorithm.model_copy(update={"max_steps": steps})})


RUN = short_spec().run_id
"""Name of a run's folder, as the worker expects it."""


def worker(spec: RunSpec, run_dir: Path, cache: Path) -> subprocess.Popen[bytes]:
    """One worker on one run folder, as the runner starts it."""
    run_dir.mkdir(parents=True, exist_ok=True)
    if not (run_dir / "spec.json").exists():
        spec.save(run_dir / "spec.json")
    environment = {**os.environ, "HALFWAY_CACHE": str(cache), "OMP_NUM_THREADS": "1"}
    return subprocess.Popen([sys.executable, "-m", "harness.worker", str(run_dir)], env=environment, start_new_session=True)


def wait_for(worker_: subprocess.Popen[bytes], reached: Callable[[], bool], seconds: float = 600) -> None:
    deadline = time.monotonic() + seconds
    while not reached():
        assert worker_.poll() is None, "the worker ended too early"
        assert time.monotonic() < deadline
        time.sleep(0.05)


def has_step(run_dir: Path, step: int) -> Callable[[], bool]:
    path = run_dir / "ledger.jsonl"
    before = path.stat().st_size if path.exists() else 0
    return lambda: path.exists() and f'{{"type":"checkpoint","step":{step},'.encode() in path.read_bytes()[before:]


def descendants(pid: int) -> list[Any]:
    import psutil

    return psutil.Process(pid).children(recursive=True)


def numbers(run_dir: Path) -> Any:
    log = read_ledger(run_dir / "ledger.jsonl")
    steps = [(s.step, s.question_ids, s.pass_rates, s.replayed_question_ids, s.costs.generated_tokens) for s in log.steps]
    return steps, [(e.step, e.accuracy) for e in log.evaluations]


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory: pytest.TempPathFactory, cache: Path) -> Path:
    folder = tmp_path_factory.mktemp("undisturbed") / RUN
    assert worker(short_spec(), folder, cache).wait(900) == 0
    return folder


@pytest.mark.fault("SIGKILL of a verl worker in the middle of a step", "Ray ends with it; same records as undisturbed")
def test_a_killed_run_goes_on_and_leaves_nothing_behind(tmp_path: Path, cache: Path, undisturbed: Path) -> None:
    """SIGKILL of the worker in the middle of a step: Ray ends with it; started again, the run gives the numbers of one never killed."""
    import psutil

    first = worker(short_spec(), tmp_path / RUN, cache)
    wait_for(first, has_step(tmp_path / RUN, 1))
    below = descendants(first.pid)
    assert below
    first.kill()
    first.wait()
    _, alive = psutil.wait_procs(below, timeout=240)
    assert not alive, alive
    assert worker(short_spec(), tmp_path / RUN, cache).wait(900) == 0
    assert numbers(tmp_path / RUN) == numbers(undisturbed)


@pytest.mark.fault("SIGKILL of a Ray worker in the middle of a verl step", "started again from its checkpoint, same records as undisturbed")
@pytest.mark.parametrize("victim", ["ray::WorkerDict", "ray::AgentLoopWorker", "ray::Server"])
def test_a_ray_worker_killed_in_the_middle_of_a_step(victim: str, tmp_path: Path, cache: Path, undisturbed: Path) -> None:
    """Trainer, agent loop or inference engine dies: the attempt ends as interrupted, which the runner starts again, and goes on."""
    first = worker(short_spec(), tmp_path / RUN, cache)
    wait_for(first, has_step(tmp_path / RUN, 1))
    found = [p for p in descendants(first.pid) if " ".join(p.cmdline()).startswith(victim)]
    assert found, [p.cmdline() for p in descendants(first.pid)]
    found[0].send_signal(signal.SIGKILL)
    assert first.wait(300) == Interrupted.exit_code
    assert read_ledger(tmp_path / RUN / "ledger.jsonl").failure is None
    assert worker(short_spec(), tmp_path / RUN, cache).wait(900) == 0
    assert numbers(tmp_path / RUN) == numbers(undisturbed)


def test_a_checkpoint_of_verl_without_ours_does_not_count(
    tmp_path: Path, cache: Path, undisturbed: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Cut off between verl's part and ours, a run goes on from the checkpoint before, to the numbers of one that was left alone."""
    from harness.records import checkpoint

    own = checkpoint.save_state

    def cut(folder: Path, state: Any) -> None:
        if folder.name == "step-2":
            raise Interrupted("cut off")
        own(folder, state)

    monkeypatch.setattr(checkpoint, "save_state", cut)
    folder = tmp_path / RUN
    with pytest.raises(Interrupted, match="cut off"):
        record(short_spec(), folder, cache)
    monkeypatch.undo()
    assert (folder / "checkpoints" / "step-2" / "global_step_2").is_dir()
    found = newest_complete(folder / "checkpoints")
    assert found is not None
    assert found[0] == 1
    assert worker(short_spec(), folder, cache).wait(900) == 0
    assert numbers(folder) == numbers(undisturbed)


@pytest.mark.parametrize(
    ("loop", "words"), [("Raising", "prompts failed in verl's agent loop"), ("GivingUp", "TimeoutError: the engine gives up")]
)
def test_a_prompt_that_fails(loop: str, words: str, tmp_path: Path, cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The run ends with the reason and its checkpoint; once the cause is removed it goes on from there."""
    import backends.verl.run as run

    yaml = tmp_path / "loop.yaml"
    yaml.write_text(f"- name: halfway\n  _target_: tests.backends.verl.broken.{loop}\n")
    own = run.run_settings

    def broken(*args: Any, **kwargs: Any) -> dict[str, Any]:
        return {**own(*args, **kwargs), "actor_rollout_ref.rollout.agent.agent_loop_config_path": str(yaml)}

    monkeypatch.setattr(run, "run_settings", broken)
    with pytest.raises(RunFailed, match=words) as caught:
        record(short_spec(), tmp_path / "run", cache)
    assert caught.value.kind == "rollout-failed"
    monkeypatch.undo()
    found = newest_complete(tmp_path / "run" / "checkpoints")
    assert found is not None
    assert found[0] == 1
    rest = record(short_spec(2), tmp_path / "run", cache, found[1])
    assert [s.step for s in rest.log.steps] == [1, 2]


def test_a_spent_budget_ends_the_run_at_a_checkpoint(tmp_path: Path, cache: Path) -> None:
    """A run past its budget ends after the step, through verl's own loop, with a complete checkpoint to go on from."""
    spec = short_spec(checkpoint_every_steps=100).model_copy(update={"budget": BudgetSpec(generated_tokens=1)})
    training = record(spec, tmp_path / "run", cache)
    assert [s.step for s in training.log.steps] == [1]
    found = newest_complete(tmp_path / "run" / "checkpoints")
    assert found is not None
    assert found[0] == 1


def test_a_reward_that_hangs(tmp_path: Path, cache: Path) -> None:
    """The shared reward service stops it, by name, as on every backend."""
    spec = short_spec(1, reward_seconds=0.2)
    task = spec.combination.task.model_copy(update={"name": "tests.backends.verl.broken:Hangs"})
    spec = spec.model_copy(update={"combination": spec.combination.model_copy(update={"task": task})})
    with pytest.raises(RunFailed, match="broken:hangs") as caught:
        record(spec, tmp_path / "run", cache)
    assert caught.value.kind == "reward-hangs"


def test_a_full_object_store(tmp_path: Path, cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Memory full and no room to spill: the sentence says which setting to raise, and the checkpoint before it counts."""
    import numpy as np
    import ray

    from backends.verl.session import VerlSession

    engine = {
        "+ray_kwargs.ray_init.object_store_memory": 90_000_000,
        "+ray_kwargs.ray_init._system_config.local_fs_capacity_threshold": 0.0,
        "+ray_kwargs.ray_init._system_config.local_fs_monitor_interval_ms": 10,
    }
    own, kept = VerlSession.next_batch, []

    def greedy(self: Any) -> Any:
        if self.run.driver.step == 1:
            kept.extend(ray.put(np.zeros(2_000_000)) for _ in range(40))
        return own(self)

    monkeypatch.setattr(VerlSession, "next_batch", greedy)
    with pytest.raises(RunFailed, match="object_store_memory") as caught:
        record(short_spec(engine=engine), tmp_path / "run", cache)
    assert caught.value.kind == "object-store"
    found = newest_complete(tmp_path / "run" / "checkpoints")
    assert found is not None
    assert found[0] == 1
