"""``halfway tune`` and the lock file, as a user sees them; once with real workers and real kills."""

from __future__ import annotations

import json
import os
import random
import re
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from toy_place import ToyPlace

from harness.cli.main import main
from harness.records.ledger import read_ledger
from harness.suite.suite import shipped_suites
from harness.tuning.lock_file import TuningLock
from harness.tuning.tuner import Tuner
from tests.edits import edit_file, edited
from tests.tuning.made_up import made_up_suite, write_runs

TOY = """
name = "toy"
seeds = [1]
baseline = "grpo"

[algorithm]
groups_per_step = 6
group_size = 4
max_steps = 8
learning_rate = 1e-3

[evaluation]
every_steps = 1

[target]
accuracy = 0.5

[tuning]
trials = 3
seeds = [11, 12]

[[combinations]]
name = "bandit"
backend = "toy_engine:ToyBackend"
model = "softmax"
task = "tuned_task:Task"

[[strategies]]
name = "grpo"
"""


def timeless(lock: TuningLock) -> dict[str, Any]:
    """A lock without seconds."""
    data = lock.model_dump()
    for study in data["studies"]:
        del study["training_seconds"]
    return data


@pytest.mark.slow
def test_killed_and_started_again(place: ToyPlace) -> None:
    """SIGKILL to command and workers at random moments: the same trials, the same settings as without; then `run` uses them."""
    place.write(TOY)
    place.environment["PYTHONPATH"] = os.pathsep.join([str(Path(__file__).parent), place.env()["PYTHONPATH"]])
    calm = place.halfway("tune", "toy.toml", "--runs-dir", "calm")
    assert calm.returncode == 0, calm.stderr
    folder, rng = place.folder / "wild" / "toy.tuning", random.Random(5)
    for wanted in (1, 4):
        process = place.start("tune", "toy.toml", "--runs-dir", "wild", TOY_STEP_SECONDS="0.05")
        deadline = time.monotonic() + 60
        while len(list(folder.glob("*/ledger.jsonl"))) <= wanted and process.poll() is None and time.monotonic() < deadline:
            time.sleep(0.02)
        time.sleep(rng.random() * 0.5)
        process.send_signal(signal.SIGKILL)
        process.communicate()
    assert not (place.folder / "wild" / "toy" / "lock.toml").exists()
    last = place.halfway("tune", "toy.toml", "--runs-dir", "wild", "--json")
    assert last.returncode == 0, last.stderr
    locks = [TuningLock.read(place.folder / name / "toy" / "lock.toml") for name in ("calm", "wild")]
    assert timeless(locks[0]) == timeless(locks[1])
    assert json.loads(last.stdout)[0]["tuned"] == locks[0].studies[0].winner.value
    assert len(list(folder.glob("*/ledger.jsonl"))) == len({r for t in locks[0].studies[0].trials for r in t.runs})  # none was run twice
    ran = place.halfway("run", "toy.toml", "--runs-dir", "wild")
    assert ran.returncode == 0
    assert "tuned settings from wild/toy/lock.toml" in ran.stderr
    spec = json.loads(next((place.folder / "wild" / "toy").glob("*/spec.json")).read_text(encoding="utf-8"))
    assert spec["algorithm"]["learning_rate"] == locks[0].studies[0].settings["algorithm"]["learning_rate"] != 1e-3
    assert (spec["seed"], spec["evaluation"]["sets"]) == (1, ["test"])


