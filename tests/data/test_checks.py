"""``halfway validate``: finds what is wrong with a suite's questions, and nothing where nothing is."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from harness.cli.main import app
from harness.data.checks import check_runs
from harness.suite.reader import load_suite
from harness.suite.suite import plan
from tests.edits import edited

ROOT = Path(__file__).resolve().parents[2]
Write = Callable[[str, str], None]
SUITE = """
name = "small"
seeds = [1, 2]

[algorithm]
groups_per_step = 2
max_prompt_tokens = 100
max_completion_tokens = 512

[evaluation]
sets = ["gsm8k", "math500"]

[[combinations]]
name = "one"
backend = "trl"
model = "some/model"
task = { name = "maths", pool = "orz", train = 5, sets = ["gsm8k", "math500"] }

[[strategies]]
name = "grpo"
"""
GSM8K = [{"question": f"How many apples are {i} apples?", "answer": f"#### {i}"} for i in range(3)]
MATH500 = [{"problem": f"Compute $ {i}+1 $.", "answer": str(i + 1)} for i in range(3)]
POOL = [{"problem": f"Solve $x={i}$.", "answer": str(i)} for i in range(5)]


def validate(*words: str) -> tuple[int, Any]:
    """Exit code and JSON of the command."""
    done = CliRunner().invoke(app, ["validate", *words, "--json"])
    assert done.exception is None or isinstance(done.exception, SystemExit), done.exception
    return done.exit_code, json.loads(done.stdout)


def write_all(data: Write, *, gsm8k: list[Any] = GSM8K, math500: list[Any] = MATH500, pool: list[Any] = POOL) -> None:
    for name, rows in (("gsm8k", gsm8k), ("math500", math500), ("orz", pool)):
        data(f"{name}.json", json.dumps(rows))


@pytest.fixture
def suite(tmp_path: Path) -> str:
    path = tmp_path / "small.toml"
    path.write_text(SUITE)
    return str(path)


@pytest.mark.slow
def test_a_sound_suite_has_no_problems(suite: str, data: Write) -> None:
    """Exit code 0; every set with its size, hash and source; what is not pinned is named; nothing is written."""
    write_all(data)
    before = sorted(Path(suite).parent.rglob("*"))
    code, found = validate(suite)
    assert code == 0
    (task,) = found["tasks"]
    assert task["problems"] == task["notes"] == []
    assert [(s["name"], s["questions"], s["source"]["file"]) for s in task["sets"]] == [
        ("train", 5, "orz.json"), ("gsm8k", 3, "gsm8k.json"), ("math500", 3, "math500.json"),
    ]  # fmt: skip
    assert found["unpinned"] == ["model some/model", "data set Open-Reasoner-Zero/orz_math_57k_collection"]
    assert sorted(Path(suite).parent.rglob("*")) == before


@pytest.mark.slow
def test_what_is_planted_is_found(suite: str, data: Write) -> None:
    """A gold answer that the reward rejects, one that no rule reads, a repeat, a shared question, a prompt too long."""
    pool = [
        {"problem": "Broken?", "answer": "}{"},
        {"problem": "A price in $?", "answer": "\\$"},
        {"problem": "Compute $1+1$", "answer": "2"},
        {"problem": "Twice?", "answer": "1"},
        {"problem": "twice", "answer": "1"},
    ]
    long = [{"question": "x" * 500, "answer": "#### 1"}]
    write_all(data, gsm8k=long, pool=[{**pool[0], "problem": "y" * 151}, *pool[1:]])
    code, found = validate(suite)
    assert code == 1
    (task,) = found["tasks"]
    assert [remark["words"] for remark in task["problems"]] == [
        "train: 1 of 5 gold answers do not score 1.0",
        "math500: 1 of 3 questions are also in the training pool",
    ]
    assert task["problems"][0]["examples"] == ["y" * 89 + "… [gold: }{]"]
    assert task["problems"][1]["examples"] == ["Compute $ 1+1 $. [gold: 2]"]
    assert [remark["words"] for remark in task["notes"]] == [
        "train: 1 of 5 gold answers are read by no rule: a right answer scores 1.0 only as they are spelled",
        "train: 1 of 5 questions are there more than once",
        "train: 1 of 5 prompts may be longer than max_prompt_tokens",
    ]


@pytest.mark.slow
def test_a_variant_of_a_training_question_is_worth_a_look(suite: str, data: Write) -> None:
    """Fourteen words in common with a training question, other numbers: a note, no problem; the same question is only a problem."""
    story = "A farmer has many apples and gives half of them to his oldest neighbour"
    pool = [{"problem": f"{story}; {i} are left", "answer": str(i)} for i in range(3, 8)]
    write_all(data, pool=pool, math500=[{"problem": f"{story}; 9 are left", "answer": "9"}, pool[0]])
    code, found = validate(suite)
    assert code == 1
    (task,) = found["tasks"]
    assert [remark["words"] for remark in task["problems"]] == ["math500: 1 of 2 questions are also in the training pool"]
    assert [remark["words"] for remark in task["notes"]] == [
        "math500: 1 of 2 questions share 13 words in a row with a training question, without being the same: variants, or a common source"
    ]


@pytest.mark.slow
def test_wrong_answers_that_score_are_found(suite: str, data: Write) -> None:
    """A gold that 0.0 answers is a problem; one that another question's gold answers is worth a look."""
    golds = [r"\frac{1}{2}", "0.5", "7-7", "10^{-12}"]
    write_all(data, math500=[{"problem": f"Question {i}?", "answer": gold} for i, gold in enumerate(golds)])
    code, found = validate(suite)
    assert code == 1
    (task,) = found["tasks"]
    zero = "math500: 1 of 4 questions give 0.0 a full score: is their gold answer zero?"
    assert [(remark["words"], remark["examples"]) for remark in task["problems"]] == [(zero, ["Question 2? [gold: 7-7]"])]
    equal = "math500: 1 of 4 questions accept the gold answer of another question, written differently: equal, or accepted by mistake"
    assert [(remark["words"], remark["examples"]) for remark in task["notes"]] == [
        (equal, [r"Question 0? [gold: \frac{1}{2}, accepts: 0.5]"])
    ]


