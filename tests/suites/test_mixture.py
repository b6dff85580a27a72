"""Levels, unlearnable questions and wrong golds: what is spoilt, what stays clean, and what is refused."""

from __future__ import annotations

from collections import Counter
from typing import Any

import pytest

from harness.reward.scorers import build_scorer
from harness.task import WARM_UP, TaskData, TaskError, WarmUp
from suites.tasks.mixture import Level, numbers_of
from suites.tasks.reasoning_gym import ReasoningGym
from suites.tasks.spell_backward import SpellBackward

SIZES = {"train": 100, "validation": 20, "test": 40, "adapter": 50, "warm_up": 200}
LEVELS = [
    {"name": "short", "share": 0.3, "max_word_length": 4, "noise_slope": 0.0},
    {"name": "long", "share": 0.7, "min_word_length": 9},
]
SUMS: dict[str, Any] = {"family": "chain_sum", "prompt_pattern": ": (.*)$", "family_config": {"max_terms": 3}}


def spelling(**settings: Any) -> TaskData:
    return SpellBackward({**SIZES, **settings}).build()


def wrong(task: TaskData, split: str) -> list[int]:
    """Ids of the questions whose gold answer is not the word backward."""
    return [q.id for q in task.split(split) if q.answer != q.metadata["word"][::-1]]


def test_shares_are_rounded_by_largest_remainder() -> None:
    """.5 / .3 / .2 of 7 questions are 3.5, 2.1 and 1.4: the question that is left goes to the first."""
    levels = [Level(name=str(i), share=share) for i, share in enumerate((0.5, 0.3, 0.2))]
    assert numbers_of(levels, 7) == [4, 2, 1]
    assert numbers_of(levels, 0) == [0, 0, 0]


def test_levels_have_their_share_of_every_split_and_their_lengths() -> None:
    """30 of 100 words are short, in every split alike; the order says nothing about the level."""
    task = spelling(levels=LEVELS)
    for name, size in SIZES.items():
        assert Counter(q.metadata["level"] for q in task.splits[name]) == {"short": round(0.3 * size), "long": round(0.7 * size)}
        assert [q.id for q in task.splits[name]] == list(range(size))
    assert all((len(q.answer) <= 4) == (q.metadata["level"] == "short") for q in task.split("train"))
    first = [q.metadata["level"] for q in task.split("train")][:30]
    assert 3 <= first.count("short") <= 20  # 9 expected; all 30 if they were not mixed


def test_a_level_has_its_own_noise() -> None:
    """By hand: .06 · (9 − 5) = .24 for a long word; the short level is clean whatever its length; others follow the task."""
    warm_up = spelling(levels=LEVELS, noise_slope=0.06, noise_offset=5.0).warm_up
    assert warm_up.levels == (("short", 0.0, 5.0),)
    assert warm_up.noise(9, "long") == pytest.approx(0.24)
    assert warm_up.noise(9) == pytest.approx(0.24)
    assert warm_up.noise(9, "short") == 0.0


def test_without_levels_a_warm_up_is_what_it_was() -> None:
    """Models that were built before there were levels are still found: the new field is not in their identity."""
    assert "levels" not in WarmUp().identity
    assert WarmUp(levels=(("a", 0.1, 2.0),)).identity["levels"] == (("a", 0.1, 2.0),)
    assert spelling().warm_up.identity == WarmUp().identity


def test_unlearnable_questions_are_in_pool_and_adapter_only() -> None:
    """A quarter of 100 and of 50 have another's answer and the mark; the rest, and what accuracy is measured on, is clean."""
    task = spelling(unlearnable=0.25, unlearnable_mark="?")
    assert {name: len(wrong(task, name)) for name in task.splits} == {"train": 25, "validation": 0, "test": 0, "adapter": 12, "warm_up": 0}
    for name in ("train", "adapter"):
        assert [q.id for q in task.split(name) if q.prompt.startswith("?")] == wrong(task, name)
    assert not any(q.prompt.startswith("?") for name in ("validation", "test") for q in task.split(name))
    marked = [q for q in task.splits[WARM_UP] if q.prompt.startswith("?")]
    assert len(marked) == 50
    assert "?" in task.alphabet
    assert "?" not in spelling(unlearnable=0.25).alphabet


