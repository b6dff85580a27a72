"""The command line, as a user and as a script sees it."""

from __future__ import annotations

import json
import subprocess
import sys

import pytest
from toy_place import SUITE, ToyPlace

from tests.edits import edit_file, edited

TWO_SEEDS = edited(SUITE, {"seeds = [1]": "seeds = [1, 2]"})


def test_run_status_plan(place: ToyPlace) -> None:
    """Run, look, run again: plain lines where there is no terminal, exit codes, JSON for scripts."""
    plan = place.halfway("plan", "toy.toml", "--json")
    assert plan.returncode == 0
    rows = json.loads(plan.stdout)
    assert [(row["combination"], row["strategy"], row["seed"], row["state"]) for row in rows] == [
        ("bandit", "grpo", 1, "pending"),
        ("bandit", "grpo-fast", 1, "pending"),
    ]
    assert rows[0]["backend"] == "toy_engine:ToyBackend"
    done = place.halfway("run", "toy.toml", "--only", "strategy=grpo")
    assert done.returncode == 0
    assert "bandit/grpo/1: step 8/8, accuracy 0." in done.stderr
    assert "1 of 1 runs done" in done.stderr
    assert "\x1b" not in done.stderr
    status = place.halfway("status", "toy.toml")
    assert status.returncode == 0
    assert "2 runs: 1 complete, 1 pending" in status.stdout
    row = json.loads(place.halfway("status", "toy.toml", "--json").stdout)[0]
    assert (row["run"], row["state"], row["step"], row["max_steps"]) == (rows[0]["run"], "complete", 8, 8)


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["run", "quik"], "halfway: unknown suite 'quik'; did you mean 'quick'? (known: "),
        (["status", "none.toml"], "halfway: no suite file none.toml"),
        (
            ["plan", "toy.toml", "--only", "sed=1"],
            "halfway: --only sed=1: write key=value with one of the keys combination, strategy, seed",
        ),
        (["plan", "toy.toml", "--only", "strategy=gropo"], "no run of this suite has strategy 'gropo'; did you mean 'grpo'?"),
        (["plan", "toy.toml", "--plugin", "nowhere:X"], "cannot import 'nowhere:X': no module named 'nowhere'"),
        (["plan", "toy.toml", "--plugin", "nowhere"], "'nowhere' is not of the form module:attr"),
        (["report", "toy.toml"], "halfway: no run of suite 'toy' in runs is finished, so there is nothing to report"),
        (["runn"], "No such command 'runn'"),
        (["run"], "Missing argument 'SUITE'"),
        (["run", "toy.toml", "--max-parallel", "0"], "Invalid value for '--max-parallel'"),
    ],
)
def test_bad_input_is_one_sentence(place: ToyPlace, words: list[str], message: str) -> None:
    """Whatever is mistyped: a sentence on stderr, exit code 2, no traceback, nothing created."""
    done = place.halfway(*words)
    assert done.returncode == 2
    assert message in done.stderr
    assert "Traceback" not in done.stderr
    assert done.stdout == ""
    assert not (place.folder / "runs").exists()


def test_a_misspelt_key_stops_every_command(place: ToyPlace) -> None:
    """A suite that cannot be read is refused with file, line and suggestion before anything starts."""
    place.write(edited(SUITE, {"max_steps": "max_stesp"}))
    done = place.halfway("run", "toy.toml")
    assert done.returncode == 2
    assert done.stderr == "halfway: toy.toml, line 10: unknown key 'max_stesp' in [algorithm]; did you mean 'max_steps'?\n"


PLUGIN = '''
from harness.strategy import Selector
from harness.types import Selection

class Lottery(Selector):
    """Questions drawn anew each step."""

    def select(self, num_groups, ctx):
        return Selection(ctx.rng.choice(len(ctx.pool), size=num_groups, replace=False))
'''


def test_a_strategy_from_the_users_folder(place: ToyPlace) -> None:
    """A file beside the suite is a strategy: listed, planned and run, in the worker too."""
    (place.folder / "mine.py").write_text(PLUGIN)
    place.write(SUITE + '\n[[strategies]]\nname = "lottery"\nplugin = "mine:Lottery"\n')
    listed = place.halfway("strategies", "--plugin", "mine:Lottery", "--json")
    row = next(row for row in json.loads(listed.stdout) if row["name"] == "lottery")
    assert row["origin"] == "--plugin mine:Lottery"
    assert row["summary"] == "Questions drawn anew each step."
    done = place.halfway("run", "toy.toml", "--only", "strategy=lottery")
    assert done.returncode == 0, done.stderr


def test_only_combines(place: ToyPlace) -> None:
    """Values of one key are alternatives, different keys must all hold, runs may be named by the start of their id."""
    place.write(TWO_SEEDS)

    def titles(*only: str) -> list[str]:
        words = [word for item in only for word in ("--only", item)]
        rows = json.loads(place.halfway("plan", "toy.toml", "--json", *words).stdout)
        return [f"{row['strategy']}/{row['seed']}/{row['run']}" for row in rows]

    everything = titles()
    assert len(everything) == 4
    assert titles("seed=1", "seed=2", "strategy=grpo") == [title for title in everything if title.startswith("grpo/")]
    run = everything[2].rpartition("/")[2]
    assert titles(f"run={run[:8]}") == [everything[2]]


