"""The evaluator pairs its random numbers, scores every question and says what it did."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from small_task import small_task

from backends.common.completion import Completion
from backends.common.decoder import Decoder
from backends.common.evaluator import Evaluator, evaluation_seed
from backends.common.model_loading import LoadedModel, load_model
from backends.common.prompts import encode_prompts, prompt_text
from backends.common.tiny_models import build_tiny_model
from harness.errors import UserError
from harness.task import TaskData, TaskError

TASK = small_task()


@pytest.fixture(scope="module")
def loaded(tmp_path_factory: pytest.TempPathFactory) -> LoadedModel:
    folder: Path = build_tiny_model("embedded:llama-32x1", TASK, 0, tmp_path_factory.mktemp("models"))
    return load_model(str(folder))


def exact(items: Sequence[tuple[str, str, Mapping[str, Any]]]) -> Any:
    return np.array([float(completion == gold) for completion, gold, _ in items])


class Parrot:
    """Answers from a function of the prompt's text and the sample's number; remembers the seeds it was given."""

    def __init__(self, tokenizer: Any, answer: Any) -> None:
        self.tokenizer, self.answer = tokenizer, answer
        self.calls: list[dict[str, Any]] = []

    def __call__(self, prompts: Any, rollouts_per_prompt: int, *, generator: torch.Generator, **sampling: Any) -> list[list[Completion]]:
        self.calls.append({"seed": generator.initial_seed(), "n": rollouts_per_prompt, **sampling})
        return [[self._complete(self.tokenizer.decode(p), i) for i in range(rollouts_per_prompt)] for p in prompts]

    def _complete(self, prompt: str, i: int) -> Completion:
        ids = [*self.tokenizer(self.answer(prompt, i))["input_ids"], self.tokenizer.eos_token_id]
        return Completion(np.array(ids, np.int32), np.zeros(len(ids), np.float32), False)


def backward(prompt: str, i: int) -> str:
    return prompt[-2::-1]


def test_accuracy_by_hand(loaded: LoadedModel) -> None:
    """Right on every second of four samples is .5 on each set; questions of all sets are counted, the cap holds per set."""
    parrot = Parrot(loaded.tokenizer, lambda prompt, i: backward(prompt, i) if i % 2 else "zzz")
    evaluator = Evaluator(
        TASK, loaded.tokenizer, exact, sets=["test", "validation"], samples_per_question=4, max_new_tokens=8, seed=1, max_questions=20
    )
    found = evaluator.evaluate(parrot, step=0)
    assert (found.accuracies, found.num_questions) == ({"test": 0.5, "validation": 0.5}, 30)
    assert found.right == {"test": [2] * 20, "validation": [2] * 10}
    assert parrot.calls[0]["n"] == 4
    assert {k: parrot.calls[0][k] for k in ("temperature", "top_p", "max_new_tokens")} == {
        "temperature": 1.0,
        "top_p": 1.0,
        "max_new_tokens": 8,
    }


def test_pass_rates_are_per_question(loaded: LoadedModel) -> None:
    """A policy that spells only words of three letters passes exactly those."""
    parrot = Parrot(loaded.tokenizer, lambda prompt, i: backward(prompt, i) if len(prompt) == 4 else "q")
    rates = Evaluator(TASK, loaded.tokenizer, exact, samples_per_question=2, max_new_tokens=8, seed=1).pass_rates(parrot, "test")
    assert rates.tolist() == [float(len(q.answer) == 3) for q in TASK.split("test")]


def test_progress_counts_questions_over_all_sets(loaded: LoadedModel, monkeypatch: pytest.MonkeyPatch) -> None:
    """20 and 10 questions with two samples, 16 answers at a time: 8, 16, 20, then 28 and 30 of 30."""
    monkeypatch.setattr("backends.common.evaluator.PORTION", 16)
    said: list[tuple[int, int]] = []
    Evaluator(
        TASK, loaded.tokenizer, exact, sets=["test", "validation"], samples_per_question=2, max_new_tokens=8, seed=1, max_questions=20
    ).evaluate(Parrot(loaded.tokenizer, backward), 0, lambda done, total: said.append((done, total)))
    assert said == [(done, 30) for done in (0, 8, 16, 20, 20, 28, 30)]


def test_what_completions_look_like_by_hand(loaded: LoadedModel) -> None:
    """Samples of 2 and 4 tokens, each of log-probability -1 and -.25: 3 tokens on average, entropy (2·1 + 4·.25)/6 = .5, half cut off.
    Greedy sampling has no entropy, and an engine that gives no log-probs has none to show."""

    def sample(length: int, log_prob: float, cut: bool) -> Completion:
        return Completion(np.full(length, 5, np.int32), np.full(length, log_prob, np.float32), cut)

    def decode(prompts: Any, n: int, **_: Any) -> list[list[Completion]]:
        return [[sample(2, -1.0, cut=True), sample(4, -0.25, cut=False)] for _ in prompts]

    def without(prompts: Any, n: int, **_: Any) -> list[list[Completion]]:
        return [[sample(2, np.nan, cut=True)] * 2 for _ in prompts]

    settings: dict[str, Any] = {"samples_per_question": 2, "max_new_tokens": 8, "seed": 1}
    sampled = Evaluator(TASK, loaded.tokenizer, exact, **settings).evaluate(decode, 0)
    assert sampled.completions == {"test": {"tokens": 3.0, "truncated": 0.5, "entropy": pytest.approx(0.5)}}
    assert "entropy" not in Evaluator(TASK, loaded.tokenizer, exact, temperature=0.0, **settings).evaluate(decode, 0).completions["test"]
    assert "entropy" not in Evaluator(TASK, loaded.tokenizer, exact, **settings).evaluate(without, 0).completions["test"]


def test_every_step_uses_the_same_random_numbers(loaded: LoadedModel) -> None:
    """Seeds depend on the evaluation seed and the set, never on the step; sets and seeds differ from each other."""
    parrot = Parrot(loaded.tokenizer, backward)
    evaluator = Evaluator(TASK, loaded.tokenizer, exact, sets=["test", "validation"], max_new_tokens=8, seed=1)
    evaluator.evaluate(parrot, step=0)
    evaluator.evaluate(parrot, step=64)
    seeds = [call["seed"] for call in parrot.calls]
    assert seeds[:2] == seeds[2:]
    assert len({*seeds, evaluation_seed(2, "test")}) == 3


def test_a_real_policy_evaluates_the_same_twice(loaded: LoadedModel) -> None:
    """With the decoder, an unchanged policy gets the same accuracy at any step, and leaves no trace in torch's generator."""
    decoder = Decoder(loaded.model, loaded.eos_ids, loaded.pad_id)
    evaluator = Evaluator(
        TASK, loaded.tokenizer, lambda items: np.array([float(len(c) % 2) for c, _, _ in items]), max_new_tokens=8, seed=3
    )
    state = torch.get_rng_state()
    first = evaluator.evaluate(decoder.generate, step=1)
    assert first == evaluator.evaluate(decoder.generate, step=2)
    assert 0 < first.accuracies["test"] < 1
    assert first.completions["test"]["entropy"] > 0
    assert torch.equal(torch.get_rng_state(), state)


