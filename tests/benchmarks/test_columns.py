"""Ledgers by columns: every list of records comes back as it was."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from benchmarks.course.columns import columns_of, records_from

SCALARS = (
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.sampled_from(["", "a", "\u2028"])
)
VALUES = st.recursive(
    SCALARS,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(["a", "at", "values"]), inner, max_size=3),
    max_leaves=8,
)
RECORDS = st.lists(
    st.fixed_dictionaries({"type": st.sampled_from(["step", "evaluation"])}, optional=dict.fromkeys(("at", "costs", "fields"), VALUES))
)


def exact(value: Any) -> str:
    """JSON tells 1 from 1.0 and from true, as == does not."""
    return json.dumps(value, sort_keys=True)


@given(RECORDS)
def test_any_records_come_back(records: list[dict[str, Any]]) -> None:
    """Fields that only some records have, objects of different keys, empty ones, numbers of every kind; types in their order."""
    assert exact(records_from(columns_of(records))) == exact(records)


@given(st.lists(st.integers(0, 10**13).map(lambda n: n / 10**5), min_size=3, max_size=40).map(sorted))
def test_numbers_that_rise_come_back_to_the_last_digit(seconds: list[float]) -> None:
    """Kept as differences, rounded on the way: the sum of the rounded differences is the number that was there."""
    records = [{"type": "step", "costs": {"training_seconds": value}} for value in seconds]
    assert exact(records_from(columns_of(records))) == exact(records)


def test_the_form() -> None:
    """By hand: two steps, an evaluation between them, a field that only the second step has."""
    records = [{"type": "step", "tokens": 5}, {"type": "evaluation", "right": "f0"}, {"type": "step", "tokens": 9, "warned": True}]
    columns = {
        "step": {"fields": {"tokens": {"values": [5, 9]}, "warned": {"at": [1], "values": [True]}}},
        "evaluation": {"fields": {"right": {"values": ["f0"]}}},
    }
    assert json.loads(columns_of(records)) == {"order": [["step", 1], ["evaluation", 1], ["step", 1]], "columns": columns}
    rising = [{"type": "step", "tokens": tokens} for tokens in (5, 9, 9, 12)]
    assert json.loads(columns_of(rising))["columns"]["step"]["fields"]["tokens"] == {"rises": [5, 4, 0, 3]}


@pytest.mark.parametrize("at", ["[2]", "[-1]", "[0, 1]"])
def test_rows_that_there_are_not(at: str) -> None:
    """A row beyond the others, one from the end, more rows than values."""
    with pytest.raises(ValueError, match="a column of 1 values for"):
        records_from(f'{{"order": [["step", 2]], "columns": {{"step": {{"fields": {{"a": {{"at": {at}, "values": [1]}}}}}}}}}}'.encode())