def test_listing(place: ToyPlace) -> None:
    """Suites, strategies and the environment can be read by a person and by a script."""
    suites = json.loads(place.halfway("list", "--json").stdout)
    quick = next(row for row in suites if row["name"] == "quick")
    assert quick["runs"] >= 6
    assert "grpo" in quick["strategies"]
    strategies = {row["name"]: row for row in json.loads(place.halfway("strategies", "--json").stdout)}
    assert strategies["grpo"]["requires"] == []
    assert strategies["oracle"]["uncharged_oracle"] is True
    assert strategies["rr"]["settings"]["capacity"]["description"]
    doctor = json.loads(place.halfway("doctor", "--json").stdout)
    assert doctor["python"] == ".".join(map(str, sys.version_info[:3]))
    assert {"trl", "verl"} <= {backend["name"] for backend in doctor["backends"]}
    assert all(backend["usable"] or backend["reason"] for backend in doctor["backends"])
    for command in ("list", "strategies", "doctor", "version"):
        done = place.halfway(command)
        assert done.returncode == 0, done.stderr
        assert done.stdout.strip()


HEAVY = ("torch", "transformers", "trl", "verl", "vllm", "ray", "accelerate", "datasets", "pandas", "matplotlib", "pyarrow", "optuna")
PROBE = """
import sys
sys.argv = ["halfway", *sys.argv[1:]]
from harness.cli.main import main
try:
    main()
except SystemExit as end:
    assert not end.code, end.code
loaded = [name for name in {heavy!r} if name in sys.modules]
print("loaded:", loaded, "numpy" in sys.modules, file=sys.stderr)
"""


@pytest.mark.parametrize(
    "words",
    [["--help"], ["run", "--help"], ["version"], ["status", "toy.toml"], ["plan", "toy.toml"], ["list"], ["strategies"], ["doctor"]],
)
def test_light_commands_stay_light(place: ToyPlace, words: list[str]) -> None:
    """No command that only looks loads an engine, torch or a plotting library; help loads not even numpy."""
    done = subprocess.run(
        [sys.executable, "-c", PROBE.format(heavy=HEAVY), *words],
        cwd=place.folder,
        env=place.env(),
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert done.returncode == 0, done.stderr
    loaded = done.stderr.strip().splitlines()[-1]
    assert loaded.startswith("loaded: [] ")
    if words[-1] in ("--help", "version"):
        assert loaded == "loaded: [] False"


def test_running_does_not_load_an_engine(place: ToyPlace) -> None:
    """The runner itself leaves training libraries to its workers."""
    code = PROBE.format(heavy=HEAVY)
    done = subprocess.run(
        [sys.executable, "-c", code, "run", "toy.toml", "--only", "strategy=grpo"],
        cwd=place.folder, env=place.env(), capture_output=True, text=True, timeout=60,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert "loaded: []" in done.stderr


BROKEN_PLUGIN = edited(PLUGIN, {"replace=False": "replace=True"})


def test_check(place: ToyPlace) -> None:
    """The contract suite passes on a sound strategy and fails, with a message and by its exit code, on a broken one."""
    (place.folder / "mine.py").write_text(PLUGIN)
    (place.folder / "broken.py").write_text(BROKEN_PLUGIN)
    good = place.halfway("check", "lottery", "--plugin", "mine:Lottery", "--json")
    assert good.returncode == 0, good.stdout
    assert all(row["passed"] for row in json.loads(good.stdout))
    bad = place.halfway("check", "lottery", "--plugin", "broken:Lottery")
    assert bad.returncode == 1
    assert next(line for line in bad.stdout.splitlines() if line.startswith("legal selections")).split()[2] == "NO"
    assert "lottery keeps 2 of 12 promises" in bad.stdout
    assert "selected a question twice" in bad.stdout


def test_report_from_the_runs(place: ToyPlace) -> None:
    """Run and report in one command: the page and the tables are there, what is not finished is named, torch stays out."""
    done = place.halfway("run", "toy.toml", "--only", "strategy=grpo", "--report", "out")
    assert done.returncode == 0, done.stderr
    header, *rows, target, last = done.stdout.strip().splitlines()
    assert header.split()[:4] == ["combination", "strategy", "runs", "reached"]
    assert [row.split()[:2] for row in rows] == [["bandit", "grpo"]]
    assert target.startswith("target of bandit: ")
    assert last == "report: out/index.html"
    probe = subprocess.run(
        [sys.executable, "-c", PROBE.format(heavy=("torch", "transformers", "trl", "accelerate")), "report", "toy.toml", "-o", "again"],
        cwd=place.folder,
        env=place.env(),
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert probe.returncode == 0, probe.stderr
    assert "1 of 2 runs are not finished and left out of the report" in probe.stderr
    assert "loaded: []" in probe.stderr
    page = (place.folder / "again" / "index.html").read_text(encoding="utf-8")
    assert "grpo" in page
    assert (place.folder / "again" / "results.csv").read_text().count("\n") >= 2


def test_report_leaves_out_what_it_cannot_read(place: ToyPlace) -> None:
    """A damaged ledger is named, the report is made of the others, and the exit code says so."""
    assert place.run()[0].exit_code == 0
    ledger = place.folders()["grpo-fast/1"] / "ledger.jsonl"
    edit_file(ledger, {'"loss":': '"lost":'}, "first")
    done = place.halfway("report", "toy.toml", "-o", "out")
    assert done.returncode == 1
    assert "left out of the report: " in done.stderr
    assert "ledger.jsonl, line " in done.stderr
    assert (place.folder / "out" / "index.html").exists()


def test_a_renamed_label_renames_the_report(place: ToyPlace) -> None:
    """Labels are execution fields: a report uses today's, not those of the day a run began."""
    assert place.run()[0].exit_code == 0
    place.write(edited(SUITE, {'"grpo-fast"': '"renamed"'}))
    assert place.halfway("report", "toy.toml", "-o", "out").returncode == 0
    table = (place.folder / "out" / "results.csv").read_text()
    assert "renamed" in table
    assert "grpo-fast" not in table
