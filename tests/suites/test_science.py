"""The science task: an SCP-like pool, MMLU's physics, chemistry and biology, choices graded by their letter."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import pytest

from harness.reward.service import RewardService
from harness.task import TaskData, TaskError
from suites.tasks.science import Science

Write = Callable[[str, str], None]

MMLU = [
    {"question": "Lightest gas?", "subject": "high_school_chemistry", "choices": ["helium", "hydrogen", "neon", "argon"], "answer": 1},
    {"question": "Unit of force?", "subject": "conceptual_physics", "choices": ["newton", "joule", "watt", "volt"], "answer": "A"},
    {"question": "Who wrote it?", "subject": "philosophy", "choices": ["Plato", "Kant", "Hume", "Mill"], "answer": 0},
    {"question": "No answer?", "subject": "college_biology", "choices": ["x", "y"], "answer": 3},
]
POOL = [
    {"domain": "Physics", "problem": "Speed of light in m/s?", "matched_solution": "3 \\times 10^8"},
    {"domain": "Chemistry", "problem": "pH of pure water?", "matched_solution": "Long words.\nThen \\boxed{7}."},
    {"domain": "Biology", "problem": "Why?", "matched_solution": "An essay that has no final answer. " * 5},
]


@pytest.fixture
def task(data: Write) -> TaskData:
    data("scp_25k.jsonl", "\n".join(map(json.dumps, POOL)))
    data("mmlu.json", json.dumps(MMLU))
    return Science({}).build()


def test_pool_and_evaluation(task: TaskData) -> None:
    """Short and boxed answers are graded, essays are left out; of MMLU, the subjects of science with choices and a letter."""
    assert {q.prompt: q.answer for q in task.split("train")} == {"Speed of light in m/s?": "3 \\times 10^8", "pH of pure water?": "7"}
    assert task.sources["train"]["left_out"] == {"no answer": 1}
    first, second = task.split("test")
    assert first.prompt == "Lightest gas?\nA. helium\nB. hydrogen\nC. neon\nD. argon\nAnswer with the letter of the right choice."
    assert (first.answer, second.answer) == ("B", "A")
    assert task.sources["test"]["left_out"] == {"no question": 1, "other subject": 1}


def test_choices_are_graded_by_their_letter(task: TaskData) -> None:
    """In a box, however it is dressed; another letter, no letter, or a letter outside a box at the beginning scores 0."""
    completions = {
        "\\boxed{B}": 1.0, "\\boxed{(B)}": 1.0, "\\boxed{\\text{B}}": 1.0, "\\boxed{B. hydrogen}": 1.0, "\\boxed{A}": 0.0,
        "\\boxed{C. neon}": 0.0, "\\boxed{helium}": 0.0, "\\boxed{}": 0.0, "B. is my first idea, but it is A": 0.0,
    }  # fmt: skip
    with RewardService(task.reward, workers=1) as service:
        scores = service.score([(completion, "B", {}) for completion in completions])
    assert scores.tolist() == list(completions.values())


@pytest.mark.parametrize(
    ("config", "words"),
    [
        ({"trian": 3}, "did you mean 'train'?"),
        ({"train": 3}, "2 usable questions, but the pool asks for 3"),
        ({"validation": 2}, "asks for 0"),
    ],
)
def test_bad_settings_are_one_sentence(task: TaskData, config: dict[str, Any], words: str) -> None:
    """Unknown settings and pools that are too small."""
    with pytest.raises(TaskError) as caught:
        Science(config).build()
    assert words in str(caught.value)
