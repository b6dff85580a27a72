"""spell-backward: disjoint splits that repeat exactly."""

from __future__ import annotations

import subprocess
import sys
from collections import Counter
from itertools import combinations
from pathlib import Path
from typing import Any

import pytest

from harness.task import SPLITS, WARM_UP, TaskData, TaskError, check_disjoint
from harness.types import Question
from suites.tasks.spell_backward import SpellBackward

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture(scope="module")
def task() -> TaskData:
    return SpellBackward({}).build()


def test_sizes_and_form(task: TaskData) -> None:
    """2,048 / 256 / 512 / 512 questions, ids are positions, the answer is the word backward."""
    assert {name: len(task.split(name)) for name in SPLITS} == {"train": 2048, "validation": 256, "test": 512, "adapter": 512}
    for questions in task.splits.values():
        assert [q.id for q in questions] == list(range(len(questions)))
        assert all(q.prompt == q.answer[::-1] + "=" for q in questions)
        assert all(3 <= len(q.answer) <= 10 for q in questions)
    used = {c for questions in task.splits.values() for q in questions for c in q.prompt + q.answer}
    assert used == set(task.alphabet)


def test_splits_are_disjoint(task: TaskData) -> None:
    """By question key and by word: no question of one split is in another, warm-up included, and none is there twice."""
    assert set(task.splits) == {*SPLITS, WARM_UP}
    keys = {name: {q.key for q in questions} for name, questions in task.splits.items()}
    words = {name: {q.metadata["word"] for q in questions} for name, questions in task.splits.items()}
    for a, b in combinations(task.splits, 2):
        assert not keys[a] & keys[b]
        assert not words[a] & words[b]
    assert all(len(words[name]) == len(questions) for name, questions in task.splits.items())


def test_splits_have_the_same_mix_of_lengths(task: TaskData) -> None:
    """Train and warm-up are drawn from one distribution: no share of a length differs by more than 3 points."""
    shares = []
    for name in ("train", WARM_UP):
        lengths = Counter(len(q.answer) for q in task.split(name))
        shares.append([lengths[n] / len(task.split(name)) for n in range(3, 11)])
    assert max(abs(a - b) for a, b in zip(*shares, strict=True)) < 0.03


@pytest.mark.slow
def test_repeats_exactly_in_another_process(task: TaskData) -> None:
    """The content hash is the same in a fresh interpreter with another hash seed; another seed gives other questions."""
    code = "from suites.tasks.spell_backward import SpellBackward; print(SpellBackward({}).build().content_hash)"
    environment = {"PYTHONHASHSEED": "77", "PYTHONPATH": str(ROOT)}
    fresh = subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True, text=True, check=True)
    assert fresh.stdout.strip() == task.content_hash
    assert SpellBackward({"seed": 1}).build().content_hash != task.content_hash


def test_a_larger_pool_moves_no_evaluation_question(task: TaskData) -> None:
    """Test and validation stay the same when train grows; the hash of a split tells which changed."""
    larger = SpellBackward({"train": 4096}).build()
    for name in ("test", "validation"):
        assert larger.split_hash(name) == task.split_hash(name)
    assert larger.split_hash("train") != task.split_hash("train")
    assert larger.split("train")[:2048] == task.split("train")


@pytest.mark.parametrize(
    ("config", "message"),
    [
        ({"trian": 10}, "no setting 'trian'; did you mean 'train'?"),
        ({"train": 0}, "setting 'train'"),
        ({"train": 140_000}, "words of 3–10 letters"),
        ({"min_word_length": 8, "max_word_length": 5}, "max_word_length 5 is less than min_word_length 8"),
    ],
)
def test_bad_settings_are_one_sentence(config: dict[str, Any], message: str) -> None:
    """Unknown keys with a suggestion, bad values with their name, too few words with what to change."""
    with pytest.raises(TaskError, match=message.replace("?", r"\?")) as caught:
        SpellBackward(config).build()
    assert "\n" not in str(caught.value)


def test_check_disjoint_finds_a_shared_question() -> None:
    """The check that builders run names the question and both splits."""
    question = Question(0, "dog=", "god", "t")
    with pytest.raises(TaskError, match="'dog=' is in split 'train' and again in 'test'"):
        check_disjoint({"train": (question,), "test": (Question(5, "dog=", "god", "t"),)})


@pytest.mark.slow
def test_building_leaves_torch_alone() -> None:
    """Task builders are data only."""
    code = "import sys; from suites.tasks.spell_backward import SpellBackward; SpellBackward({}).build(); print('torch' in sys.modules)"
    fresh = subprocess.run([sys.executable, "-c", code], env={"PYTHONPATH": str(ROOT)}, capture_output=True, text=True, check=True)
    assert fresh.stdout.strip() == "False"


def test_unknown_split_is_refused_in_words(task: TaskData) -> None:
    """The message lists the splits there are."""
    with pytest.raises(TaskError, match="no split 'tset'"):
        task.split("tset")


def test_warm_up_noise_by_hand(task: TaskData) -> None:
    """0.04 per character beyond the second: 3 letters .04, 10 letters .32, never negative, never above .9."""
    noise = task.warm_up.noise
    assert [round(noise(n), 10) for n in (1, 2, 3, 10, 100)] == [0.0, 0.0, 0.04, 0.32, 0.9]