def test_the_scorer_gets_gold_answers_and_hidden_metadata(loaded: LoadedModel) -> None:
    """In the order of the questions, each with what only the scorer may see."""
    question = TASK.split("test")[2]
    task = TaskData(TASK.name, TASK.splits, TASK.reward, TASK.alphabet, private={question.key: {"solution": 42}})
    seen: list[Any] = []

    def spy(items: Any) -> Any:
        seen.extend(items)
        return np.zeros(len(items))

    Evaluator(task, loaded.tokenizer, spy, max_new_tokens=8, seed=1).evaluate(Parrot(loaded.tokenizer, backward), 0)
    assert [gold for _, gold, _ in seen] == [q.answer for q in task.split("test")]
    assert seen[2][2] == {**question.metadata, "solution": 42}
    assert "solution" not in seen[1][2]


def test_a_reward_that_is_not_a_number_is_an_error(loaded: LoadedModel) -> None:
    """An accuracy of NaN never reaches the ledger."""
    evaluator = Evaluator(TASK, loaded.tokenizer, lambda items: np.full(len(items), np.nan), max_new_tokens=8, seed=1)
    with pytest.raises(ValueError, match="after step 7"):
        evaluator.evaluate(Parrot(loaded.tokenizer, backward), 7)


def test_an_unknown_set_is_refused(loaded: LoadedModel) -> None:
    """When it is built, not at the first evaluation."""
    with pytest.raises(TaskError, match="no split 'tests'"):
        Evaluator(TASK, loaded.tokenizer, exact, sets=["tests"], max_new_tokens=8, seed=1)


def test_an_empty_set_is_refused(loaded: LoadedModel) -> None:
    """There is no accuracy of nothing."""
    task = replace(TASK, splits={**TASK.splits, "validation": ()})
    with pytest.raises(TaskError, match="'validation' has no questions"):
        Evaluator(task, loaded.tokenizer, exact, sets=["test", "validation"], max_new_tokens=8, seed=1)


def test_prompts_go_bare_or_through_the_template(loaded: LoadedModel) -> None:
    """Without a system prompt the text is the prompt; with one the chat template makes it, or its absence is a UserError."""
    question = TASK.split("test")[0]
    assert encode_prompts(loaded.tokenizer, TASK, [question]) == [loaded.tokenizer(question.prompt)["input_ids"]]
    chat = TaskData(TASK.name, TASK.splits, TASK.reward, TASK.alphabet, system_prompt="think")
    with pytest.raises(UserError, match="chat template"):
        prompt_text(loaded.tokenizer, chat, question)

    class Chatty:
        chat_template = "x"

        def apply_chat_template(self, messages: list[dict[str, str]], *, add_generation_prompt: bool, tokenize: bool) -> str:
            assert add_generation_prompt
            assert not tokenize
            return "|".join(f"{m['role']}:{m['content']}" for m in messages)

    assert prompt_text(Chatty(), chat, question) == f"system:think|user:{question.prompt}"