def test_trials_read_the_data_folder(place: ToyPlace) -> None:
    """--data-dir reaches the check for validation questions and the workers; so does HALFWAY_DATA; a missing folder is one sentence."""
    place.write(edited(TOY, {"tuned_task:Task": "tuned_task:FromData"}))
    place.environment["PYTHONPATH"] = os.pathsep.join([str(Path(__file__).parent), place.env()["PYTHONPATH"]])
    (place.folder / "data").mkdir()
    (place.folder / "data" / "questions.json").write_text(json.dumps([f"{i}?" for i in range(48)]), encoding="utf-8")
    missing = place.halfway("tune", "toy.toml", "--trials", "1", "--data-dir", "nowhere")
    assert (missing.returncode, missing.stdout) == (2, "")
    assert "--data-dir nowhere: there is no such folder" in missing.stderr
    done = place.halfway("tune", "toy.toml", "--trials", "1", "--runs-dir", "runs", "--data-dir", "data")
    assert done.returncode == 0, done.stderr
    logs = [read_ledger(path) for path in (place.folder / "runs" / "toy.tuning").glob("*/ledger.jsonl")]
    assert [log.provenance.sources if log.provenance else None for log in logs] == [{"train": {"file": "questions.json"}}] * 2
    again = place.halfway("tune", "toy.toml", "--trials", "1", "--runs-dir", "runs", HALFWAY_DATA=str(place.folder / "data"))
    assert again.returncode == 0, again.stderr


def test_trials_are_forked_from_one_warm_worker(place: ToyPlace) -> None:
    """Every trial is started twice, half-way and to its end, but what it imports is imported once for the whole command."""
    place.write(edited(TOY, {"toy_engine:ToyBackend": "warm_toy:WarmToy"}))
    place.environment["PYTHONPATH"] = os.pathsep.join([str(Path(__file__).parent), place.env()["PYTHONPATH"]])
    trace = place.folder / "trace"
    done = place.halfway("tune", "toy.toml", "--trials", "2", TOY_TRACE=str(trace))
    assert done.returncode == 0, done.stderr
    events = trace.read_text(encoding="utf-8").splitlines()
    assert events.count("trained") >= 4  # two trials on two seeds
    assert sum(event.startswith("preload ") for event in events) == 1


@dataclass
class Place:
    """A folder with the made-up suite, tuned, and the command line in this process."""

    folder: Path
    command: Callable[..., tuple[int, str, str]]

    @property
    def lock(self) -> Path:
        return self.folder / "runs" / "made-up" / "lock.toml"

    def edit(self, old: str, new: str) -> None:
        edit_file(self.folder / "made-up.toml", {old: new})


