"""The paper's pools and evaluation sets, on the real files and on small ones."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from harness.data.overlap import normalised, shared
from harness.task import TaskData, TaskError
from suites.tasks.maths import Maths

ROOT = Path(__file__).resolve().parents[2]
Write = Callable[[str, str], None]


@pytest.fixture
def small(data: Write) -> Write:
    """A data folder with four small evaluation sets."""
    for name in ("gsm8k", "math500", "minerva", "olympiadbench"):
        data(f"{name}.json", json.dumps([{"problem": f"{name} {i}?", "answer": str(i)} for i in range(3)]))
    return data


def build(**config: Any) -> TaskData:
    return Maths(config).build()


@pytest.mark.slow
def test_the_maths_pool_is_the_papers(real_data: Path) -> None:
    """12,500 questions less levels 1 and 2 (3,243), two without a level, two without an answer and 367 of MATH-500: 8,886 remain."""
    task = build(pool="math")
    pool = task.split("train")
    assert len(pool) == 12_500 - 3_243 - 2 - 2 - 367 == 8_886
    assert {q.metadata["level"] for q in pool} == {3, 4, 5}
    assert not shared([q.prompt for q in task.split("math500")], [q.prompt for q in pool])
    assert task.sources["train"]["left_out"] == {"no answer": 2, "level below 3 or unknown": 3_245, "in MATH-500": 367}
    assert [q.id for q in pool] == list(range(len(pool)))


@pytest.mark.slow
def test_the_papers_deepscaler_pool_is_taken_whole(real_data: Path) -> None:
    """The authors' file has as many questions as the pool asks for: all of them, repeats included, none twice as often as there."""
    task = build(pool="deepscaler")
    assert len(task.split("train")) == 10_240
    assert len({normalised(q.prompt) for q in task.split("train")}) == 10_076
    assert task.sources["train"]["file"] == "deepscaler_10240.parquet"


@pytest.mark.slow
def test_the_evaluation_sets_are_whole(real_data: Path) -> None:
    """1,319 + 500 + 272 + 675 questions, each with an answer and without the prompt's instruction; AIME beside them if asked."""
    task = build(pool="deepscaler", sets=["gsm8k", "math500", "minerva", "olympiadbench", "aime2024"])
    counts = {name: len(task.split(name)) for name in task.splits}
    assert counts == {
        "train": 10_240, "validation": 0, "gsm8k": 1_319, "math500": 500, "minerva": 272, "olympiadbench": 675, "aime2024": 30,
    }  # fmt: skip
    for name in ("gsm8k", "math500", "minerva", "olympiadbench", "aime2024"):
        for question in task.split(name):
            assert question.answer == question.answer.strip() != ""
            assert question.prompt != ""
            assert "step by step and output" not in question.prompt
    assert all(q.answer.lstrip("-").isdigit() for q in task.split("gsm8k"))


@pytest.mark.slow
def test_the_pools_are_pinned_by_their_content(real_data: Path) -> None:
    """The hashes that the documentation gives: if one changes, every run on that pool is another run; raise VERSION and say so."""
    tasks = [build(pool="math"), build(pool="math", longest=1500), build(pool="deepscaler")]
    assert [task.split_hash("train")[:8] for task in tasks] == ["7d9cde2c", "9041f5ab", "d26041e8"]
    hashes = {name: tasks[0].split_hash(name)[:8] for name in ("gsm8k", "math500", "minerva", "olympiadbench")}
    assert hashes == {"gsm8k": "59855410", "math500": "d36a95a1", "minerva": "61df77d3", "olympiadbench": "67d01af7"}


def orz_rows(count: int) -> list[list[dict[str, Any]]]:
    return [[{"from": "human", "value": f"Question {i}?"}, {"from": "assistant", "ground_truth": {"value": str(i)}}] for i in range(count)]


def test_the_order_of_a_file_does_not_matter(small: Write) -> None:
    """The same seed draws the same questions in the same order from a file turned around; another seed draws others."""
    small("orz.json", json.dumps(orz_rows(50)))
    first = build(pool="orz", train=20)
    small("orz.json", json.dumps(orz_rows(50)[::-1]))
    assert build(pool="orz", train=20).split_hash("train") == first.split_hash("train")
    assert {q.prompt for q in build(pool="orz", train=20, seed=1).split("train")} != {q.prompt for q in first.split("train")}
    assert build(pool="orz", train=30).split("train")[:20] == first.split("train")


