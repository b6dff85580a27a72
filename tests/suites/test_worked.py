"""Worked solutions: the steps worked out by hand, the tags around the answer, and a reward that reads nothing but them."""

from __future__ import annotations

import re
from typing import Any

import pytest

from harness.reward.answers import tagged_answer
from harness.reward.service import RewardService
from harness.task import WARM_UP, TaskData, TaskError
from suites.tasks.reasoning_gym import ReasoningGym
from suites.tasks.worked import STEPS, worked_solution

SIZES = {"train": 30, "validation": 10, "test": 20, "adapter": 10, "warm_up": 30}
FAMILIES: dict[str, dict[str, Any]] = {
    "chain_sum": {"prompt_pattern": ": (.*)$", "family_config": {"min_terms": 3, "max_terms": 5, "min_digits": 1, "max_digits": 1}},
    "products": {"prompt_pattern": r": (.*?\.)"},
    "letter_counting": {"prompt_pattern": 'letter "(.)" appear in the text: "(.*")', "family_config": {"min_words": 2, "max_words": 4}},
    "leg_counting": {"prompt_pattern": r"you have (.*)\?"},
}


def build(family: str) -> TaskData:
    return ReasoningGym({"family": family, "worked": True, **SIZES, **FAMILIES[family]}).build()


@pytest.mark.parametrize(
    ("family", "answer", "metadata", "worked"),
    [
        ("chain_sum", "10", {"expression": "3 - 1 + 8"}, "3-1=2;2+8=10<answer>10</answer>"),
        ("chain_sum", "-10", {"expression": "4 - 5 - 9"}, "4-5=-1;-1-9=-10<answer>-10</answer>"),
        ("chain_sum", "7", {"expression": "7"}, "<answer>7</answer>"),
        ("products", "1081", {"expression": "23 * 47"}, "23*7=161;23*40=920;161+920=1081<answer>1081</answer>"),
        ("products", "230", {"expression": "23 * 10"}, "23*0=0;23*10=230;0+230=230<answer>230</answer>"),
        ("products", "12", {"expression": "3 * 4"}, "3*4=12<answer>12</answer>"),
        (
            "letter_counting",
            "5",
            {"target_letter": "a", "span": ["Banana", "is", "Alas"]},
            "Ba1na2na3 is A4la5s<answer>5</answer>",
        ),
        (
            "leg_counting",
            "20",
            {"animals": {"dog": 2, "bird": 3, "ant": 1}},
            "2*4=8;3*2=6;8+6=14;1*6=6;14+6=20<answer>20</answer>",
        ),
        ("leg_counting", "0", {"animals": {"snake": 7}}, "7*0=0<answer>0</answer>"),
    ],
)
def test_steps_by_hand(family: str, answer: str, metadata: dict[str, Any], worked: str) -> None:
    """Every family's steps on a question small enough to do on paper."""
    assert worked_solution(family, {"answer": answer, "metadata": metadata}) == worked


@pytest.mark.parametrize("family", FAMILIES)
def test_only_warm_up_targets_hold_the_steps(family: str) -> None:
    """Warm-up targets end in the tagged answer; every other split has the bare gold answer; tags are no characters of the alphabet."""
    assert set(FAMILIES) == set(STEPS)
    task = build(family)
    assert all(re.fullmatch(r"[^<>]*<answer>[^<>]+</answer>", q.answer) for q in task.split(WARM_UP))
    assert all("<" not in q.answer and q.answer in tagged_answer(f"x<answer>{q.answer}</answer>") for q in task.split("train"))
    assert task.tokens == ("<answer>", "</answer>")
    texts = [q.prompt + re.sub("</?answer>", "", q.answer) for name in task.splits for q in task.split(name)]
    assert set(task.alphabet) == set("".join(texts))


def test_equations_in_the_steps_are_true() -> None:
    """Each ``a±b=c`` and ``a*b=c`` that a model is shown holds, and the last one gives the answer."""
    for family in ("chain_sum", "products", "leg_counting"):
        for question in build(family).split(WARM_UP):
            steps, _, rest = question.answer.partition("<answer>")
            for step in steps.split(";"):
                found = re.fullmatch(r"(-?\d+)([-+*])(\d+)=(-?\d+)", step)
                assert found is not None
                a, b, c = int(found[1]), int(found[3]), int(found[4])
                assert {"+": a + b, "-": a - b, "*": a * b}[found[2]] == c
            assert rest == f"{steps.rpartition('=')[2]}</answer>"


@pytest.mark.slow
def test_the_reward_reads_the_answer_alone() -> None:
    """Wrong steps do not matter, right steps do not help; no tag, an empty one or a second answer after it scores 0."""
    task = build("chain_sum")
    question = task.split("test")[0]
    gold, wrong = question.answer, str(int(question.answer) + 1)
    completions = {
        f"1+1=3<answer>{gold}</answer>": 1.0,
        f"<answer>{gold}</answer>": 1.0,
        f"1+2={gold}<answer>{wrong}</answer>": 0.0,
        f"<answer>{gold}</answer><answer>{wrong}</answer>": 0.0,
        f"1+2={gold}": 0.0,
        f"{gold};1+2=3": 0.0,
        "1+2=3<answer></answer>": 0.0,
    }
    with RewardService(task.reward, workers=1) as service:
        scores = service.score([(text, gold, task.scoring_metadata(question)) for text in completions])
    assert dict(zip(completions, scores.tolist(), strict=True)) == completions


def test_a_prompt_pattern_may_have_several_groups() -> None:
    """Their texts are joined by a space: letter and words of letter_counting, without the sentence around them."""
    task = build("letter_counting")
    assert all(re.fullmatch(r'\w [\w ]+"', q.prompt) for q in task.split("train"))


def test_a_family_without_steps_is_refused_in_words() -> None:
    """The message lists the families that have worked solutions."""
    with pytest.raises(
        TaskError, match="needs a family with worked solutions: chain_sum, products, letter_counting, leg_counting; 'gcd' has none"
    ):
        ReasoningGym({"family": "gcd", "worked": True})
