"""The generic reasoning-gym task: disjoint, repeatable, and every gold answer scores 1 through the real reward."""

from __future__ import annotations

from itertools import combinations
from typing import Any

import pytest

from harness.reward.last_number import same_number
from harness.reward.scorers import build_scorer
from harness.reward.service import RewardService
from harness.task import TaskData, TaskError
from harness.types import QuestionPool
from suites.tasks.reasoning_gym import ReasoningGym

SIZES = {"train": 40, "validation": 10, "test": 20, "adapter": 10, "warm_up": 30}
FAMILIES: dict[str, dict[str, Any]] = {
    "chain_sum": {"prompt_pattern": r": (.*)$", "family_config": {"max_terms": 3}},
    "countdown": {},
    "word_sorting": {},
    "gcd": {},
    "knights_knaves": {},
    "simple_equations": {},
}


def build(family: str) -> TaskData:
    return ReasoningGym({"family": family, **SIZES, **FAMILIES[family]}).build()


@pytest.mark.slow
@pytest.mark.parametrize("family", FAMILIES)
def test_splits_are_disjoint_and_repeat(family: str) -> None:
    """Different prompts everywhere, the same ones again from the same settings."""
    task = build(family)
    assert {name: len(q) for name, q in task.splits.items()} == SIZES
    for a, b in combinations(task.splits, 2):
        assert not {q.prompt for q in task.splits[a]} & {q.prompt for q in task.splits[b]}
    assert build(family).content_hash == task.content_hash


@pytest.mark.parametrize("family", ["chain_sum", "gcd", "knights_knaves"])
def test_gold_answers_score_one_and_others_do_not(family: str) -> None:
    """By the family's own scorer, with the metadata that reaches it after JSON; something else scores 0."""
    task = build(family)
    scorer = build_scorer(task.reward.name)
    for question in task.split("test"):
        metadata = task.scoring_metadata(question)
        assert scorer(question.answer, question.answer, metadata) == 1.0
        assert scorer("12345678", question.answer, metadata) == 0.0


@pytest.mark.slow
def test_another_right_answer_scores_one() -> None:
    """countdown has many solutions: the gold expression in brackets is not the literal answer and still right."""
    task = build("countdown")
    with RewardService(task.reward, workers=1) as service:
        items = [(f"({q.answer})", q.answer, task.scoring_metadata(q)) for q in task.split("test")]
        assert service.score(items).tolist() == [1.0] * len(items)


def test_strategies_never_see_the_solution() -> None:
    """knights_knaves keeps its solution in the metadata: it goes to the scorer, not into the pool."""
    task = build("knights_knaves")
    question = task.split("train")[0]
    assert "solution" in task.scoring_metadata(question)
    (seen,) = [q for q in QuestionPool(task.split("train")) if q.id == question.id]
    assert "solution" not in seen.metadata
    assert not hasattr(seen, "answer")


def test_the_prompt_pattern_cuts_the_operands_out() -> None:
    """Terse prompts for character-level models, and the alphabet that they need."""
    task = build("chain_sum")
    assert all(set(q.prompt) <= set("0123456789 +-=.") for q in task.split("train"))
    assert set(task.alphabet) <= set("0123456789 +-=.")


@pytest.mark.parametrize(
    ("config", "message"),
    [
        ({"family": "chain_sums"}, "no family 'chain_sums'; did you mean 'chain_sum'?"),
        ({"family": "chain_sum", "family_config": {"max_term": 3}}, "family_config is refused"),
        ({"family": "chain_sum", "family_config": {"min_terms": 5, "max_terms": 2}}, "family_config is refused"),
        ({"family": "chain_sum", "prompt_pattern": "no group"}, "has no group"),
        ({"family": "chain_sum", "prompt_pattern": "("}, "not a regular expression"),
        ({"family": "chain_sum", "prompt_pattern": "(zzz)"}, "finds nothing in"),
        ({"family": "coin_flip", "family_config": {"min_trials": 2, "max_trials": 2}}, "different questions"),
        ({}, "family"),
    ],
)
def test_bad_settings_are_one_sentence(config: dict[str, Any], message: str) -> None:
    """What is wrong and what to do, without a traceback."""
    with pytest.raises(TaskError) as caught:
        ReasoningGym({**SIZES, "train": 400, **config}).build()
    assert message in str(caught.value)
    assert "\n" not in str(caught.value)


def test_the_last_number_counts_where_a_task_says_so() -> None:
    """``reward = "number"`` scores a sentence, which the family's own scorer does not; unlearnable questions stay unlearnable under it."""
    task = ReasoningGym({"family": "products", "family_config": {"max_digits": 2}, "reward": "number", "unlearnable": 0.5, **SIZES}).build()
    family = ReasoningGym({"family": "products", "family_config": {"max_digits": 2}, **SIZES}).build()
    assert task.reward.name == "number"
    assert [q.prompt for q in task.split("test")] == [q.prompt for q in family.split("test")]
    for question in task.split("test"):
        answer = f"The result of the multiplication is {question.answer}."
        assert same_number(answer, question.answer) == 1.0
        assert build_scorer(family.reward.name)(answer, question.answer, family.scoring_metadata(question)) == 0.0
    true = {q.prompt: q.answer for q in family.split("train")}
    assert sum(same_number(true[q.prompt], q.answer) for q in task.split("train")) == SIZES["train"] / 2


def test_the_reward_that_a_task_does_not_change_is_no_part_of_a_run() -> None:
    """Runs from before the setting stay the same runs; asked for, it is part of the identity, and what is written is read again."""
    plain, changed = (ReasoningGym({"family": "products", **SIZES, **more}).config for more in ({}, {"reward": "number"}))
    assert "reward" not in plain.model_dump(mode="json")
    assert changed.model_dump(mode="json")["reward"] == "number"
    assert ReasoningGym(plain.model_dump(mode="json")).config == plain


def test_a_family_whose_answers_are_no_numbers_keeps_its_own_scorer() -> None:
    """Asked to compare numbers, it is refused before anything is trained."""
    with pytest.raises(TaskError, match=r"family 'word_sorting': the answer .* is no number"):
        ReasoningGym({"family": "word_sorting", "reward": "number", **SIZES}).build()
