"""The table of collected pass rates and its journals: what survives an interruption, and what is refused."""

from __future__ import annotations

import json
import tempfile
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from harness.errors import UserError
from harness.predictor.collection import Column, Journal, PassRateStore, read_metadata
from harness.predictor.lab.pass_rate_table import read_table

QUESTIONS = tuple(f"question {i}" for i in range(5))


def column(label: str = "Qwen2.5-7B", commit: str = "0123456789abcdef", **changes: Any) -> Column:
    facts: dict[str, Any] = {
        "label": label, "model": f"org/{label}", "commit": commit, "rollouts": 16, "temperature": 0.6, "top_p": 0.95,
        "max_completion_tokens": 3072, "seed": 0, "backend": "trl", "generation": "vllm", "precision": "bfloat16", "task": "maths",
        "split": "train", "reward": "math-verify",
    }  # fmt: skip
    return Column(**{**facts, **changes})


def filled(store: PassRateStore, what: Column, rates: list[float]) -> Journal:
    journal = store.journal(what)
    journal.append(0, rates, tokens=10, seconds=0.5)
    return journal


def test_the_name_says_family_rollouts_sampling_and_commit() -> None:
    """What 'predictor train' reads out of a name is there: the family up to ``__`` and the rollouts after ``k``."""
    assert column().name == "pass_rate__Qwen2.5-7B__k16_t0.6_p0.95_n3072_01234567"


def test_columns_join_the_table_and_are_read_by_train(tmp_path: Path) -> None:
    """Two models, one after the other; rates, rollouts and families come back, and the metadata says what was measured."""
    path = tmp_path / "rates.parquet"
    store, first, second = PassRateStore(path, QUESTIONS), column(), column("Llama-3.1-8B-Instruct", rollouts=8)
    store.add(first, filled(store, first, [0.0, 0.25, 0.5, 0.75, 1.0]))
    again = PassRateStore(path, QUESTIONS)
    assert again.holds(first)
    assert not again.holds(second)
    again.add(second, filled(again, second, [1.0] * 5))
    table = read_table(path)
    assert table.questions == QUESTIONS
    assert table.rollouts == (16, 8)
    assert [table.family(m) for m in range(2)] == ["Qwen2.5-7B", "Llama-3.1-8B"]
    np.testing.assert_array_equal(table.pass_rates[:, 0], [0.0, 0.25, 0.5, 0.75, 1.0])
    facts = read_metadata(path)[1][first.name]
    assert (facts["commit"], facts["temperature"], facts["tokens"], facts["seconds"]) == ("0123456789abcdef", 0.6, 10, 0.5)
    assert not list((tmp_path / "rates.parquet.collecting").glob("*.jsonl"))


@settings(max_examples=60)
@given(
    portions=st.lists(st.lists(st.integers(0, 8).map(lambda k: k / 8), min_size=1, max_size=4), min_size=1, max_size=6),
    cut=st.floats(0, 1),
    portion=st.integers(1, 7),
)
def test_a_journal_that_was_cut_anywhere_goes_on(portions: list[list[float]], cut: float, portion: int) -> None:
    """Whole lines count, a torn one is as if it had not been; what is missing is exactly the rest, and afterwards nothing is."""
    with tempfile.TemporaryDirectory() as folder:
        path, total = Path(folder) / "j.jsonl", sum(map(len, portions))
        expected = np.concatenate([np.asarray(p) for p in portions])
        journal, starts = Journal(path, total), np.cumsum([0, *map(len, portions)])
        for first, rates in zip(starts[:-1].tolist(), portions, strict=True):
            journal.append(first, rates, tokens=len(rates), seconds=1.0)
        data = path.read_bytes()
        path.write_bytes(data[: round(cut * len(data))])
        kept = data[: round(cut * len(data))].count(b"\n")
        resumed = Journal(path, total)
        assert resumed.done == starts[kept] == resumed.totals["tokens"]
        missing = [i for part in resumed.missing(portion) for i in part]
        assert set(missing) >= set(range(starts[kept], total))
        for part in resumed.missing(portion):
            resumed.append(part.start, expected[part.start : part.stop].tolist(), tokens=0, seconds=0.0)
        final = Journal(path, total)
        np.testing.assert_array_equal(final.rates, expected)
        assert not list(final.missing(portion))
        assert all(json.loads(line) for line in path.read_bytes().splitlines())


def test_a_journal_belongs_to_one_column_and_pool(tmp_path: Path) -> None:
    """Another commit, other sampling or other questions never go on with it."""
    store = PassRateStore(tmp_path / "rates.parquet", QUESTIONS)
    filled(store, column(), [0.5] * 5)
    assert store.journal(column()).done == 5
    for other in (column(commit="f" * 40), column(temperature=1.0), column(seed=1)):
        assert store.journal(other).done == 0
    assert PassRateStore(tmp_path / "rates.parquet", QUESTIONS[:4]).journal(column()).done == 0


def test_what_does_not_fit_the_table_is_refused_with_a_sentence(tmp_path: Path) -> None:
    """A table of other questions, one from elsewhere, no table at all, and a column of the same name measured otherwise."""
    path = tmp_path / "rates.parquet"
    store = PassRateStore(path, QUESTIONS)
    store.add(column(), filled(store, column(), [0.5] * 5))
    with pytest.raises(UserError, match="holds pass rates of other questions"):
        PassRateStore(path, QUESTIONS[::-1])
    with pytest.raises(UserError, match="measured with seed 0 instead of 1"):
        store.holds(column(seed=1))
    pd.DataFrame({"question": QUESTIONS}).to_parquet(tmp_path / "plain.parquet")
    (tmp_path / "text.parquet").write_text("rates")
    for name in ("plain", "text"):
        with pytest.raises(UserError, match="is not a table that 'halfway predictor collect' wrote"):
            PassRateStore(tmp_path / f"{name}.parquet", QUESTIONS)
