"""Tables of recorded pass rates: what is read, and what is refused by row and column."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from harness.errors import UserError
from harness.rehearsal.engine import smoothed
from harness.rehearsal.recording import read_recording
from harness.strategies.labels import metadata_labels
from harness.types import QuestionPool


def table(folder: Path, **columns: object) -> Path:
    path = folder / "table.parquet"
    pd.DataFrame(columns).to_parquet(path)
    return path


def test_lists_are_a_trajectory_cut_to_the_shortest(tmp_path: Path) -> None:
    """A policy is there for all questions or for none; scalar columns become metadata, answers do not."""
    path = table(tmp_path, problem=["a", "b"], answer=["1", "2"], level=[3, 5], rates=[[0.0, 0.5, 1.0], [0.25, 0.5]])
    found = read_recording(path)
    assert found.trajectory
    assert found.rates.tolist() == [[0.0, 0.5], [0.25, 0.5]]
    assert [dict(m) for m in found.metadata] == [{"level": 3}, {"level": 5}]
    assert [q.answer for q in found.pool()] == ["", ""]


def test_labels_with_gaps_and_measurements(tmp_path: Path) -> None:
    """A level that some questions lack is theirs alone who have it, whole as it was; fractions are no label."""
    path = table(
        tmp_path, problem=["a", "b"], level=[3.0, float("nan")], type=["x", None], mean=[0.5, 1.0], rates=[[0.0, 0.5], [0.25, 0.5]]
    )
    found = read_recording(path)
    assert [dict(m) for m in found.metadata] == [{"level": 3, "type": "x"}, {}]
    assert all(isinstance(m["level"], int) for m in found.metadata if "level" in m)
    with pytest.raises(UserError, match=r"1 of 2 questions have no 'level' in their metadata \(the first: 'b'\)"):
        metadata_labels(QuestionPool(found.pool()), "level", ())


def test_numbered_columns_are_put_in_order(tmp_path: Path) -> None:
    """step_10 comes after step_2."""
    path = tmp_path / "table.csv"
    path.write_text("question,step_10,step_2\nq1,1.0,0.5\nq2,0.75,0.25\n")
    found = read_recording(path)
    assert found.policies == ("step 2", "step 10")
    assert found.rates.tolist() == [[0.5, 1.0], [0.25, 0.75]]


def test_models_are_policies_and_few_samples_are_left_out(tmp_path: Path) -> None:
    """A rate from one greedy answer is no pass rate; a column named explicitly is taken as it is."""
    path = table(tmp_path, question=["a", "b"], pass_rate__A__k50=[0.1, 0.9], pass_rate__B__k1=[0.0, 1.0])
    assert read_recording(path).policies == ("A__k50",)
    assert not read_recording(path).trajectory
    assert read_recording(path, policies=["B__k1"]).samples == (1,)
    with pytest.raises(UserError, match="no column 'pass_rate__A__k5'; did you mean 'pass_rate__A__k50'"):
        read_recording(path, policies=["A__k5"])


@pytest.mark.parametrize(
    ("columns", "message"),
    [
        ({"question": ["a", "b"], "step_1": [0.5, 1.5], "step_2": [0.0, 0.0]}, "row 1: the pass rate in column 'step_1' is 1.5, outside"),
        ({"question": ["a", "b"], "step_1": [0.5, None], "step_2": [0.0, 0.0]}, "row 1: the pass rate in column 'step_1' is missing"),
        ({"question": ["a", "b"], "rates": [[0.5, -0.1], [0.0, 0.0]]}, r"row 0: the pass rate in column 'rates\[1\]' is -0.1"),
        ({"question": ["a", "a"], "step_1": [0.5, 0.5], "step_2": [0.0, 0.0]}, "row 1: column 'question' repeats the question of row 0"),
        ({"question": ["a", " "], "step_1": [0.5, 0.5], "step_2": [0.0, 0.0]}, "row 1: column 'question' is empty"),
        ({"question": ["a", "b"], "step_1": [0.5, 0.5]}, "has 1 columns of pass rates"),
        ({"question": ["a", "b"], "rates": [[0.5, 0.5], [0.5]]}, "row 1: column 'rates' has 1 evaluations"),
        ({"question": ["a", "b"], "x": [0.5, 0.5]}, "has no recorded pass rates: give one column of lists"),
        ({"text": ["a", "b"], "step_1": [0.5, 0.5]}, "has no column question or problem or prompt"),
    ],
)
def test_bad_tables_are_refused_by_row_and_column(tmp_path: Path, columns: dict[str, object], message: str) -> None:
    """One sentence: the file, the row, the column, what is wrong."""
    path = table(tmp_path, **columns)
    with pytest.raises(UserError, match=message) as found:
        read_recording(path)
    assert str(path) in str(found.value)


def test_repeated_questions_can_be_dropped_and_are_counted(tmp_path: Path) -> None:
    """Real training logs have some; the first row counts."""
    path = table(tmp_path, question=["a", "b", "a"], step_1=[0.1, 0.2, 0.3], step_2=[0.1, 0.2, 0.3])
    found = read_recording(path, drop_repeated=True)
    assert (found.rates[:, 0].tolist(), found.repeated) == ([0.1, 0.2], 1)


@pytest.mark.parametrize("text", ["", "not a table", "question,step_1\n"])
def test_files_that_are_no_tables(tmp_path: Path, text: str) -> None:
    """An empty file, a text, a header without rows."""
    path = tmp_path / "table.csv"
    path.write_text(text)
    with pytest.raises(UserError):
        read_recording(path)


def test_smoothing_by_hand() -> None:
    """Three columns averaged; two at either end."""
    found = smoothed(np.array([[0.0, 1.0, 0.5, 0.0]]), 3)
    assert found[0] == pytest.approx([0.5, 0.5, 0.5, 0.25])


@given(arrays(np.float64, (3, 7), elements=st.floats(0, 1)), st.sampled_from([1, 3, 5, 13]))
def test_smoothed_rates_stay_between_the_recorded_ones(rates: np.ndarray, window: int) -> None:
    """An average of pass rates is a pass rate of the same question."""
    found = smoothed(rates, window)
    assert found.shape == rates.shape
    assert (found >= rates.min(axis=1, keepdims=True) - 1e-12).all()
    assert (found <= rates.max(axis=1, keepdims=True) + 1e-12).all()
