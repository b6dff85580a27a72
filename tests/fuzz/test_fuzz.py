"""Whatever a file or an answer holds, a person gets a sentence or a result, never a traceback.

The number of examples is small here; ``nox -s fuzz`` sets HALFWAY_FUZZ_EXAMPLES for a longer, seeded search.
"""

from __future__ import annotations

import json
import os
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from toy_place import SUITE

from harness.errors import UserError
from harness.records.ledger import LedgerWriter, read_ledger
from harness.records.ledger_records import Attempt, Complete, RunStart
from harness.records.run_folder import RunPaths, run_status
from harness.records.suite_watch import GrowingLog
from harness.reward.last_number import same_number
from harness.reward.service import RewardService
from harness.reward.spec import RewardSpec
from harness.spec import RunSpec
from harness.suite.reader import load_suite
from harness.suite.suite import find_suite, plan
from harness.tuning.lock_file import TuningLock
from suites.tasks.own_data import OwnData, OwnDataConfig
from suites.tasks.pools import read_items
from suites.tasks.sources import Source
from tests.edits import edited
from tests.made_records import evaluation, step

EXAMPLES = int(os.environ.get("HALFWAY_FUZZ_EXAMPLES", "25"))
searched = settings(
    max_examples=EXAMPLES, deadline=None, derandomize=True, database=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)  # fmt: skip

scalars = st.one_of(
    st.booleans(), st.integers(-(2**70), 2**70), st.floats(), st.text(max_size=12),
    st.sampled_from(["grpo", "trl", "spell-backward", "maths", "", "a:b", "a.b:c", "os:path", "../x", "nan", "0"]),
)  # fmt: skip
json_values = st.recursive(
    st.none() | scalars, lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=8), inner, max_size=4), max_leaves=8
)
toml_values = st.recursive(
    scalars, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3), max_leaves=6
)


def toml(value: Any) -> str:
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, dict):
        return "{" + ", ".join(f"{json.dumps(k)} = {toml(v)}" for k, v in value.items()) + "}"
    if isinstance(value, list):
        return "[" + ", ".join(map(toml, value)) + "]"
    return json.dumps(value) if isinstance(value, str) else str(value)


LINES = SUITE.splitlines()
SETTINGS = [i for i, line in enumerate(LINES) if "=" in line]


def read_suite(path: Path) -> None:
    """A suite, or one sentence without line breaks."""
    try:
        plan(load_suite(path))
    except UserError as error:
        assert str(error)
        assert "\n" not in str(error)


@searched
@given(st.sampled_from(SETTINGS), toml_values)
def test_any_value_of_any_key_of_a_suite(tmp_path: Path, index: int, value: Any) -> None:
    """Every key of a working suite with a value of any type."""
    lines = list(LINES)
    lines[index] = f"{lines[index].partition('=')[0]}= {toml(value)}"
    path = tmp_path / "suite.toml"
    path.write_bytes("\n".join(lines).encode("utf-8", "surrogatepass"))
    read_suite(path)


@searched
@given(st.sampled_from(range(len(LINES))), st.text(max_size=30), st.booleans())
def test_any_line_of_a_suite(tmp_path: Path, index: int, line: str, replaced: bool) -> None:
    """A line of a working suite replaced by, or preceded by, anything."""
    lines = [*LINES[:index], line, *LINES[index + replaced :]]
    path = tmp_path / "suite.toml"
    path.write_bytes("\n".join(lines).encode("utf-8", "surrogatepass"))
    read_suite(path)


@searched
@given(st.binary(max_size=200))
def test_any_bytes_as_a_suite(tmp_path: Path, data: bytes) -> None:
    """A file that is no text at all."""
    (tmp_path / "suite.toml").write_bytes(data)
    read_suite(tmp_path / "suite.toml")


@searched
@given(st.text(max_size=20))
def test_any_name_of_a_suite(name: str) -> None:
    """What a person may type where a suite is expected."""
    try:
        find_suite(name)
    except UserError as error:
        assert str(error)


UNUSABLE = [".x:y", "..:y", "os:", ":path", "nowhere:x", "os:no", "a b:c", "raising:x"]
OTHER_THINGS = ["os:path", "json:dumps", "harness.spec:RunSpec"]


