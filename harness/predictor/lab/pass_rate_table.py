"""Pass-rate tables: one row per question, one column per model; parquet or CSV."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from harness.errors import UserError, did_you_mean
from harness.types import FloatArray, IntArray

if TYPE_CHECKING:
    import pandas as pd

_QUESTION_COLUMNS = ("question", "problem", "prompt")
_PREFIX = "pass_rate__"
_ROLLOUTS = re.compile(r"__k(\d+)(?:_|$)")
_DEFAULT_ROLLOUTS = 8
_VARIANT = re.compile(r"-(?:Instruct|Chat|Base)$", re.IGNORECASE)


@dataclass(frozen=True, slots=True)
class PassRateTable:
    """N questions × M models.

    questions: N different texts. pass_rates: shape (N, M) in [0, 1], NaN = not measured. models: M names. rollouts: how
    many rollouts stand behind each column (``…__k50_…`` in a name means 50; else 8).
    """

    questions: tuple[str, ...]
    models: tuple[str, ...]
    pass_rates: FloatArray
    rollouts: tuple[int, ...]
    split: tuple[str, ...] | None = None

    def family(self, model: int) -> str:
        """Model family of a column: its name up to ``__``, without ``-Instruct``, ``-Chat`` or ``-Base``."""
        return _VARIANT.sub("", self.models[model].split("__")[0])

    def rows(self, ids: IntArray) -> PassRateTable:
        """The table with these rows only."""
        split = tuple(self.split[i] for i in ids) if self.split is not None else None
        return PassRateTable(tuple(self.questions[i] for i in ids), self.models, self.pass_rates[ids], self.rollouts, split)

    def columns(self, models: Sequence[int]) -> PassRateTable:
        """The table with these columns only."""
        names, counts = tuple(self.models[m] for m in models), tuple(self.rollouts[m] for m in models)
        return PassRateTable(self.questions, names, self.pass_rates[:, list(models)], counts, self.split)


def read_table(path: Path, question_column: str | None = None, model_columns: Sequence[str] = ()) -> PassRateTable:
    """Read a pass-rate table.

    question_column: default ``question``, ``problem`` or ``prompt``, whichever there is. model_columns: default all columns named
    ``pass_rate__…`` or, without any, all numeric columns with values in [0, 1]. A column ``split`` is kept. Raises UserError for
    a file that cannot be read, missing or duplicate questions, no model column, or rates outside [0, 1].
    """
    frame = _read_frame(path)
    names = [str(c) for c in frame.columns]
    question = _question_column(frame, path, question_column)
    texts = _questions(frame, question, path)
    columns = list(model_columns) or _model_columns(frame, names, question)
    unknown = next((c for c in columns if c not in names), None)
    if unknown is not None:
        raise UserError(f"{path} has no column {unknown!r}{did_you_mean(unknown, names)}")
    if not columns:
        raise UserError(f"{path} has no pass-rate column: name them {_PREFIX}MODEL, or give numbers between 0 and 1")
    try:
        rates = frame[columns].to_numpy(dtype=np.float64)
    except (ValueError, TypeError):
        raise UserError(f"{path}: the pass-rate columns must hold numbers only") from None
    outside = np.argwhere((rates < 0) | (rates > 1) | np.isinf(rates))
    if len(outside):
        row, column = outside[0]
        raise UserError(f"{path}: column {columns[column]!r}, row {row}: pass rate {rates[row, column]} lies outside [0, 1]")
    split = tuple(str(v) for v in frame["split"]) if "split" in names else None
    rollouts = tuple(int(m[1]) if (m := _ROLLOUTS.search(c)) else _DEFAULT_ROLLOUTS for c in columns)
    return PassRateTable(texts, tuple(c.removeprefix(_PREFIX) for c in columns), rates, rollouts, split)


def read_questions(path: Path, question_column: str | None = None) -> tuple[str, ...]:
    """The question texts of a file, without any pass rate; UserError as ``read_table``."""
    frame = _read_frame(path)
    return _questions(frame, _question_column(frame, path, question_column), path)


def _question_column(frame: pd.DataFrame, path: Path, wanted: str | None) -> str:
    names = [str(c) for c in frame.columns]
    found = wanted or next((c for c in _QUESTION_COLUMNS if c in names), None)
    if found is None or found not in names:
        hint = did_you_mean(found, names) if found else ""
        raise UserError(f"{path} has no question column {found or '/'.join(_QUESTION_COLUMNS)!r}{hint} (columns: {', '.join(names)})")
    return found


def _read_frame(path: Path) -> pd.DataFrame:
    import pandas as pd

    if not path.is_file():
        raise UserError(f"there is no file {path}")
    try:
        return pd.read_csv(path) if path.suffix == ".csv" else pd.read_parquet(path)
    except Exception as error:  # pandas and pyarrow raise a dozen kinds for a file that is not what its name says
        raise UserError(f"cannot read {path} as {'CSV' if path.suffix == '.csv' else 'parquet'}: {str(error).splitlines()[0]}") from None


def _questions(frame: pd.DataFrame, column: str, path: Path) -> tuple[str, ...]:
    if len(frame) == 0:
        raise UserError(f"{path} has no rows")
    texts = frame[column]
    missing = texts.isna() | (texts.astype(str).str.strip() == "")
    if missing.any():
        raise UserError(f"{path}: {int(missing.sum())} questions are missing, the first in row {int(missing.to_numpy().argmax())}")
    repeated = texts.astype(str).duplicated()
    if repeated.any():
        first = int(repeated.to_numpy().argmax())
        raise UserError(f"{path}: {int(repeated.sum())} questions occur twice, the first in row {first}: {str(texts.iloc[first])[:60]!r}")
    return tuple(texts.astype(str))


def _model_columns(frame: pd.DataFrame, names: Sequence[str], question: str) -> list[str]:
    prefixed = [c for c in names if c.startswith(_PREFIX)]
    if prefixed:
        return prefixed
    numeric = [c for c in names if c != question and frame[c].dtype.kind in "fiub"]
    return [c for c in numeric if frame[c].dropna().between(0, 1).all() and frame[c].notna().any()]


def read_trajectory(path: Path, question_column: str | None = None) -> tuple[tuple[str, ...], FloatArray, int]:
    """Questions, their measured pass rates along one training run, and how many repeated questions were left out.

    The file has a question column and one column whose cells are lists of pass rates, one per epoch. Rates have shape
    (N, epochs), NaN after a question's last epoch. Of a question that occurs twice (real training logs have some) the first
    row counts.
    """
    frame = _read_frame(path)
    question = _question_column(frame, path, question_column)
    unique = frame.drop_duplicates(question)
    texts = _questions(unique, question, path)
    column = next((str(c) for c in unique.columns if isinstance(unique[c].iloc[0], list | np.ndarray)), None)
    if column is None:
        raise UserError(f"{path} has no column of lists (one pass rate per epoch)")
    cells = [np.asarray(cell, dtype=np.float64) for cell in unique[column]]
    rates = np.full((len(cells), max(len(c) for c in cells)), np.nan)
    for row, cell in enumerate(cells):
        rates[row, : len(cell)] = cell
    if ((rates < 0) | (rates > 1)).any():
        raise UserError(f"{path}: column {column!r} holds pass rates outside [0, 1]")
    return texts, rates, len(frame) - len(unique)
