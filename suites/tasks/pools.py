"""Turn the records of a data set into a pool: filter, draw, and count what was left out and why."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from harness.data.overlap import normalised
from harness.task import TaskError
from harness.types import Question
from suites.tasks.record_files import Row
from suites.tasks.rows import AnswerError, final_answer, question_text
from suites.tasks.sources import Source


@dataclass(frozen=True, slots=True)
class Item:
    """A question with its answer; ``metadata`` is visible to strategies."""

    prompt: str
    answer: str
    metadata: Mapping[str, Any]


def plain_item(row: Row) -> Item:
    """Question and final answer of a record, with subject and difficulty as the data set gives them."""
    return Item(question_text(row), final_answer(row), metadata_of(row))


def read_items(source: Source, to_item: Callable[[Row], Item] = plain_item) -> tuple[list[Item], dict[str, Any]]:
    """The records of a source that have a question and an answer, and facts: origin, number of records, what was left out.

    A question without an answer cannot be graded, because an empty box would be right. Raises TaskError if nothing is left, and for a
    record whose answer is no text and no number.
    """
    rows, origin = source.read()
    where = f"data set {source.name!r} ({origin.get('file') or origin.get('hub')})"
    items = [_item(row, to_item, f"{where}, record {number}") for number, row in enumerate(rows, 1)]
    usable = [item for item in items if item.prompt and item.answer]
    if not usable:
        raise TaskError(f"{where} has no record with a question and an answer")
    left_out = {"no question": sum(not i.prompt for i in items), "no answer": sum(bool(i.prompt) and not i.answer for i in items)}
    return usable, {**origin, "records": len(rows), "left_out": {why: count for why, count in left_out.items() if count}}


def _item(row: Row, to_item: Callable[[Row], Item], where: str) -> Item:
    try:
        return to_item(row)
    except AnswerError as error:
        raise TaskError(f"{where}: {error}; write the answer as a text") from error


def left_out(facts: Mapping[str, Any], why: str, count: int) -> dict[str, Any]:
    """The facts with one more reason why records were left out."""
    return {**facts, "left_out": {**facts["left_out"], **({why: count} if count else {})}}


def without_long(items: list[Item], facts: dict[str, Any], longest: int | None) -> tuple[list[Item], dict[str, Any]]:
    """The items of at most ``longest`` characters, and the facts with the number of items left out."""
    if longest is None:
        return items, facts
    short = [item for item in items if len(item.prompt) <= longest]
    return short, left_out(facts, f"longer than {longest} characters", len(items) - len(short))


def draw(items: Sequence[Item], seed: int, train: int, validation: int, where: str) -> tuple[list[Item], list[Item]]:
    """(pool, validation questions), chosen by the seed and the questions' own texts, not by the order of a file.

    No validation question repeats one of the pool. Raises TaskError if there are too few; its message begins with ``where``.
    """
    if not 0 < train <= len(items):
        raise TaskError(f"{where}: {len(items)} usable questions, but the pool asks for {train}; set train lower")
    drawn = sorted(items, key=lambda item: draw_order(seed, item))
    pool = drawn[:train]
    inside = {normalised(item.prompt) for item in pool}
    spare = [item for item in drawn[train:] if normalised(item.prompt) not in inside]
    if len(spare) < validation:
        raise TaskError(
            f"{where}: {len(spare)} questions outside a pool of {train}, fewer than the {validation} for validation; "
            "set train or validation lower"
        )
    return pool, spare[:validation]


def as_questions(items: Iterable[Item], task: str) -> tuple[Question, ...]:
    """Questions whose ids are positions."""
    return tuple(Question(i, item.prompt, item.answer, task, item.metadata) for i, item in enumerate(items))


def alphabet(splits: Mapping[str, Iterable[Question]]) -> str:
    """Every character of prompts and answers, sorted."""
    return "".join(sorted({c for questions in splits.values() for q in questions for c in q.prompt + q.answer}))


def metadata_of(row: Row) -> dict[str, Any]:
    """Level, subject and difficulty of a record, which strategies may see."""
    found: dict[str, Any] = {}
    level = re.search(r"[1-5]", str(row.get("level")))
    if level:
        found["level"] = int(level[0])
    subject = next((row[key] for key in ("type", "subject", "topic", "domain") if isinstance(row.get(key), str)), None)
    if subject is not None:
        found["subject"] = subject
    if isinstance(row.get("difficulty"), (int, float)):
        found["difficulty"] = row["difficulty"]
    return found


def draw_order(seed: int, item: Item) -> tuple[str, str, str]:
    """What items are sorted by before a draw: random in the seed, the same whatever the order of the file."""
    # Repeats of a question sort next to each other, so that the order of a file never separates them.
    return hashlib.sha256(f"{seed}/{normalised(item.prompt)}".encode()).hexdigest(), item.prompt, item.answer
