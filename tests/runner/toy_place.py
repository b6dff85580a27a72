"""A folder with a toy suite, and ways to run it for real: by the command line, by workers, by forked attempts."""

from __future__ import annotations

import io
import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from harness.display.lines import LineDisplay
from harness.machine.environment import package_versions
from harness.records.ledger import read_ledger
from harness.records.run_folder import RunPaths, run_paths, run_status
from harness.runner.suite_runner import SuiteResult, run_suite
from harness.suite.reader import load_suite
from harness.suite.suite import plan

HERE = Path(__file__).resolve().parent
ROOT = HERE.parents[1]
SUITE = """
name = "toy"
description = "A toy."
seeds = [1]
baseline = "grpo"

[algorithm]
groups_per_step = 6
group_size = 4
max_steps = 8

[evaluation]
every_steps = 2

[execution]
checkpoint_every_steps = 3

[[combinations]]
name = "bandit"
backend = "toy_engine:ToyBackend"
model = "softmax"
task = "toy_engine:ToyTask"

[[strategies]]
name = "grpo"

[[strategies]]
name = "grpo"
label = "grpo-fast"
algorithm = { learning_rate = 5e-3 }
"""


@dataclass
class ToyPlace:
    """A folder with ``toy.toml``; commands run in it as a user would run them."""

    folder: Path
    environment: dict[str, str] = field(default_factory=dict)
    started: list[subprocess.Popen[str]] = field(default_factory=list)

    @property
    def suite(self) -> Path:
        return self.folder / "toy.toml"

    @property
    def runs(self) -> Path:
        return self.folder / "runs" / "toy"

    def write(self, text: str = SUITE) -> Path:
        self.suite.write_text(text, encoding="utf-8")
        return self.suite

    def env(self, **extra: str) -> dict[str, str]:
        path = os.pathsep.join([str(ROOT), str(HERE)])
        clean = {k: v for k, v in os.environ.items() if not k.startswith(("TOY_", "HALFWAY_", "COV_"))}
        own = {"PYTHONPATH": path, "HALFWAY_CACHE": str(self.folder / "cache"), "OMP_NUM_THREADS": "1", "NO_COLOR": "1"}
        return {**clean, **own, **self.environment, **extra}

    def run(self, *, only: str | None = None, max_parallel: int = 2, retry_failed: bool = False, **extra: str) -> tuple[SuiteResult, str]:
        """What ``halfway run`` does, without starting an interpreter for it; the result and what it printed."""
        text = io.StringIO()
        with self._here(extra):
            runs = [spec for spec in plan(load_suite(self.suite)) if only in (None, f"{spec.strategy.label}/{spec.seed}")]
            result = run_suite(runs, Path("runs"), LineDisplay(text), max_parallel=max_parallel, retry_failed=retry_failed)
        return result, text.getvalue()

    @contextmanager
    def _here(self, extra: dict[str, str]) -> Iterator[None]:
        before, folder = dict(os.environ), Path.cwd()
        os.environ.clear()
        os.environ.update(self.env(**extra))
        os.chdir(self.folder)
        try:
            yield
        finally:
            os.environ.clear()
            os.environ.update(before)
            os.chdir(folder)

    def halfway(self, *words: str, **extra: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [sys.executable, "-m", "harness.cli", *words],
            cwd=self.folder,
            env=self.env(**extra),
            capture_output=True,
            text=True,
            timeout=60,
        )

    def python(self, code: str) -> subprocess.CompletedProcess[str]:
        """A piece of Python in the folder, as a process of its own."""
        return subprocess.run(
            [sys.executable, "-c", code], cwd=self.folder, env=self.env(), capture_output=True, text=True, timeout=60
        )  # fmt: skip

    def start(self, *words: str, **extra: str) -> subprocess.Popen[str]:
        process = subprocess.Popen(
            [sys.executable, "-m", "harness.cli", *words],
            cwd=self.folder, env=self.env(**extra), stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
        )  # fmt: skip
        self.started.append(process)
        return process

    def worker(self, run_dir: Path, **extra: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [sys.executable, "-m", "harness.worker", str(run_dir)],
            cwd=self.folder, env=self.env(**extra), capture_output=True, text=True, timeout=60,
        )  # fmt: skip

    def folders(self) -> dict[str, Path]:
        """Folders of the suite's runs by label/seed."""
        specs = plan(load_suite(self.suite))
        return {f"{spec.strategy.label}/{spec.seed}": run_paths(self.folder / "runs", spec).root for spec in specs}

    def states(self) -> dict[str, str]:
        """State of every run of the suite as it is now, by label/seed."""
        specs = {f"{spec.strategy.label}/{spec.seed}": spec for spec in plan(load_suite(self.suite))}
        return {name: run_status(RunPaths(folder), specs[name]).state for name, folder in self.folders().items()}