@pytest.mark.parametrize(
    ("key", "reference"),
    [*((k, r) for k in ("backend", "task", "plugin") for r in UNUSABLE), *((k, r) for k in ("backend", "task") for r in OTHER_THINGS)],
)
def test_a_reference_to_something_else(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, key: str, reference: str) -> None:
    """``module:attr`` that cannot be imported, raises while it is, or is no backend, task or strategy: file, line, reason."""
    (tmp_path / "raising.py").write_text("raise KeyError('three')\n")
    monkeypatch.syspath_prepend(tmp_path)
    lines = [f'{key} = "{reference}"' if line.startswith(f"{key} = ") else line for line in LINES]
    if key == "plugin":
        lines[lines.index("[[strategies]]")] = f'[[strategies]]\nplugin = "{reference}"'
    path = tmp_path / "suite.toml"
    path.write_text("\n".join(lines))
    with pytest.raises(UserError, match=r"suite\.toml, line \d+: ") as caught:
        plan(load_suite(path))
    assert "\n" not in str(caught.value)


def test_an_empty_model_name(tmp_path: Path) -> None:
    """Found by the search over values."""
    path = tmp_path / "suite.toml"
    path.write_text(edited(SUITE, {'model = "softmax"': 'model = ""'}))
    with pytest.raises(UserError, match=r"suite\.toml, line \d+: .*model.* must not be empty"):
        load_suite(path)


def test_a_suite_with_a_byte_order_mark(tmp_path: Path) -> None:
    """Some editors write one; it is no part of the first key."""
    path = tmp_path / "suite.toml"
    path.write_bytes(b"\xef\xbb\xbf" + SUITE.strip().encode())
    assert plan(load_suite(path))


# -- what runs leave behind ---------------------------------------------------------------------------------------------


def sound(folder: Path) -> bytes:
    path = folder / "sound.jsonl"
    if not path.exists():
        ledger = LedgerWriter(path)
        for record in (RunStart("a", {}), Attempt(1, {}, 0), evaluation(0), step(1), step(2), evaluation(2), Complete(2)):
            ledger.write(record)
        ledger.close()
    return path.read_bytes()


SPEC_FIELDS = {
    "suite": "s", "seed": 1, "strategy": {"label": "l", "name": "grpo", "version": "grpo:1+1"},
    "combination": {"name": "c", "backend": "trl", "model": {"name": "m"}, "task": {"name": "t"}},
}  # fmt: skip


def read_everything(folder: Path) -> None:
    """The three readers of a ledger: as a whole, from its end, and as it grows."""
    spec = RunSpec.model_validate(SPEC_FIELDS)
    try:
        read_ledger(folder / "ledger.jsonl")
    except UserError as error:
        assert "ledger.jsonl" in str(error)
    run_status(RunPaths(folder), spec)
    GrowingLog(folder / "ledger.jsonl", spec).update()


@searched
@given(st.integers(0, 10**6), st.binary(min_size=0, max_size=6), st.integers(0, 40))
def test_a_ledger_with_any_damage(tmp_path: Path, place: int, data: bytes, cut: int) -> None:
    """Bytes replaced, inserted or cut out anywhere."""
    whole = sound(tmp_path)
    at = place % len(whole)
    (tmp_path / "ledger.jsonl").write_bytes(whole[:at] + data + whole[at + cut :])
    read_everything(tmp_path)


@searched
@given(
    st.lists(json_values | st.dictionaries(st.sampled_from(["type", "step", "costs", "schema"]), json_values), max_size=4), st.booleans()
)
def test_a_ledger_of_any_records(tmp_path: Path, values: list[Any], started: bool) -> None:
    """Lines with a valid checksum and any JSON in them."""
    lines = sound(tmp_path).splitlines()[:1] if started else []
    for value in values:
        body = json.dumps(value).encode()
        lines.append(body[:-1] + b',"crc":%d}' % zlib.crc32(body))
    (tmp_path / "ledger.jsonl").write_bytes(b"\n".join([*lines, b""]))
    read_everything(tmp_path)


@searched
@given(json_values | st.dictionaries(st.sampled_from([*SPEC_FIELDS, "algorithm", "evaluation"]), json_values))
def test_any_spec_file(tmp_path: Path, value: Any) -> None:
    """spec.json edited by hand."""
    (tmp_path / "spec.json").write_text(json.dumps({**SPEC_FIELDS, **value} if isinstance(value, dict) else value))
    try:
        RunSpec.load(tmp_path / "spec.json")
    except UserError as error:
        assert "spec.json" in str(error)


LOCK_KEYS = ["version", "suite", "cost", "seeds", "evaluation", "target", "targets", "studies"]


@searched
@given(st.dictionaries(st.sampled_from(LOCK_KEYS), toml_values))
def test_any_lock_file(tmp_path: Path, table: dict[str, Any]) -> None:
    """A lock file edited by hand."""
    (tmp_path / "lock.toml").write_bytes("\n".join(f"{k} = {toml(v)}" for k, v in table.items()).encode("utf-8", "surrogatepass"))
    try:
        TuningLock.read(tmp_path / "lock.toml")
    except UserError as error:
        assert "lock.toml" in str(error)


