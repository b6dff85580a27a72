"""What is wrong with a setting, in words: pydantic's errors as clauses that a person can act on."""

from __future__ import annotations

from typing import Any

from pydantic import BaseModel

from harness.errors import did_you_mean


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
    for part in location:
        if model is None or part not in model.model_fields:
            return []
        annotation = model.model_fields[str(part)].annotation
        model = annotation if isinstance(annotation, type) and issubclass(annotation, BaseModel) else None
    return list(model.model_fields) if model is not None else []
