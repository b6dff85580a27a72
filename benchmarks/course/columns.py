"""A ledger turned on its side: a column per field instead of a line per record, which packs to little more than half.

The form, as JSON: ``order`` has the types of the records one after another, each with how many follow; ``columns`` has a node per type. A
node with ``fields`` is a column of objects, a node per key; one with ``values`` is the column itself, one with ``rises`` a column of
numbers that never fall, as differences. ``at`` says which rows have a value where not all have one.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from itertools import accumulate, groupby, pairwise
from typing import Any

Node = dict[str, Any]

#: Decimals of seconds in an archive, and of fractions kept as differences: sums of these, rounded, are the numbers that were there.
DECIMALS = 5

_ABSENT: Any = object()


def columns_of(records: Sequence[Mapping[str, Any]]) -> bytes:
    """JSON objects with a ``type`` each, by columns. The same records give the same bytes."""
    kinds = [str(record["type"]) for record in records]
    order = [[kind, len(list(same))] for kind, same in groupby(kinds)]
    rows = {kind: [{k: v for k, v in r.items() if k != "type"} for r in records if r["type"] == kind] for kind in dict.fromkeys(kinds)}
    data = {"order": order, "columns": {kind: _node(found) for kind, found in rows.items()}}
    return json.dumps(data, ensure_ascii=False, separators=(",", ":")).encode()


def records_from(data: bytes) -> list[dict[str, Any]]:
    """The objects behind :func:`columns_of`, ``type`` first, keys in the order in which the columns have them.

    Raises ValueError, KeyError, TypeError or StopIteration for anything else.
    """
    parsed = json.loads(data)
    total = {kind: sum(n for k, n in parsed["order"] if k == kind) for kind, _ in parsed["order"]}
    rows = {kind: iter(_column(parsed["columns"][kind], n)) for kind, n in total.items()}
    return [{"type": kind, **next(rows[kind])} for kind, n in parsed["order"] for _ in range(n)]


def _node(column: Sequence[Any]) -> Node:
    at = [row for row, value in enumerate(column) if value is not _ABSENT]
    kept = [column[row] for row in at]
    node: Node = {} if len(at) == len(column) else {"at": at}
    if kept and all(isinstance(value, dict) for value in kept):
        keys = dict.fromkeys(key for value in kept for key in value)
        return {**node, "fields": {key: _node([value.get(key, _ABSENT) for value in kept]) for key in keys}}
    if _rises(kept):
        differences = [kept[0], *(_rounded(b - a) for a, b in pairwise(kept))]
        if repr(_sums(differences)) == repr(kept):
            return {**node, "rises": differences}
    return {**node, "values": kept}


def _column(node: Node, rows: int) -> list[Any]:
    """The column of a node, ``_ABSENT`` in rows without a value."""
    at = node.get("at", range(rows))
    if "fields" in node:
        columns = {key: _column(child, len(at)) for key, child in node["fields"].items()}
        kept: list[Any] = [{key: c[i] for key, c in columns.items() if c[i] is not _ABSENT} for i in range(len(at))]
    elif "rises" in node:
        kept = _sums(node["rises"])
    else:
        kept = node["values"]
    if len(kept) != len(at) or any(not 0 <= row < rows for row in at):
        raise ValueError(f"a column of {len(kept)} values for {len(at)} of {rows} rows")
    column = [_ABSENT] * rows
    for row, value in zip(at, kept, strict=True):
        column[row] = value
    return column


def _rises(values: Sequence[Any]) -> bool:
    """Whether these are three numbers or more of one kind that never fall."""
    kinds = {type(value) for value in values}
    return len(values) > 2 and len(kinds) == 1 and kinds <= {int, float} and all(a <= b for a, b in pairwise(values))


def _sums(differences: Sequence[Any]) -> list[Any]:
    """The numbers behind their first and its successors' differences."""
    return list(accumulate(differences, lambda total, difference: _rounded(total + difference)))


def _rounded(value: Any) -> Any:
    return round(value, DECIMALS) if isinstance(value, float) else value
