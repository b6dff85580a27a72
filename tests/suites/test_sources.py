"""Reading data sets: every file format, every shape of record, the hub through its own library, and words where there is nothing."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from collections.abc import Callable
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from harness.task import TaskError
from suites.tasks.maths import SOURCES
from suites.tasks.pools import read_items
from suites.tasks.rows import AnswerError, final_answer, question_text
from suites.tasks.science import MMLU, POOL
from suites.tasks.sources import Source, pins

ROOT = Path(__file__).resolve().parents[2]
ROWS = [{"problem": "1+1?", "answer": "2"}, {"problem": "1+2?", "answer": "3"}]


@pytest.mark.parametrize(
    ("row", "question", "answer"),
    [
        ({"problem": "P?", "answer": "\\frac12"}, "P?", "\\frac12"),
        ({"question": "Q?", "final_answer": 7}, "Q?", "7"),
        ({"question": "Q?", "answer": "He has 2 * 3 = <<2*3=6>>6.\n#### 1,234,567"}, "Q?", "1234567"),
        ({"problem": "P?", "level": "Level 5", "solution": "so \\boxed{1}, no, $\\boxed{\\frac{1}{2}}$."}, "P?", "\\frac{1}{2}"),
        ({"problem": "P?", "solution": "which is $\\boxed 9$."}, "P?", "9"),
        ({"problem": "P?", "solution": "no box"}, "P?", ""),
        ({"problem": "P?", "answer": "$-3$, $f(x)=x$"}, "P?", "-3, f(x)=x"),
        ({"problem": "P?", "answer": "\\$32"}, "P?", "\\$32"),
        ({"problem": "P?", "answer": "\\boxed{4}"}, "P?", "4"),
        ({"problem": "P?", "answer": ""}, "P?", ""),
        ({"problem": "P?", "answer": float("nan")}, "P?", ""),
        ({"problem": "P?", "answer": None, "solution": "\\boxed{2}"}, "P?", "2"),
        ({"problem": "P?", "answer": 0.5}, "P?", "0.5"),
        ({"question": "Q?", "final_answer": ["9.6\n", "$9.60$\n"]}, "Q?", "9.60"),
        (
            {
                "prompt": [{"role": "user", "content": "V? Let's think step by step and output the final answer within \\boxed{}."}],
                "reward_model": {"ground_truth": ["5"], "style": "rule"},
                "extra_info": {"index": 0},
            },
            "V?",
            "5",
        ),
        (
            {
                "prompt": [{"role": "system", "content": "think"}, {"role": "user", "content": "W?"}],
                "reward_model": {"ground_truth": "6"},
                "extra_info": {"question": "W?", "answer": "6"},
            },
            "W?",
            "6",
        ),
        ({"0": {"from": "human", "value": "O?"}, "1": {"from": "assistant", "ground_truth": {"value": "8"}}}, "O?", "8"),
        ({"prompt": [{"from": "user", "value": "A?"}], "final_answer": "73"}, "A?", "73"),
        ({"text": "nothing of the kind"}, "", ""),
    ],
)
def test_question_and_answer_of_every_shape(row: dict[str, Any], question: str, answer: str) -> None:
    """GSM8K, MATH, MATH-500, DeepScaleR, DeepMath, Open-Reasoner-Zero and verl files give the same two things."""
    assert (question_text(row), final_answer(row)) == (question, answer)


def write_parquet(path: Path) -> None:
    pd.DataFrame(ROWS).to_parquet(path)


@pytest.mark.parametrize(
    ("name", "write"),
    [
        ("toy.parquet", write_parquet),
        ("toy.jsonl", lambda path: path.write_text("\n".join(map(json.dumps, ROWS)) + "\n\n")),
        ("toy.json", lambda path: path.write_text(json.dumps(ROWS))),
        ("other.json", lambda path: path.write_text(json.dumps(ROWS))),
    ],
)
def test_every_format_gives_the_same_rows(
    name: str, write: Callable[[Path], object], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Under each name that is looked for; the file and its hash are in the facts."""
    write(tmp_path / name)
    monkeypatch.setenv("HALFWAY_DATA", str(tmp_path))
    rows, origin = Source("toy", ("toy", "other"), "nobody/toy").read()
    assert rows == ROWS
    assert origin["file"] == name
    assert len(origin["sha256"]) == 64


@pytest.mark.parametrize(
    ("name", "text", "words"),
    [
        ("toy.jsonl", '{"problem": "1+1?"', "cannot read "),
        ("toy.json", '{"problem": "1+1?"}', "not a list of records"),
        ("toy.json", "[1, 2]", "record 1: 1 is not a record"),
        ("toy.json", "[]", "holds no rows"),
        ("toy.parquet", "no parquet", "cannot read "),
    ],
)
def test_a_broken_file_is_one_sentence(name: str, text: str, words: str, data: Callable[[str, str], None]) -> None:
    """The file is named; no traceback, no half-read data."""
    data(name, text)
    with pytest.raises(TaskError, match=words) as caught:
        Source("toy", ("toy",), "nobody/toy").read()
    assert name in str(caught.value)
    assert "\n" not in str(caught.value)


needs_datasets = pytest.mark.skipif(find_spec("datasets") is None, reason="the hub is read through the package datasets")