# -- data files -----------------------------------------------------------------------------------------------------------


SOURCE = Source("mine", ("mine",), "nobody/nothing")


def read_data(folder: Path, name: str, data: bytes, monkeypatch: pytest.MonkeyPatch) -> None:
    """Questions and golds as text, or a sentence that names the file or the data set."""
    for old in folder.glob("mine.*"):
        old.unlink()
    (folder / name).write_bytes(data)
    monkeypatch.setenv("HALFWAY_DATA", str(folder))
    try:
        items, _ = read_items(SOURCE)
    except UserError as error:
        assert "mine" in str(error)
        return
    assert all(isinstance(item.prompt, str) and isinstance(item.answer, str) for item in items)


@searched
@given(
    st.lists(json_values | st.fixed_dictionaries({"problem": json_values, "answer": json_values, "solution": json_values}), max_size=5),
    st.sampled_from(["mine.jsonl", "mine.json"]),
)
def test_any_records_of_a_data_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, values: list[Any], name: str) -> None:
    """Questions and golds of any JSON type."""
    text = json.dumps(values) if name == "mine.json" else "\n".join(json.dumps(v) for v in values)
    read_data(tmp_path, name, text.encode(), monkeypatch)


@searched
@given(st.binary(max_size=200), st.sampled_from(["mine.jsonl", "mine.json", "mine.parquet"]))
def test_any_bytes_as_a_data_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, data: bytes, name: str) -> None:
    """A file that is not of its kind."""
    read_data(tmp_path, name, data, monkeypatch)


def read_own_data(folder: Path, name: str, data: bytes, **settings: Any) -> None:
    """Questions and golds as text, or one sentence."""
    (folder / name).write_bytes(data)
    try:
        task = OwnData({"file": name, "reward": "exact", **settings}, folder).build()
    except UserError as error:
        assert "\n" not in str(error)
        return
    assert all(q.prompt and q.answer and q.key for questions in task.splits.values() for q in questions)


@searched
@given(
    st.lists(json_values | st.fixed_dictionaries({"question": json_values, "answer": json_values}), max_size=6),
    st.sampled_from(["mine.jsonl", "mine.json"]),
    st.sampled_from(["exact", "number", "math", "mine:score"]),
)
def test_any_records_of_ones_own(tmp_path: Path, values: list[Any], name: str, reward: str) -> None:
    """Questions and golds of any JSON type, for every reward."""
    text = json.dumps(values) if name == "mine.json" else "\n".join(json.dumps(v) for v in values)
    read_own_data(tmp_path, name, text.encode(), reward=reward)


@searched
@given(
    st.binary(max_size=200)
    | st.text(alphabet='qa,;"\t\r\n\u2028\ufeff1', max_size=40).map(lambda text: b"question,answer\n" + text.encode()),
    st.sampled_from(["mine.jsonl", "mine.json", "mine.csv", "mine.tsv", "mine.parquet"]),
)
def test_any_bytes_as_ones_own_file(tmp_path: Path, data: bytes, name: str) -> None:
    """A file that is not of its kind, and CSV with quotes and line breaks anywhere."""
    read_own_data(tmp_path, name, data)


@searched
@given(st.dictionaries(st.sampled_from(sorted(OwnDataConfig.model_fields)), json_values, max_size=4))
def test_any_settings_of_ones_own_data(tmp_path: Path, settings: dict[str, Any]) -> None:
    """Of any type."""
    read_own_data(tmp_path, "mine.jsonl", b'{"question": "a", "answer": "b"}\n{"question": "c", "answer": "d"}', **settings)


# -- answers --------------------------------------------------------------------------------------------------------------

LATEX = [
    "\\boxed{", "}", "\\frac", "{1}", "{2}", "\\sqrt", "^", "_", "$", "x", "0", "-", "1e9", ",", "(", ")", "[", "\\%", "√", "½",
    " ", "\\text{", "=",
]  # fmt: skip
answers = st.text(max_size=40) | st.lists(st.sampled_from(LATEX), max_size=14).map("".join)


@pytest.fixture(scope="module")
def reward() -> Iterator[RewardService]:
    with RewardService(RewardSpec("math-verify"), workers=1) as service:
        yield service


@searched
@given(answers, answers)
def test_any_answer_gets_a_score(reward: RewardService, answer: str, gold: str) -> None:
    """Between 0 and 1, whatever the model writes and whatever the gold is."""
    assert same_number(answer, gold) in (0.0, 1.0)
    for completion in (answer, f"\\boxed{{{answer}}}"):
        (score,) = reward.score([(completion, gold, {})])
        assert 0.0 <= score <= 1.0
