"""Positions in TOML: every key that tomllib sees has the line it is on."""

from __future__ import annotations

import tomllib
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from harness.suite.toml_lines import KeyPath, key_lines, line_of

HARD = '''# comment with [brackets] and "quotes"
title = "a # no comment = [x]" # comment
'single [quoted]' = 'C:\\path\\'
"escaped \\" quote.dot" = 1
a.b . c = 1
multi = """
[not.a.table]
key = 1 \\"""
"""" # four quotes close it
literal = \'\'\'
[[nor this]]
\'\'\'
empty = []
list = [ # comment ]
  1, [2,
  3], { x = 1, y.z = "}" },
  "]",
]
date = 1979-05-27 07:32:00
inline = { k = [1, { deep = true }], "q" = {} }

[table]
x = 1
[table.sub]  # comment
y = 2

[[array]]
n = 1
[array.child]
m = 1
[[array]]
n = 2
  [[array.nested]]
  z = 1
  [[array.nested]]
  z = 2
  [array.nested.deep.er]
  w = 1
["quoted table".'x']
v = 1
'''


def paths(value: Any, at: KeyPath = ()) -> set[KeyPath]:
    """Every key and list item of parsed TOML."""
    found: set[KeyPath] = {at} if at else set()
    items = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for key, below in items:
        found |= paths(below, (*at, key))
    return found


def test_hard_cases() -> None:
    """Strings, comments, dotted and quoted keys, nested arrays of tables: every path found, on its line, and none invented."""
    lines = key_lines(HARD)
    assert paths(tomllib.loads(HARD)) == set(lines)
    text = HARD.split("\n")
    for key, expected in {
        ("title",): "title", ("a", "b", "c"): "a.b . c", ("multi",): "multi", ("literal",): "literal", ("list", 2, "y", "z"): "3], {",
        ("list", 3): '"]"', ("inline", "k", 1, "deep"): "inline", ("table", "sub", "y"): "y = 2", ("array", 1, "n"): "n = 2",
        ("array", 0, "child", "m"): "m = 1", ("array", 1, "nested", 1, "deep", "er", "w"): "w = 1", ("quoted table", "x", "v"): "v = 1",
        ('escaped " quote.dot',): '"escaped',
    }.items():  # fmt: skip
        assert text[lines[key] - 1].strip().startswith(expected), key


def test_windows_line_ends() -> None:
    """A file written on Windows gives the same lines."""
    assert key_lines(HARD.replace("\n", "\r\n")) == key_lines(HARD)


def test_missing_keys_point_at_their_table() -> None:
    """What is not there is reported at the table that should hold it."""
    lines = key_lines("a = 1\n\n[t]\nx = 1\n")
    assert line_of(lines, ("t", "missing")) == 3
    assert line_of(lines, ("missing",)) is None


KEYS = st.one_of(st.from_regex(r"[A-Za-z0-9_-]{1,6}", fullmatch=True), st.text(max_size=4))
TEXT = st.text(st.characters(exclude_categories=("Cs",)), max_size=12)
VALUES = st.recursive(
    st.one_of(st.integers(-99, 99), st.booleans(), TEXT),
    lambda inner: st.one_of(st.lists(inner, max_size=3), st.dictionaries(KEYS, inner, max_size=3)),
    max_leaves=8,
)


def quoted(text: str) -> str:
    escaped = "".join(c if c.isprintable() and c not in '"\\' else f"\\U{ord(c):08x}" for c in text)
    return f'"{escaped}"'


def written(value: Any) -> str:
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, list):
        return "[\n" + "".join(f"  {written(v)}, # ] \n" for v in value) + "]"
    if isinstance(value, dict):
        return "{" + ", ".join(f"{quoted(k)} = {one_line(v)}" for k, v in value.items()) + "}"
    return quoted(value) if isinstance(value, str) else str(value)


def one_line(value: Any) -> str:
    if isinstance(value, list):
        return "[" + ", ".join(one_line(v) for v in value) + "]"
    return written(value)


@given(st.dictionaries(KEYS, VALUES, max_size=5), st.lists(st.dictionaries(KEYS, VALUES, max_size=3), max_size=3))
def test_any_document(top: dict[str, Any], tables: list[dict[str, Any]]) -> None:
    """For any document the scanner finds exactly the paths that tomllib finds."""
    text = "".join(f"{quoted(k)}={written(v)}\n" for k, v in top.items())
    for table in tables:
        text += "[[the.tables]]\n" + "".join(f"  {quoted(k)} = {written(v)} # x\n" for k, v in table.items())
    try:
        data = tomllib.loads(text)
    except tomllib.TOMLDecodeError:
        return  # a top-level key 'the' that is no table
    assert paths(data) == set(key_lines(text))
