"""Read the question and the final answer of a record in any of the usual shapes.

Shapes: ``problem``/``question`` beside ``answer``/``final_answer`` (MATH-500, DeepScaleR, DeepMath, …), a worked ``solution`` with a
``\\boxed{}`` answer (MATH), a worked answer after ``####`` (GSM8K), verl's ``prompt`` and ``reward_model``, and conversations whose
second turn holds the ground truth (Open-Reasoner-Zero).
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Mapping, Sequence
from typing import Any

from harness.reward.answers import boxed

#: What the paper's prompt asks for; some files carry it at the end of each question.
INSTRUCTION = "Let's think step by step and output the final answer within \\boxed{}."
_UNBRACED_BOX = re.compile(r"\\boxed\s+([^\s$.,]+)")
_THOUSANDS = re.compile(r"(?<=\d),(?=\d{3}(?!\d))")
_DELIMITER = re.compile(r"(?<!\\)\$")


def question_text(row: Mapping[str, Any]) -> str:
    """The question alone, without a prompt's instruction; empty where the record has none."""
    extra = row.get("extra_info")
    candidates = [
        row.get("problem"),
        row.get("question"),
        extra.get("question") if isinstance(extra, Mapping) else None,
        turn_text(row.get("prompt")),
        turn_text(row.get("0")),
    ]
    found = next((text for text in candidates if isinstance(text, str)), "").strip()
    return found.removesuffix(INSTRUCTION).strip()


class AnswerError(ValueError):
    """A record whose answer is no text and no number; the message says what it is."""


def final_answer(row: Mapping[str, Any]) -> str:
    """The final answer as LaTeX for the inside of a ``\\boxed{}``; empty where the record has none (a missing value, ``NaN``).

    If there are several spellings, the last one is used, as in the evaluation code of Qwen2.5-Math, which takes the last box of a solution.
    Raises AnswerError for true, false, an infinite number or an object: as texts they would be gold answers that nobody meant.
    """
    model, reply = row.get("reward_model"), row.get("1")
    truth = reply.get("ground_truth") if isinstance(reply, Mapping) else None
    candidates = [
        row.get("final_answer"),
        row.get("answer"),
        model.get("ground_truth") if isinstance(model, Mapping) else None,
        truth.get("value") if isinstance(truth, Mapping) else truth,
    ]
    found = next((value for value in candidates if not is_missing(value)), None)
    if found is None:
        return solution_answer(str(row.get("solution") or ""))
    if isinstance(found, Sequence) and not isinstance(found, str):
        found = found[-1] if len(found) else ""
    if isinstance(found, bool | Mapping) or (isinstance(found, float) and not math.isfinite(found)):
        shown = json.dumps(found, default=str)
        raise AnswerError(f"its answer is {shown if len(shown) <= 60 else shown[:57] + '...'}, which is neither a text nor a number")
    return "" if is_missing(found) else _plain(str(found))


def is_missing(value: Any) -> bool:
    """Whether a data set has no value here: null, or the NaN that a table has in its place."""
    return value is None or (isinstance(value, float) and math.isnan(value))


def solution_answer(solution: str) -> str:
    """The last boxed answer of a worked solution; empty where there is none."""
    inside = boxed(solution)
    if inside is None:
        unbraced = _UNBRACED_BOX.findall(solution)
        inside = unbraced[-1] if unbraced else ""
    return inside.strip()


def turn_text(value: Any) -> Any:
    """The text of a turn, or of the last turn of a conversation that a person wrote."""
    if isinstance(value, Mapping):
        return value.get("content", value.get("value"))
    if isinstance(value, Sequence) and not isinstance(value, str):
        turns = [turn for turn in value if isinstance(turn, Mapping) and turn.get("role", turn.get("from")) in ("user", "human")]
        return turn_text(turns[-1]) if turns else None
    return value


def _plain(answer: str) -> str:
    if "####" in answer:  # GSM8K: worked answer, then the number, with commas between thousands
        answer = _THOUSANDS.sub("", answer.rpartition("####")[2])
    answer = _DELIMITER.sub("", answer).strip()
    inside = boxed(answer) if answer.startswith("\\boxed{") and answer.count("\\boxed{") == 1 and answer.endswith("}") else None
    return answer if inside is None else inside