@pytest.mark.slow
def test_data_and_predictors_that_are_not_there(suite: str, data: Write, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Each is a problem in one sentence; the other combinations are checked all the same."""
    monkeypatch.chdir(tmp_path)
    write_all(data)
    task = 'task = { name = "maths", pool = "deepmath", train = 2 }'
    other = f'[[combinations]]\nname = "two"\nbackend = "trl"\nmodel = "m"\n{task}\n\n[[strategies]]'
    dots = '\n[[strategies]]\nname = "dots"\nconfig = { predictor = "nowhere" }\n'
    Path(suite).write_text(edited(SUITE, {"[[strategies]]": other}) + dots)
    data("deepmath.json", "[]")
    code, found = validate(suite)
    assert code == 1
    assert found["problems"] == ["strategy dots (one, two) needs a difficulty predictor in nowhere, which is not there"]
    first, second = found["tasks"]
    assert first["problems"] == []
    (problem,) = second["problems"]
    assert "deepmath.json: it holds no rows" in problem["words"]
    assert validate(suite, "--combination", "one")[1]["tasks"] == [first]


@pytest.mark.slow
def test_nonsense_that_scores_is_found(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """reasoning-gym's ``game_of_life_halting`` gives any answer a full score."""
    settings = "train = 20, test = 10, validation = 0, adapter = 0, warm_up = 0"
    text = edited(SUITE, {'sets = ["gsm8k", "math500"]\n\n': 'sets = ["test"]\n\n'}).partition("task = ")[0]
    suite = tmp_path / "life.toml"
    strategies = '\n[[strategies]]\nname = "grpo"\n'
    suite.write_text(f'{text}task = {{ name = "reasoning-gym", family = "game_of_life_halting", {settings} }}\n{strategies}')
    code, found = validate(str(suite))
    assert code == 1
    assert any("questions give nonsense a full score" in remark["words"] for remark in found["tasks"][0]["problems"])


@pytest.mark.slow
def test_for_a_person(suite: str, data: Write) -> None:
    """A table, the problems with examples, a last line that says how many; progress goes to the other stream."""
    write_all(data, math500=[*MATH500, POOL[0]])
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "NO_COLOR": "1"}
    done = subprocess.run(
        [sys.executable, "-m", "harness.cli", "validate", suite], env=environment, capture_output=True, text=True, timeout=120
    )
    assert done.returncode == 1
    assert "math500  4          4                0                 0         1 " in done.stdout
    assert "PROBLEM  math500: 1 of 4 questions are also in the training pool\n           Solve $x=0$. [gold: 0]" in done.stdout
    assert "not pinned: model some/model (a run records the commit that it got)" in done.stdout
    assert done.stdout.splitlines()[-1] == "1 problem"
    assert done.stderr.splitlines()[0] == "reading one"


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["quik"], "unknown suite 'quik'; did you mean 'quick'?"),
        (["paper", "--combination", "qwen2.5-3b-deepscale"], "has no such combination; did you mean 'qwen2.5-3b-deepscaler'?"),
        (["paper", "--data-dir", "nowhere"], "--data-dir nowhere: there is no such folder"),
    ],
)
def test_bad_input_is_one_sentence(words: list[str], message: str) -> None:
    """As everywhere: a sentence, exit code 2."""
    done = CliRunner().invoke(app, ["validate", *words])
    assert message in str(done.exception)
    assert getattr(done.exception, "exit_code", None) == 2


def test_own_data_with_an_embedded_model_and_a_missing_set(tmp_path: Path) -> None:
    """What cannot be built is a problem with its remedy, before anything starts; so are questions of both files and unknown sets."""
    rows = [{"question": f"{i}+1=", "answer": i + 1} for i in range(6)]
    for name, some in (("pool.jsonl", rows), ("far.jsonl", [*rows[:2], {"question": "9+1=", "answer": 10}])):
        (tmp_path / name).write_text("\n".join(map(json.dumps, some)), encoding="utf-8")
    suite = tmp_path / "own.toml"
    suite.write_text(
        'name = "own"\nseeds = [1]\n[algorithm]\ngroups_per_step = 4\n'
        '[[combinations]]\nname = "own"\nbackend = "trl"\nmodel = "embedded:llama-64x2"\n'
        'task = { name = "jsonl", file = "pool.jsonl", evaluation = ["far.jsonl"], reward = "number" }\n[[strategies]]\nname = "grpo"\n'
    )
    (check,) = check_runs(plan(load_suite(suite)), lambda *_: None)
    problems = [remark.words for remark in check.problems]
    assert problems[0] == "there is no evaluation set 'test' (the task has train, far); name the sets under [evaluation] sets"
    assert "'embedded:llama-64x2' cannot be built for it; give the task some with its setting warm_up" in problems[1]
    assert problems[2:] == ["far: 2 of 3 questions are also in the training pool"]
    assert [remark.words for remark in check.notes] == [
        "pool.jsonl: questions from 'question', answers from 'answer'",
        "pool.jsonl: 6 answers are numbers and are used as texts",
        "far.jsonl: questions from 'question', answers from 'answer'",
        "far.jsonl: 3 answers are numbers and are used as texts",
    ]