def run_offline(code: str, folder: Path) -> subprocess.CompletedProcess[str]:
    """Python in a folder, with the hub's library told that there is no network."""
    environment = {k: v for k, v in os.environ.items() if not k.startswith(("HF_", "HALFWAY_"))}
    own = {"PYTHONPATH": str(ROOT), "HF_HUB_OFFLINE": "1", "HF_HOME": str(folder / "hf-home")}
    return subprocess.run([sys.executable, "-c", code], cwd=folder, env={**environment, **own}, capture_output=True, text=True, timeout=120)


@needs_datasets
def test_the_hub_is_read_through_its_library(tmp_path: Path) -> None:
    """Folders laid out like data sets of the hub: configurations, several splits, conversations, all by the ids and revisions that ship."""
    folders = {name: tmp_path / SOURCES[name].hub for name in ("math", "gsm8k", "orz")}
    for folder in folders.values():
        folder.mkdir(parents=True)
    for split, answer in (("train", 1), ("test", 2)):
        row = {"problem": f"{split}?", "solution": f"\\boxed{{{answer}}}", "level": "Level 5", "type": "Algebra"}
        (folders["math"] / f"{split}.jsonl").write_text(json.dumps(row) + "\n")
    (folders["gsm8k"] / "README.md").write_text(
        "---\nconfigs:\n- config_name: main\n  data_files:\n  - split: test\n    path: test.jsonl\n---\n"
    )
    (folders["gsm8k"] / "test.jsonl").write_text(json.dumps({"question": "Q?", "answer": "#### 3"}) + "\n")
    talk = [{"from": "human", "value": "O?"}, {"from": "assistant", "ground_truth": {"value": "8"}}]
    (folders["orz"] / "orz_math_57k_collection.json").write_text(json.dumps([talk]))
    code = (
        "import json\n"
        "from suites.tasks.maths import SOURCES\n"
        "from suites.tasks.rows import final_answer, question_text\n"
        "for name in ('math', 'gsm8k', 'orz'):\n"
        "    rows, origin = SOURCES[name].read()\n"
        "    print(json.dumps([[(question_text(r), final_answer(r)) for r in rows], origin]))\n"
    )
    done = run_offline(code, tmp_path)
    assert done.returncode == 0, done.stderr
    math, gsm8k, orz = [json.loads(line) for line in done.stdout.splitlines()]
    assert math[0] == [["train?", "1"], ["test?", "2"]]
    assert gsm8k[0] == [["Q?", "3"]]
    assert orz[0] == [["O?", "8"]]
    assert math[1] == {"hub": SOURCES["math"].hub, "revision": SOURCES["math"].revision, "pinned": True}
    assert orz[1] == {"hub": SOURCES["orz"].hub, "revision": None, "pinned": False}


@needs_datasets
@pytest.mark.parametrize("folder", [None, "data"])
def test_neither_file_nor_hub_is_one_sentence(folder: str | None, tmp_path: Path) -> None:
    """Which files were looked for where, which data set of the hub, and why that failed; at once, without asking again and again."""
    given = ""
    if folder is not None:
        (tmp_path / folder).mkdir()
        given = f"import os; os.environ['HALFWAY_DATA'] = {folder!r}\n"
    code = f"{given}from suites.tasks.maths import Maths\nfrom harness.errors import UserError\n" + (
        "try:\n    Maths({'pool': 'orz'}).build()\nexcept UserError as error:\n    print(error)\n"
    )
    done = run_offline(code, tmp_path)
    assert done.returncode == 0, done.stderr
    (words,) = done.stdout.splitlines()
    assert "data set 'orz' is unavailable" in words
    assert SOURCES["orz"].hub in words
    assert ("data has none of orz.parquet, orz.jsonl" if folder else "no data folder was given (--data-dir)") in words


def test_a_data_folder_that_is_not_there(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """A misspelt folder does not end in a silent download."""
    monkeypatch.setenv("HALFWAY_DATA", str(tmp_path / "nowhere"))
    with pytest.raises(TaskError, match="nowhere does not exist; give an existing one with --data-dir"):
        SOURCES["math500"].read()


def test_pins() -> None:
    """Revisions are whole commit hashes; another revision is another version of the task, and so another run."""
    everything = [*SOURCES.values(), POOL, MMLU]
    assert {s.name for s in everything if s.revision is None} == {"orz", "scp"}
    assert all(s.revision is None or (len(s.revision) == 40 and set(s.revision) <= set("0123456789abcdef")) for s in everything)
    assert pins([Source("a", ("a",), "x/a", revision="1")]) != pins([Source("a", ("a",), "x/a", revision="2")])


@pytest.mark.parametrize(
    ("answer", "shown"), [(True, "true"), (False, "false"), ({"value": [1, 2]}, '{"value": [1, 2]}'), (float("inf"), "Infinity")]
)
def test_an_answer_that_is_no_text_and_no_number_is_refused(
    answer: Any, shown: str, data: Callable[[str, str], None], tmp_path: Path
) -> None:
    """As texts they would be gold answers that nobody meant; the record is named."""
    with pytest.raises(AnswerError, match=re.escape(f"its answer is {shown}, which is neither a text nor a number")):
        final_answer({"problem": "P?", "answer": answer})
    rows = [{"problem": "P?", "answer": "1"}, {"problem": "Q?", "answer": answer}]
    data("math500.jsonl", "".join(json.dumps(row) + "\n" for row in rows))
    with pytest.raises(TaskError, match="record 2: its answer is"):
        read_items(SOURCES["math500"])