@pytest.fixture
def place(tmp_path: Path) -> Iterator[ToyPlace]:
    made = ToyPlace(tmp_path)
    made.write()
    yield made
    for process in made.started:
        if process.poll() is None:
            process.kill()
        process.communicate()


def wait_for(condition: Callable[[], Any], seconds: float = 60.0) -> Any:
    """Poll until ``condition`` gives something true; its value."""
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        if value := condition():
            return value
        time.sleep(0.01)
    raise AssertionError(f"waited {seconds} s in vain")


def what_counts(run_dir: Path) -> dict[str, Any]:
    """What must be equal however often a run was killed: everything but seconds and attempts."""
    log = read_ledger(run_dir / "ledger.jsonl")
    timeless = {"training_seconds", "cpu_seconds"}
    costs = [{k: v for k, v in e.costs.to_json().items() if k not in timeless} for e in (*log.steps, *log.evaluations)]
    return {
        "id": log.run_id,
        "steps": [(s.step, s.question_ids, s.pass_rates, s.replayed_question_ids, s.loss) for s in log.steps],
        "evaluations": [(e.step, e.accuracy) for e in log.evaluations],
        "costs": costs,
        "one_off": log.one_off,
        "complete": log.complete,
    }


def alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    status = Path(f"/proc/{pid}/status")
    return not status.exists() or "State:\tZ" not in status.read_text()


def children(pid: int) -> list[int]:
    """Living child processes of ``pid`` (Linux)."""
    found = []
    for stat in Path("/proc").glob("[0-9]*/stat"):
        try:
            fields = stat.read_text().rpartition(")")[2].split()
        except OSError:
            continue
        if int(fields[1]) == pid and fields[0] != "Z":
            found.append(int(stat.parent.name))
    return found


def fork_attempt(run_dir: Path, **environment: str) -> int:
    """One attempt in a forked child, without the start-up of an interpreter; its exit code, or minus the signal that killed it."""
    return fork_attempt_saying(run_dir, **environment)[0]


def fork_attempt_saying(run_dir: Path, **environment: str) -> tuple[int, str]:
    """The same, with what the attempt said on stderr."""

    def attempt() -> int:
        for name in [name for name in os.environ if name.startswith("TOY_")]:
            del os.environ[name]
        os.environ.update(environment, HALFWAY_CACHE=str(run_dir.parent / "cache"))
        from harness.worker.attempt import run_attempt

        return run_attempt(run_dir)

    return in_a_child(attempt)


def in_a_child(work: Callable[[], int]) -> tuple[int, str]:
    """Exit code (or minus the signal) and stderr of ``work`` in a forked child; stderr is a pipe, which no full disk closes."""
    package_versions()  # once here, not in every child
    reader, writer = os.pipe()
    child = os.fork()
    if child == 0:
        code = 99
        try:
            os.close(reader)
            os.dup2(writer, 2)
            code = work()
        finally:
            os._exit(code)
    os.close(writer)
    with open(reader, "rb") as said:
        words = said.read().decode()
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]), words


def new_run(folder: Path, text: str = SUITE, index: int = 0) -> Path:
    """The folder of one run of a suite, with its spec.json and nothing else."""
    folder.mkdir(parents=True, exist_ok=True)
    file = folder / "suite.toml"
    file.write_text(text, encoding="utf-8")
    spec = plan(load_suite(file))[index]
    paths = run_paths(folder / "runs", spec)
    paths.root.mkdir(parents=True)
    spec.save(paths.spec)
    return paths.root
