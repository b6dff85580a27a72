"""Recorded pass rates of many questions under many policies: reading a table strictly.

Two kinds of table (Parquet or CSV, one row per question):

* a **trajectory**: policies of one training run in the order of training, either one column whose cells are lists (one pass rate per
  evaluation of the question) or numeric columns named ``step_N`` or ``epoch_N``;
* **policies**: unrelated models, one column ``pass_rate__NAME`` each.

Other scalar columns (``level``, ``type``, …) become the questions' metadata, which curricula and category bandits read.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from harness.errors import UserError, did_you_mean
from harness.types import FloatArray, Question

if TYPE_CHECKING:
    import pandas as pd

QUESTION_COLUMNS = ("question", "problem", "prompt")
FEWEST_EVALUATIONS = 2
_MODEL = "pass_rate__"
_TIME = re.compile(r"(?:step|epoch)_?(\d+)")
_SAMPLES = re.compile(r"__k(\d+)(?:_|$)")
#: Never metadata of a question: what a strategy must not see, and what is no label.
_HIDDEN = ("answer", "solution", "index", "row")


@dataclass(frozen=True, slots=True)
class Recording:
    """Pass rates of N questions under T policies.

    questions: N texts. rates: shape (N, T), in [0, 1]. policies: T names. samples: rollouts behind each rate, shape (T,). trajectory:
    the policies are one training run, in order. metadata: per question. repeated: rows left out because their question had occurred.
    """

    questions: tuple[str, ...]
    rates: FloatArray
    policies: tuple[str, ...]
    samples: tuple[int, ...]
    trajectory: bool
    metadata: tuple[Mapping[str, Any], ...] = ()
    repeated: int = 0

    def __len__(self) -> int:
        return len(self.questions)

    def pool(self) -> list[Question]:
        """The questions as a training pool; a recording holds no gold answers."""
        metadata = self.metadata or ({},) * len(self)
        return [Question(i, text, "", "recording", m) for i, (text, m) in enumerate(zip(self.questions, metadata, strict=True))]


def read_recording(
    path: Path, *, policies: Sequence[str] = (), samples: int = 8, drop_repeated: bool = False, question_column: str | None = None
) -> Recording:
    """Read a table of recorded pass rates.

    policies: use these ``pass_rate__`` columns only (with or without the prefix); by default those with at least ``samples`` samples.
    samples: rollouts behind each rate of a trajectory, and of a policy whose name does not say (``__k50``). drop_repeated: of a
    question that occurs more than once keep the first row instead of refusing the table.

    Raises UserError, naming row and column, for a rate outside [0, 1], a missing rate or question, a repeated question, or fewer than
    two evaluations.
    """
    frame = _read(path)
    column = _question_column(frame, path, question_column)
    frame, repeated = _unique(frame, column, path, drop_repeated)
    questions = tuple(frame[column].astype(str))
    lists = [str(c) for c in frame.columns if c != column and isinstance(frame[c].iloc[0], list | tuple | np.ndarray)]
    timed = sorted((int(found[1]), str(c)) for c in frame.columns if (found := _TIME.fullmatch(str(c))))
    models = [str(c) for c in frame.columns if str(c).startswith(_MODEL)]
    rate_columns = [*lists, *(c for _, c in timed), *models]
    metadata = _metadata(frame, {column, *rate_columns})
    if lists or timed:
        rates, names = _from_lists(frame[lists[0]], path, lists[0]) if lists else _from_columns(frame, [c for _, c in timed], path)
        return Recording(questions, rates, names, (samples,) * len(names), True, metadata, repeated)
    if not models:
        raise UserError(
            f"{path} has no recorded pass rates: give one column of lists, columns step_1, step_2, …, or columns {_MODEL}MODEL "
            f"(its columns: {', '.join(map(str, frame.columns))})"
        )
    chosen, counts = _policies(models, policies, samples, path)
    rates, _ = _from_columns(frame, chosen, path, fewest=1)
    return Recording(questions, rates, tuple(c.removeprefix(_MODEL) for c in chosen), counts, False, metadata, repeated)


def _read(path: Path) -> pd.DataFrame:
    import pandas as pd

    if not path.is_file():
        raise UserError(f"there is no file {path}")
    try:
        frame = pd.read_csv(path) if path.suffix == ".csv" else pd.read_parquet(path)
    except Exception as error:  # pandas and pyarrow raise a dozen kinds for a file that is not what its name says
        raise UserError(f"cannot read {path} as {'CSV' if path.suffix == '.csv' else 'Parquet'}: {str(error).splitlines()[0]}") from None
    if frame.empty:
        raise UserError(f"{path} has no rows")
    return frame


def _question_column(frame: pd.DataFrame, path: Path, wanted: str | None) -> str:
    names = [str(c) for c in frame.columns]
    found = wanted or next((c for c in QUESTION_COLUMNS if c in names), None)
    if found is None or found not in names:
        hint = did_you_mean(found, names) if found else ""
        raise UserError(f"{path} has no column {found or ' or '.join(QUESTION_COLUMNS)}{hint} (columns: {', '.join(names)})")
    return found


def _unique(frame: pd.DataFrame, column: str, path: Path, drop: bool) -> tuple[pd.DataFrame, int]:
    texts = frame[column]
    missing = texts.isna() | (texts.astype(str).str.strip() == "")
    if missing.any():
        raise UserError(f"{path}, row {int(missing.to_numpy().argmax())}: column {column!r} is empty")
    repeated = texts.astype(str).duplicated()
    if repeated.any() and not drop:
        row = int(repeated.to_numpy().argmax())
        first = int((texts.astype(str) == str(texts.iloc[row])).to_numpy().argmax())
        raise UserError(
            f"{path}, row {row}: column {column!r} repeats the question of row {first} ({int(repeated.sum())} repeated in all); "
            "remove them, or keep the first of each with --drop-repeated"
        )
    return frame[~repeated].reset_index(drop=True), int(repeated.sum())


def _from_lists(cells: pd.Series, path: Path, column: str) -> tuple[FloatArray, tuple[str, ...]]:
    """Lists of different length are cut to the shortest: a policy is there for all questions or for none."""
    parsed = []
    for row, cell in enumerate(cells):
        try:
            parsed.append(np.asarray(cell, dtype=np.float64).reshape(-1))
        except (TypeError, ValueError):
            raise UserError(f"{path}, row {row}: column {column!r} must hold a list of numbers") from None
    length = min(len(p) for p in parsed)
    if length < FEWEST_EVALUATIONS:
        row = min(range(len(parsed)), key=lambda i: len(parsed[i]))
        raise UserError(f"{path}, row {row}: column {column!r} has {length} evaluations; a trajectory needs at least {FEWEST_EVALUATIONS}")
    rates = np.stack([p[:length] for p in parsed])
    names = tuple(f"epoch {i + 1}" for i in range(length))
    _check(rates, [f"{column}[{i}]" for i in range(length)], path)
    return rates, names


def _from_columns(
    frame: pd.DataFrame, columns: Sequence[str], path: Path, fewest: int = FEWEST_EVALUATIONS
) -> tuple[FloatArray, tuple[str, ...]]:
    if len(columns) < fewest:
        raise UserError(f"{path} has {len(columns)} columns of pass rates ({', '.join(columns)}); a trajectory needs at least {fewest}")
    values = []
    for column in columns:
        try:
            values.append(frame[column].to_numpy(dtype=np.float64))
        except (TypeError, ValueError):
            raise UserError(f"{path}: column {column!r} must hold numbers only") from None
    rates = np.column_stack(values)
    _check(rates, columns, path)
    return rates, tuple(c.replace("_", " ") for c in columns)


def _check(rates: FloatArray, columns: Sequence[str], path: Path) -> None:
    bad = np.argwhere(~((rates >= 0) & (rates <= 1)))
    if len(bad):
        row, column = (int(i) for i in bad[0])
        value = rates[row, column]
        what = "is missing" if np.isnan(value) else f"is {value:g}, outside [0, 1]"
        raise UserError(f"{path}, row {row}: the pass rate in column {columns[column]!r} {what} ({len(bad)} such cells in all)")


def _policies(models: Sequence[str], wanted: Sequence[str], samples: int, path: Path) -> tuple[list[str], tuple[int, ...]]:
    counts = {c: int(found[1]) if (found := _SAMPLES.search(c)) else samples for c in models}
    chosen = [c if c.startswith(_MODEL) else _MODEL + c for c in wanted] or [c for c in models if counts[c] >= samples]
    unknown = next((c for c in chosen if c not in counts), None)
    if unknown is not None:
        raise UserError(f"{path} has no column {unknown!r}{did_you_mean(unknown, models)}")
    if not chosen:
        raise UserError(f"{path}: no policy has {samples} samples behind its rates (columns: {', '.join(models)})")
    return chosen, tuple(counts[c] for c in chosen)


def _metadata(frame: pd.DataFrame, taken: set[str]) -> tuple[dict[str, Any], ...]:
    """Texts and whole numbers; fractions are measurements, which no strategy may see. A missing value is left out of its question."""
    names = [name for name in map(str, frame.columns) if name not in taken and name not in _HIDDEN]
    columns = {name: [_label(value) for value in frame[name]] for name in names}
    plain = {c: values for c, values in columns.items() if all(v is None or isinstance(v, str | int) for v in values)}
    return tuple({c: values[i] for c, values in plain.items() if values[i] is not None} for i in range(len(frame)))


def _label(value: Any) -> Any:
    """A cell as plain Python, None for a missing one; pandas keeps whole numbers as fractions in a column where some are missing."""
    plain = value.item() if isinstance(value, np.generic) else value
    if isinstance(plain, float) and not np.isfinite(plain):
        return None
    return int(plain) if isinstance(plain, float) and plain.is_integer() else plain