def test_a_wrong_gold_has_one_wrong_letter() -> None:
    """Label noise: same length, one place differs; beside unlearnable questions no question is spoilt twice."""
    task = spelling(label_noise=0.2, unlearnable=0.3, unlearnable_mark="?")
    noisy = [q for q in task.split("train") if not q.prompt.startswith("?") and q.answer != q.metadata["word"][::-1]]
    assert len(noisy) == 20
    for question in noisy:
        right = question.metadata["word"][::-1]
        assert len(question.answer) == len(right)
        assert sum(a != b for a, b in zip(question.answer, right, strict=True)) == 1
    assert not wrong(task, "test")


def test_evaluation_does_not_move_with_what_is_spoilt() -> None:
    """Test and validation questions are the same ones with and without unlearnable questions and wrong golds."""
    clean, spoilt = spelling(levels=LEVELS), spelling(levels=LEVELS, unlearnable=0.2, label_noise=0.2)
    for name in ("test", "validation"):
        assert clean.split(name) == spoilt.split(name)


def test_families_are_mixed_and_scored_by_their_own_scorer() -> None:
    """Two families in one task: the scorer of a question's family decides, after its hidden metadata."""
    levels = [
        {"name": "sums", "share": 0.5, "family": "chain_sum", "prompt_pattern": ": (.*)$", "family_config": {"max_terms": 3}},
        {"name": "gcd", "share": 0.5, "family": "gcd", "prompt_pattern": r"these numbers: (.*)\."},
    ]
    task = ReasoningGym({**SIZES, "levels": levels}).build()
    assert task.reward.name == "reasoning-gym:*"
    scorer = build_scorer(task.reward.name)
    assert {q.task for q in task.split("train")} == {"reasoning-gym/chain_sum", "reasoning-gym/gcd"}
    for question in task.split("train"):
        metadata = task.scoring_metadata(question)
        assert f"reasoning-gym/{metadata['family']}" == question.task
        assert scorer(question.answer, question.answer, metadata) == 1.0
        assert scorer("123456789", question.answer, metadata) == 0.0
    assert "family" not in task.split("train")[0].metadata  # a level's name is what strategies see


def test_a_reasoning_gym_pool_is_spoilt_alike() -> None:
    """The right answer scores 0 on a spoilt question, and its hidden metadata are still those of its own entry."""
    task = ReasoningGym({**SIZES, **SUMS, "unlearnable": 0.2, "unlearnable_mark": "?", "label_noise": 0.1}).build()
    scorer = build_scorer(task.reward.name)
    scores = []
    for question in task.split("train"):
        metadata = task.scoring_metadata(question)
        assert question.prompt.removeprefix("?").rstrip(" =") in metadata["question"]
        right = str(eval(question.prompt.removeprefix("?").rstrip(" =")))  # a sum that the family wrote
        scores.append(scorer(right, question.answer, metadata))
    assert scores.count(0.0) == 30


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ({"unlearnable": 0.6, "label_noise": 0.4}, "leave no question with a right answer"),
        ({"unlearnable_mark": "?"}, "marks nothing while unlearnable is 0"),
        ({"levels": [{"name": "a", "share": 0.5}]}, "add up to 0.5; they must add up to 1"),
        ({"levels": [{"name": "a", "share": 0.5}, {"name": "a", "share": 0.5}]}, "two levels are called 'a'"),
        (
            {"levels": [{"name": "a", "share": 1.0, "max_word_length": 3, "min_word_length": 3}], "warm_up": 9999},
            "has no 9999 words of 3–3",
        ),
        ({"levels": [{"name": "a", "share": 1.0, "max_word": 3}]}, "levels.0.max_word"),
    ],
)
def test_what_is_refused(settings: dict[str, Any], words: str) -> None:
    """One sentence that says what is wrong."""
    with pytest.raises(TaskError, match=words):
        spelling(**settings)


def test_a_family_that_ignores_its_gold_cannot_be_spoilt() -> None:
    """countdown's scorer computes: another gold answer does not make the right one wrong."""
    with pytest.raises(TaskError, match="still scores 1 with another gold answer"):
        ReasoningGym({**SIZES, "family": "countdown", "label_noise": 0.1}).build()
