"""What is wrong with a setting, in words: pydantic's errors as clauses that a person can act on."""

from __future__ import annotations

from types import NoneType, UnionType
from typing import Any, Union, get_args, get_origin

from pydantic import BaseModel, ValidationError

from harness.errors import did_you_mean


def most_telling(error: ValidationError) -> Any:
    """Of several errors the one to show. Unknown keys before missing ones: a misspelt key is usually why another is missing."""
    order = {"extra_forbidden": 0, "missing": 2}
    # Of the branches of a union, the one that got deepest is the one that was meant.
    return min(error.errors(), key=lambda e: (order.get(e["type"], 1), -len(e["loc"])))


def explain(error: Any, model: type[BaseModel] | None = None) -> tuple[tuple[str | int, ...], str]:
    """One pydantic error (an item of ``ValidationError.errors()``) as its location and a clause that says what is wrong."""
    location, kind, context = tuple(error["loc"]), error["type"], error.get("ctx", {})
    got = repr(error.get("input"))
    got = f", not {got if len(got) <= 60 else got[:57] + '...'}"
    if kind == "extra_forbidden":
        return location, f"unknown key {location[-1]!r}{did_you_mean(str(location[-1]), _known_keys(model, location[:-1]))}"
    if kind == "missing":
        return location, f"{location[-1]!r} is missing"
    if kind == "value_error":
        return location, str(context.get("error", error["msg"]))
    if kind == "too_short" or (kind == "string_too_short" and error.get("input") == ""):
        return location, "must not be empty"
    if kind == "literal_error":
        return location, f"must be {context['expected']}{got}" + did_you_mean(str(error["input"]), context["expected"].split("'")[1::2])
    nouns = {"int": "an integer", "float": "a number", "bool": "true or false", "string": "a string", "tuple": "a list",
             "list": "a list", "dict": "a table", "model": "a table"}  # fmt: skip
    stem, _, tail = kind.partition("_")
    if stem in nouns and tail in ("type", "attributes_type"):
        return location, f"must be {nouns[stem]}{got}"
    words = error["msg"].replace("Input should", "must").replace("String should", "must").removeprefix("Value error, ")
    return location, words + got


def _known_keys(model: type[BaseModel] | None, location: tuple[str | int, ...]) -> list[str]:
    """Keys of the table at ``location`` below ``model``; none where that is no table with fixed keys."""
    here: Any = model
    for part in location:
        if _is_model(here):
            here = _given(here.model_fields[str(part)].annotation) if part in here.model_fields else None
        else:  # a value of a mapping or an item of a list: its type comes last, but for the ... of tuple[X, ...]
            here = next((_given(a) for a in reversed(get_args(here)) if a is not Ellipsis), None)
    return list(here.model_fields) if _is_model(here) else []


def _given(annotation: Any) -> Any:
    """What a key holds where it is given: ``X`` of ``X | None``."""
    kinds = [a for a in get_args(annotation) if a is not NoneType]
    return kinds[0] if get_origin(annotation) in (Union, UnionType) and len(kinds) == 1 else annotation


def _is_model(kind: Any) -> bool:
    return isinstance(kind, type) and issubclass(kind, BaseModel)
