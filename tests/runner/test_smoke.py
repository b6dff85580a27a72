"""``halfway run --smoke``: two steps of every arm, apart from all results."""

from __future__ import annotations

from pathlib import Path

import pytest
from toy_place import SUITE, ToyPlace, new_run

from harness.records.file_locks import FileLock
from harness.records.ledger import read_ledger
from harness.records.run_folder import RunPaths, check_spec
from harness.runner.smoke import smoke_runs, unready
from harness.suite.reader import load_suite
from harness.suite.suite import plan
from tests.edits import edited

TWO_SEEDS = edited(SUITE, {"seeds = [1]": "seeds = [4, 5]"})


def table(stdout: str) -> dict[str, str]:
    """What the table says of every strategy."""
    return dict(line.split(maxsplit=2)[1:] for line in stdout.splitlines() if line.startswith("bandit "))


def test_what_is_tried(tmp_path: Path) -> None:
    """The first seed of each arm, two steps, 16 questions, one attempt, no budget, a folder of its own; all else is the suite's."""
    budget = "[budget]\ngenerated_tokens = 1\n\n[evaluation]\ndiagnostic_questions = 64\nmax_questions = 9"
    (tmp_path / "s.toml").write_text(edited(TWO_SEEDS, {"[evaluation]": budget}), encoding="utf-8")
    runs = plan(load_suite(tmp_path / "s.toml"))
    tried = smoke_runs(runs)
    assert [(run.suite, run.strategy.label, run.seed) for run in tried] == [("toy.smoke", "grpo", 4), ("toy.smoke", "grpo-fast", 4)]
    one = tried[1]
    assert (one.algorithm.max_steps, one.algorithm.learning_rate, one.algorithm.groups_per_step) == (2, 5e-3, 6)
    assert (one.evaluation.every_steps, one.evaluation.max_questions, one.evaluation.diagnostic_questions) == (2, 9, 16)
    assert (one.budget.generated_tokens, one.execution.attempts) == (None, 1)


@pytest.mark.end_to_end
def test_all_arms_work(place: ToyPlace) -> None:
    """Two steps each, no checkpoint left, nothing in the suite's own folder; a second time everything is tried again."""
    place.write(TWO_SEEDS)
    for _ in range(2):
        done = place.halfway("run", "toy.toml", "--smoke")
        assert done.returncode == 0, done.stderr
        assert table(done.stdout) == {"grpo": "ok", "grpo-fast": "ok"}
        assert "2 of 2 arms work" in done.stdout
        folders = sorted((place.folder / "runs" / "toy.smoke").glob("*/ledger.jsonl"))
        logs = [read_ledger(path) for path in folders]
        assert [(len(log.steps), log.complete, len(log.attempts)) for log in logs] == [(2, True, 1)] * 2
        assert not list((place.folder / "runs").glob("*/*/checkpoints/*"))
    assert not place.runs.exists()
    assert "4 pending" in place.halfway("status", "toy.toml").stdout


@pytest.mark.end_to_end
def test_an_arm_that_does_not_work(place: ToyPlace) -> None:
    """It is named with its reason; the others are tried all the same; exit code 1."""
    done = place.halfway("run", "toy.toml", "--smoke", TOY_FAULT="nan@step 2 begins&grpo-fast/1")
    assert done.returncode == 1
    assert table(done.stdout) == {"grpo": "ok", "grpo-fast": "the loss is NaN at step 3; lower the learning rate"}
    assert "1 of 2 arms work" in done.stdout
    killed = place.halfway("run", "toy.toml", "--smoke", TOY_FAULT="kill@step 2 begins&grpo/1")
    assert killed.returncode == 1
    assert table(killed.stdout) == {"grpo": "interrupted at step 1", "grpo-fast": "ok"}


@pytest.mark.end_to_end
def test_an_arm_that_cannot_start(place: ToyPlace) -> None:
    """A missing predictor is a line of the table, not the end of the command."""
    place.write(edited(SUITE, {'name = "grpo"\nlabel = "grpo-fast"': 'name = "dots"\nlabel = "dots"'}))
    done = place.halfway("run", "toy.toml", "--smoke")
    assert done.returncode == 1
    assert table(done.stdout)["grpo"] == "ok"
    assert table(done.stdout)["dots"].startswith("strategy dots (bandit) needs a difficulty predictor")
    assert (place.halfway("run", "toy.toml", "--smoke", TOY_MISSING="1")).stdout.count("toy is not installed") == 2


@pytest.mark.end_to_end
def test_part_of_a_suite(place: ToyPlace) -> None:
    """``--only`` works as usual; options that are about results are refused."""
    done = place.halfway("run", "toy.toml", "--smoke", "--only", "strategy=grpo")
    assert table(done.stdout) == {"grpo": "ok"}
    refused = place.halfway("run", "toy.toml", "--smoke", "--budget", "1h")
    assert (refused.returncode, refused.stdout) == (2, "")
    assert refused.stderr == "halfway: --budget cannot be combined with --smoke, which runs two steps of every arm and keeps no result\n"


@pytest.mark.end_to_end
def test_one_at_a_time(place: ToyPlace) -> None:
    """What another smoke command has made is not removed under it."""
    folder = place.folder / "runs" / "toy.smoke"
    folder.mkdir(parents=True)
    lock = FileLock(folder / ".smoke.lock")
    assert lock.acquire()
    refused = place.halfway("run", "toy.toml", "--smoke")
    lock.release()
    assert refused.returncode == 2
    assert "toy.smoke is being used by process " in refused.stderr


def test_a_smoke_run_is_another_run_than_the_real_one(tmp_path: Path) -> None:
    """Even in one folder they could not be taken for each other: they evaluate on other questions."""
    real = check_spec(RunPaths(new_run(tmp_path)))
    assert smoke_runs([real])[0].run_id != real.run_id


def test_what_does_not_fit_is_said_before_it_is_tried(tmp_path: Path) -> None:
    """A pool smaller than a batch: the sentence that ``plan`` has, in place of a run that ends with it."""
    spec = check_spec(RunPaths(new_run(tmp_path)))
    task = spec.combination.task.model_copy(update={"name": "spell-backward", "config": {"train": 8}})
    larger = spec.model_copy(
        update={
            "combination": spec.combination.model_copy(update={"task": task}),
            "algorithm": spec.algorithm.model_copy(update={"groups_per_step": 16}),
        }
    )
    assert "groups_per_step = 16" in unready([larger], "toy", here=True)[larger.run_id]
    assert unready([larger], "toy", here=False) == {}