def test_validation_questions_are_outside_the_pool(small: Write) -> None:
    """Also where the data set has a question twice: the second one is no validation question."""
    rows = [{"problem": f"Is $ {i} $ even?", "answer": "yes"} for i in range(10)]
    small("deepscaler.json", json.dumps(rows + [{"problem": f"Is ${i}$ even", "answer": "no"} for i in range(10)]))
    task = build(pool="deepscaler", train=9, validation=4)
    assert len(task.split("train")) == 9
    assert len(task.split("validation")) == 4
    assert not shared([q.prompt for q in task.split("validation")], [q.prompt for q in task.split("train")])


def test_questions_without_answer_or_too_long_are_left_out_and_counted(small: Write) -> None:
    """A gold answer that is empty would make an empty box right."""
    rows = [{"question": "a?", "final_answer": "1"}, {"question": "b?", "final_answer": " "}, {"question": "", "final_answer": "2"}]
    small("deepmath.json", json.dumps([*rows, {"question": "c" * 50, "final_answer": "3"}]))
    task = build(pool="deepmath", train=1, longest=49)
    assert [q.prompt for q in task.split("train")] == ["a?"]
    facts = task.sources["train"]
    assert facts["left_out"] == {"no question": 1, "no answer": 1, "longer than 49 characters": 1}
    assert facts["records"] == 4


@pytest.mark.parametrize(
    ("config", "words"),
    [
        ({"pool": "maths"}, "setting 'pool'"),
        ({"pool": "orz", "sets": ["gsm9k"]}, "setting 'sets.0'"),
        ({"pool": "orz", "trian": 3}, "no setting 'trian'; did you mean 'train'?"),
        ({"pool": "orz"}, "50 usable questions, but the pool asks for 8192; set train lower"),
        ({"pool": "orz", "train": 48, "validation": 3}, "2 questions outside a pool of 48, fewer than the 3 for validation"),
    ],
)
def test_bad_settings_are_one_sentence(config: dict[str, Any], words: str, small: Write) -> None:
    """What is wrong and what to do."""
    small("orz.json", json.dumps(orz_rows(50)))
    with pytest.raises(TaskError) as caught:
        Maths(config).build()
    assert words in str(caught.value)
    assert "\n" not in str(caught.value)


def test_the_prompt_is_the_papers_template(small: Write) -> None:
    """Table 5: a system turn that asks for steps and a box, the question alone as the user's turn."""
    from backends.common.prompts import prompt_text

    small("orz.json", json.dumps(orz_rows(5)))
    task = build(pool="orz", train=5)
    seen: list[Any] = []
    tokenizer = SimpleNamespace(chat_template="yes", apply_chat_template=lambda messages, **how: seen.append((messages, how)))
    prompt_text(tokenizer, task, task.split("gsm8k")[0])
    ((messages, how),) = seen
    assert messages == [
        {"role": "system", "content": "Let's think step by step and output the final answer within \\boxed{}. "},
        {"role": "user", "content": "gsm8k 0?"},
    ]
    assert how["add_generation_prompt"] is True


def test_strategies_see_level_and_subject_and_no_solution(small: Write) -> None:
    """Metadata is public: it holds difficulty as the data set gives it, nothing that tells the answer."""
    row = {"problem": "P?", "solution": "\\boxed{41}", "level": "Level 4", "type": "Algebra", "answer": "41"}
    small("math.json", json.dumps([row, {**row, "problem": "R?", "level": "Level ?"}, {**row, "problem": "math500 1?"}]))
    (question,) = build(pool="math").split("train")
    assert question.metadata == {"level": 4, "subject": "Algebra"}


def test_building_needs_neither_torch_nor_the_hubs_library(small: Write, tmp_path: Path) -> None:
    """A folder of files is enough: ``datasets`` is not even imported."""
    small("orz.json", json.dumps(orz_rows(5)))
    code = (
        "import sys; from suites.tasks.maths import Maths; Maths({'pool': 'orz', 'train': 5}).build();"
        "print([m for m in ('torch', 'datasets', 'huggingface_hub') if m in sys.modules])"
    )
    environment = {"PYTHONPATH": str(ROOT), "HALFWAY_DATA": str(tmp_path / "data")}
    fresh = subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True, text=True, check=True)
    assert fresh.stdout.strip() == "[]"
