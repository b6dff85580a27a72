"""Question and gold answer of a user's records: which column holds them, and what of an answer a reward can compare."""

from __future__ import annotations

import json
import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal
from typing import Any, Literal

from harness.errors import did_you_mean
from harness.reward.answers import boxed
from harness.reward.last_number import number_value
from harness.task import TaskError
from suites.tasks.pools import Item, metadata_of
from suites.tasks.record_files import Records, Row
from suites.tasks.rows import is_missing, turn_text

#: Names that are looked for, in this order, where a suite names no column.
QUESTION_COLUMNS = ("question", "problem", "prompt", "query", "instruction", "input")
ANSWER_COLUMNS = ("answer", "final_answer", "gold", "target", "ground_truth", "expected", "label", "output", "solution")
#: Columns shown in a message.
SHOWN = 12

#: ``text``: a gold answer is compared as a text; ``value``: as what it means; ``number``: it must be one.
Comparison = Literal["text", "value", "number"]
_FINAL = re.compile(r"####\s*([^\n]+)\s*$")


@dataclass(frozen=True, slots=True)
class Columns:
    """Names of the two columns; ``a.b`` is the field b of the record in a."""

    question: str
    answer: str

    @classmethod
    def find(cls, records: Records, question: str | None, answer: str | None, where: str) -> Columns:
        """The columns named, or those found by their usual names. Raises TaskError that lists the file's columns."""
        return cls(
            _column(records, question, "question", QUESTION_COLUMNS, where), _column(records, answer, "answer", ANSWER_COLUMNS, where)
        )


def _column(records: Records, named: str | None, role: str, usual: Sequence[str], where: str) -> str:
    names = records.columns
    if named is not None:
        if any(_value(row, named) is not None for row in records.rows) or named in names:
            return named
        raise TaskError(
            f"{where} has no column {named!r}{did_you_mean(named, names)} (its columns: {_listed(names)}); set {role} to one of them"
        )
    lower = {name.casefold(): name for name in reversed(names)}
    found = next((lower[name] for name in usual if name in lower), None)
    if found is None:
        raise TaskError(
            f"{where} has no column with a usual name for the {role} ({', '.join(usual)}); its columns are {_listed(names)}: "
            f'say which one it is with {role} = "…"'
        )
    return found


def _listed(names: Sequence[str]) -> str:
    more = f" and {len(names) - SHOWN} more" if len(names) > SHOWN else ""
    return ", ".join(map(str, names[:SHOWN])) + more if names else "none"


def _value(row: Row, column: str) -> Any:
    """What a record has in a column; None where it has none."""
    if column in row or "." not in column:
        return row.get(column)
    outer, _, inner = column.partition(".")
    nested = row.get(outer)
    return _value(nested, inner) if isinstance(nested, Mapping) else None


@dataclass(frozen=True, slots=True)
class Read:
    """Usable items with the record behind each, why records were left out, and how many golds were numbers rather than texts."""

    items: list[tuple[Item, Row]]
    left_out: dict[str, int]
    numbers: int


def read_columns(records: Records, columns: Columns, comparison: Comparison, where: str) -> Read:
    """Items of a file's records. Raises TaskError, with the line, for a question or an answer that cannot be used."""
    items: list[tuple[Item, Row]] = []
    left_out = {"no question": 0, "no answer": 0}
    numbers = 0
    for row, place in zip(records.rows, records.places, strict=True):
        at = f"{where}, {place}"
        prompt, value = _question(_value(row, columns.question), at), _value(row, columns.answer)
        answer = _gold(value, comparison, at)
        _check_characters(prompt + answer, at)
        if prompt and answer:
            items.append((Item(prompt, answer, metadata_of(row)), row))
            numbers += not isinstance(value, str)
        else:
            left_out["no answer" if prompt else "no question"] += 1
    if not items:
        raise TaskError(f"{where} has no record with both a {columns.question!r} and a {columns.answer!r} that is not empty")
    return Read(items, {why: count for why, count in left_out.items() if count}, numbers)


def _check_characters(text: str, at: str) -> None:
    try:
        text.encode()
    except UnicodeEncodeError as error:
        raise TaskError(f"{at}: it holds {text[error.start]!r}, half of a character that no tokenizer reads; remove it") from error


def _question(value: Any, at: str) -> str:
    text = turn_text(value)
    if text is None:
        return ""
    if not isinstance(text, str):
        raise TaskError(f"{at}: its question is {_shown(value)}, which is no text")
    return text.strip()


def _gold(value: Any, comparison: Comparison, at: str) -> str:
    """The gold answer as text; empty where the record has none (null, an empty text, the NaN of a table)."""
    if is_missing(value):
        return ""
    if isinstance(value, bool):
        raise TaskError(f'{at}: its answer is {_shown(value)}; write the text that a model should answer, such as "yes" or "true"')
    if isinstance(value, float):
        return _float(value, comparison, at)
    if not isinstance(value, str | int | Decimal):
        raise TaskError(
            f"{at}: its answer is {_shown(value)}, which is neither a text nor a number; name the field in it, as in answer.value"
        )
    text = str(value).strip()
    if comparison == "text" or not text:
        return text
    text = _final(text)
    if comparison == "number" and number_value(text) is None:
        raise TaskError(f'{at}: its answer {_shown(text)} is no number, and reward = "number" compares numbers; use "math" or "exact"')
    return text


def _float(value: float, comparison: Comparison, at: str) -> str:
    if not math.isfinite(value):
        raise TaskError(f"{at}: its answer is {value}, which is no number that can be compared")
    text = str(int(value)) if value.is_integer() and abs(value) < 2**53 else repr(value)
    if comparison == "text":
        raise TaskError(
            f"{at}: its answer is the number {value!r}, and this reward gets the answer as a text: "
            f'write it as the text that is meant, such as "{text}"'
        )
    return text


def _final(text: str) -> str:
    """The end of a worked answer: what follows ``####``, or the last box."""
    marked = _FINAL.search(text)
    inside = boxed(text)
    return marked[1].strip() if marked else inside or text


def _shown(value: Any) -> str:
    text = json.dumps(value, ensure_ascii=False, default=str)
    return text if len(text) <= 60 else f"{text[:57]}..."