@pytest.fixture
def tuned(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Place:
    """All trials of the suite are there; `halfway tune` has only to look."""
    suite = made_up_suite(tmp_path)
    Tuner(suite, suite.arms, tmp_path / "runs", 8).run(lambda runs, _: write_runs(runs, tmp_path / "runs"))
    monkeypatch.chdir(tmp_path)

    def halfway(*words: str) -> tuple[int, str, str]:
        monkeypatch.setattr(sys, "argv", ["halfway", *words])
        capsys.readouterr()
        try:
            main()
            code = 0
        except SystemExit as end:
            code = int(end.code or 0)
        out, err = capsys.readouterr()
        assert "Traceback" not in err
        return code, out, err

    return Place(tmp_path, halfway)


@pytest.mark.slow
def test_tune_ends_with_a_table_and_a_lock(tuned: Place) -> None:
    """Best settings per combination and strategy, what they are worth, where they are; the same as JSON."""
    code, out, err = tuned.command("tune", "made-up.toml")
    assert code == 0
    assert re.search(r"first +rr +8 \(\d\) +\d\.\d{3} +0\.\d{3} +2 of 2 +learning_rate = \S+, updates_per_batch = \d, capacity = \d+", out)
    assert "[####################] 32 of 32 trials" in err
    assert f"settings frozen in {tuned.lock.relative_to(tuned.folder)}" in err
    rows = json.loads(tuned.command("tune", "made-up.toml", "--json")[1])
    lock = TuningLock.read(tuned.lock)
    assert [(r["combination"], r["strategy"], r["trials"]) for r in rows] == [(s.combination, s.strategy, 8) for s in lock.studies]
    assert [r["tuned"] for r in rows] == [s.winner.value for s in lock.studies]
    before = tuned.lock.read_bytes()
    tuned.command("tune", "made-up.toml")
    assert tuned.lock.read_bytes() == before


@pytest.mark.slow
def test_plan_uses_the_lock_and_untuned_does_not(tuned: Place) -> None:
    """With the lock other runs are planned than without; a published lock beside the suite counts where the runs folder has none."""
    plain = json.loads(tuned.command("plan", "made-up.toml", "--json")[1])
    tuned.command("tune", "made-up.toml")
    code, out, err = tuned.command("plan", "made-up.toml", "--json")
    assert code == 0
    assert "tuned settings from runs/made-up/lock.toml (tuning seeds 11, 12); --untuned leaves them aside" in err
    with_lock = json.loads(out)
    assert not {r["run"] for r in with_lock} & {r["run"] for r in plain}
    assert tuned.command("plan", "made-up.toml", "--json", "--untuned") == (0, json.dumps(plain, indent=2) + "\n", "")
    tuned.lock.rename(tuned.folder / "made-up.lock.toml")
    assert json.loads(tuned.command("plan", "made-up.toml", "--json")[1]) == with_lock


@pytest.mark.slow
@pytest.mark.parametrize(
    ("old", "new", "words"),
    [
        ("max_steps = 20", "max_steps = 30", "is stale: first/grpo was tuned before the suite's algorithm and baseline settings"),
        ("every_steps = 2", "every_steps = 4", "is stale: first/grpo was tuned before the suite's evaluation settings"),
        ("[tuning]", "[target]\naccuracy = 0.4\n\n[tuning]", "was tuned before the suite's target settings"),
        ("[tuning]", "[tuning]\ntarget = { accuracy = 0.4 }", "was tuned before the suite's target settings"),
        ("[tuning]", "[target]\naccuracy = 0.4\n\n[tuning]\ntarget = { share_of_gain = 0.9 }", None),
        (
            "config = { capacity = 32 }",
            "config = { capacity = 48 }",
            "is stale: first/rr was tuned before the suite's strategy and tuning settings",
        ),
        ("seeds = [1, 2]", "seeds = [1, 11]", "seed 11 is one of the suite's seeds and of tuning.seeds"),
        ('name = "made-up"', 'name = "other"', None),
        ("trials = 8", "trials = 3", None),
        ("seeds = [1, 2]", "seeds = [1, 2, 3]", None),
        ("[tuning]", "[execution]\nthreads = 2\n\n[tuning]", None),
    ],
)
def test_a_stale_lock_is_refused(tuned: Place, old: str, new: str, words: str | None) -> None:
    """What the settings were chosen for has changed: one sentence, before anything starts. What they do not depend on may change."""
    tuned.command("tune", "made-up.toml")
    tuned.edit(old, new)
    code, out, err = tuned.command("plan", "made-up.toml")
    if words is None:
        assert code == 0, err
        return
    assert (code, out) == (2, "")
    assert words in err
    assert "--untuned" in err or "choose other tuning seeds" in err
    assert tuned.command("plan", "made-up.toml", "--untuned")[0] == 0


@pytest.mark.slow
def test_unequal_budgets_are_not_compared(tuned: Place) -> None:
    """An arm tuned more than another, or alone, is no comparison; chosen alone it may run."""
    tuned.command("tune", "made-up.toml", "--only", "strategy=grpo")
    code, _, err = tuned.command("plan", "made-up.toml")
    assert code == 2
    assert "the strategies of first were not tuned alike (trials: grpo 8, rr none)" in err
    assert tuned.command("plan", "made-up.toml", "--only", "strategy=grpo")[0] == 0
    tuned.command("tune", "made-up.toml", "--only", "strategy=rr", "--trials", "5")
    assert "(trials: grpo 8, rr 5)" in tuned.command("plan", "made-up.toml")[2]
    tuned.command("tune", "made-up.toml", "--only", "strategy=rr")  # the other arm's study is kept
    assert tuned.command("plan", "made-up.toml")[0] == 0


@pytest.mark.slow
def test_a_lock_edited_by_hand_is_refused(tuned: Place) -> None:
    """Not TOML, another version, a missing field: one sentence each."""
    tuned.command("tune", "made-up.toml")
    text = tuned.lock.read_text(encoding="utf-8")
    for old, new, words in (
        ("version = 1", "version = 2", "is a lock of version 2"),
        ("[[targets]]", "[[targets", "not valid TOML"),
        ("best = ", "bets = ", "studies.0.best: 'best' is missing; tune again"),
        ('suite = "made-up"', 'suite = "mini"', "was made for suite 'mini'"),
    ):
        tuned.lock.write_text(edited(text, {old: new}, "first"), encoding="utf-8")
        code, _, err = tuned.command("plan", "made-up.toml")
        assert code == 2
        assert words in err


def test_bad_words_to_tune(tuned: Place) -> None:
    """Mistyped filters and a busy folder: a sentence and exit code 2."""
    assert "did you mean 'strategy'?" in tuned.command("tune", "made-up.toml", "--only", "strateg=rr")[2]
    assert (
        "write key=value with one of the keys combination, strategy, backend"
        in tuned.command("tune", "made-up.toml", "--only", "seed=1")[2]
    )
    code, _, err = tuned.command("tune", "made-up.toml", "--only", "strategy=rrr")
    assert (code, "no arm of this suite has strategy 'rrr'; did you mean 'rr'?" in err) == (2, True)
    tuned.edit("[tuning]", "[tuning]\ntrails = 3")
    assert "line 16: unknown key 'trails' in [tuning]" in tuned.command("tune", "made-up.toml")[2]


@pytest.mark.slow
def test_export_for_the_dashboard(tuned: Place) -> None:
    """An SQLite file that Optuna opens, one study each, with values, pruned trials and the runs behind them; nothing is started."""
    import optuna

    code, out, _ = tuned.command("tune", "made-up.toml", "--export", "studies.db")
    assert code == 0
    assert "32 trials of 4 studies in studies.db" in out
    tuned.command("tune", "made-up.toml")
    lock = TuningLock.read(tuned.lock)
    for study in lock.studies:
        loaded = optuna.load_study(study_name=f"{study.combination}/{study.strategy}", storage="sqlite:///studies.db")
        assert loaded.best_trial.number == study.best
        assert loaded.best_value == study.winner.value
        assert [t.state.name.lower() for t in loaded.trials] == [t.state for t in study.trials]
        assert [t.params for t in loaded.trials] == [t.settings for t in study.trials]
    code, _, err = tuned.command("tune", "made-up.toml", "--export", "studies.db")
    assert (code, "studies.db exists" in err) == (2, True)


@pytest.mark.slow
def test_plan_leaves_optuna_alone(tmp_path: Path) -> None:
    """Optuna is loaded by tuning alone, not by commands that merely know of it."""
    code = """if True:
        import runpy, sys
        sys.argv = ["halfway", "plan", "quick", "--runs-dir", sys.argv[1]]
        try:
            runpy.run_module("harness.cli", run_name="__main__")
        except SystemExit as end:
            assert not end.code
        assert "harness.suite.tuning_table" in sys.modules
        assert "optuna" not in sys.modules
    """
    root = Path(__file__).resolve().parents[2]
    done = subprocess.run([sys.executable, "-c", code, str(tmp_path)], capture_output=True, text=True, cwd=root, check=False)
    assert done.returncode == 0, done.stderr


def test_a_published_lock_is_no_suite(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """``mine.lock.toml`` beside ``mine.toml`` is not listed as a suite of its own."""
    for name in ("mine.toml", "mine.lock.toml"):
        (tmp_path / name).touch()
    monkeypatch.setattr("harness.suite.suite.suites_folder", lambda: tmp_path)
    assert [path.name for path in shipped_suites()] == ["mine.toml"]


def test_an_unreadable_lock_is_found_before_the_work(tuned: Place) -> None:
    """A lock that cannot be kept or replaced stops the command at once, not after its trials."""
    tuned.command("tune", "made-up.toml")
    tuned.lock.write_text("version = 9\n", encoding="utf-8")
    code, out, err = tuned.command("tune", "made-up.toml", "--trials", "9")
    assert (code, out) == (2, "")
    assert "is a lock of version 9" in err
    assert "9 of" not in err
