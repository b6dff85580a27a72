"""One's own data: columns, golds, splits, evaluation files, rewards beside the suite, and words for all that goes wrong."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from harness.task import TaskData, TaskError
from suites.tasks.own_data import OwnData
from suites.tasks.own_sources import set_names

Rows = Sequence[Mapping[str, Any]]
Make = Callable[..., TaskData]


@pytest.fixture
def write(tmp_path: Path) -> Callable[[str, Rows], None]:
    """``write(name, rows)`` makes a JSONL file beside the suite."""

    def file(name: str, rows: Rows) -> None:
        (tmp_path / name).write_text("\n".join(map(json.dumps, rows)) + "\n", encoding="utf-8")

    return file


@pytest.fixture
def make(tmp_path: Path) -> Make:
    """``make(**settings)``: the task of a suite in ``tmp_path``; exact answers of q.jsonl unless told otherwise."""
    return lambda **settings: OwnData({"file": "q.jsonl", "reward": "exact", **settings}, tmp_path).build()


def sums(n: int, start: int = 0) -> list[dict[str, Any]]:
    return [{"question": f"{i}+1=", "answer": str(i + 1)} for i in range(start, start + n)]


def pairs(task: TaskData, split: str) -> dict[str, str]:
    return {q.prompt: q.answer for q in task.split(split)}


def test_columns_are_found_or_named(write: Callable[[str, Rows], None], make: Make) -> None:
    """By their usual names in this order and any case, by name, or inside another column."""
    write("q.jsonl", [{"Prompt": "a", "problem": "b", "label": "1", "gold": "2", "more": {"deep": {"answer": "3"}}}] * 2)
    assert pairs(make(train=1, test=None, evaluation="q.jsonl"), "test") == {"b": "2"}
    assert pairs(make(question="Prompt", answer="more.deep.answer", evaluation="q.jsonl"), "test") == {"a": "3"}


def test_a_conversation_is_its_last_question(write: Callable[[str, Rows], None], make: Make) -> None:
    """As verl and the hub store prompts."""
    turns = [{"role": "system", "content": "think"}, {"role": "user", "content": "1+1?"}]
    write("q.jsonl", [{"prompt": turns, "reward_model": {"ground_truth": "2"}}])
    assert pairs(make(answer="reward_model.ground_truth", evaluation="q.jsonl"), "test") == {"1+1?": "2"}


@pytest.mark.parametrize(
    ("row", "settings", "words"),
    [
        (
            {"text": "a", "answer": "b"},
            {},
            r"q.jsonl has no column with a usual name for the question .*its columns are text, answer: .*question = ",
        ),
        ({"question": "a", "y": "b"}, {}, "for the answer .*its columns are question, y"),
        (
            {"question": "a", "answer": "b"},
            {"question": "questoin"},
            "no column 'questoin'; did you mean 'question'.*its columns: question, answer",
        ),
        ({"question": 5, "answer": "b"}, {}, "q.jsonl, line 1: its question is 5, which is no text"),
        ({"question": "a", "answer": True}, {}, "line 1: its answer is true; write the text"),
        ({"question": "a", "answer": 0.5}, {}, 'line 1: its answer is the number 0.5.*such as "0.5"'),
        ({"question": "a", "answer": 5.0}, {"reward": "m:f"}, 'the number 5.0.*such as "5"'),
        ({"question": "a", "answer": {"value": 5}}, {}, "neither a text nor a number; name the field"),
        ({"question": "a", "answer": "five"}, {"reward": "number"}, '"five" is no number'),
        ({"question": "a\ud800", "answer": "b"}, {}, "half of a character"),
        ({"question": "", "answer": "b"}, {}, "no record with both"),
        ({"question": "a", "answer": "b"}, {"train": 7}, "1 usable questions are too few for train = 7, test = 1"),
    ],
)
def test_what_cannot_be_used_is_one_sentence(
    row: dict[str, Any], settings: dict[str, Any], words: str, write: Callable[[str, Rows], None], make: Make
) -> None:
    """The file, the line or its columns, and what to do."""
    write("q.jsonl", [row])
    with pytest.raises(TaskError, match=words) as caught:
        make(**settings)
    assert "\n" not in str(caught.value)


def test_golds_that_are_numbers(write: Callable[[str, Rows], None], make: Make) -> None:
    """Integers are texts everywhere, floats where the reward compares values; worked answers end in what they say; gaps are left out."""
    golds: list[Any] = [7, 2.50, 1e3, "so #### 1,000", "thus \\boxed{3}", None, "", float("nan")]
    write("q.jsonl", [{"question": f"q{i}", "answer": gold} for i, gold in enumerate(golds)])
    task = make(reward="number", evaluation="q.jsonl")
    assert pairs(task, "test") == {"q0": "7", "q1": "2.5", "q2": "1000", "q3": "1,000", "q4": "3"}
    facts = task.sources["test"]
    assert (facts["records"], facts["left_out"]) == (8, {"no answer": 3})
    assert "3 answers are numbers and are used as texts" in facts["notes"]


def test_without_an_evaluation_file_the_seed_splits(write: Callable[[str, Rows], None], make: Make) -> None:
    """A fifth is held out, disjoint by text as a person reads it, the same whatever the order of the file and the size of the pool."""
    write("q.jsonl", [*sums(20), {"question": " 0 + 1 = ", "answer": "1"}])
    task = make()
    assert {name: len(task.split(name)) for name in task.splits} in ({"train": 17, "test": 4}, {"train": 16, "test": 4})
    assert not {p.replace(" ", "") for p in pairs(task, "train")} & {p.replace(" ", "") for p in pairs(task, "test")}
    write("q.jsonl", [{"question": " 0 + 1 = ", "answer": "1"}, *sums(20)[::-1]])
    again = make(train=8, validation=2)
    assert again.split("test") == task.split("test")
    assert {name: len(again.split(name)) for name in again.splits} == {"train": 8, "test": 4, "validation": 2}
    assert make(seed=1).split("test") != task.split("test")


def test_evaluation_files(write: Callable[[str, Rows], None], make: Make, tmp_path: Path) -> None:
    """One is the set test, several carry the names of their files or of the table; the whole file is then the pool."""
    write("q.jsonl", sums(6))
    write("hard.jsonl", sums(2, 50))
    (tmp_path / "easy.csv").write_text("question,answer\n9+1=,10\n")
    task = make(evaluation=["easy.csv", "hard.jsonl"])
    assert {name: len(task.split(name)) for name in task.splits} == {"train": 6, "easy": 1, "hard": 2}
    assert set(make(evaluation={"far": "hard.jsonl"}).splits) == {"train", "far"}
    assert pairs(make(evaluation="easy.csv"), "test") == {"9+1=": "10"}


def test_names_of_sets() -> None:
    """A hub data set has its own; two of one name, or a name that is taken, need a table."""
    assert set_names(["a/b.jsonl", "hub:openai/gsm8k/main@abc#test"]) == {"b": "a/b.jsonl", "gsm8k": "hub:openai/gsm8k/main@abc#test"}
    for wrong in (["a/b.jsonl", "c/b.csv"], ["train.jsonl"], {"warm_up": "x.jsonl"}, []):
        with pytest.raises(ValueError, match="evaluation"):
            set_names(wrong)


@pytest.mark.parametrize("ending", ["json", "csv", "tsv", "parquet"])
def test_every_format_gives_the_same_questions(ending: str, write: Callable[[str, Rows], None], make: Make, tmp_path: Path) -> None:
    """Those of the JSONL file."""
    write("q.jsonl", sums(6))
    table = pd.DataFrame(sums(6))
    path = tmp_path / f"o.{ending}"
    if ending == "parquet":
        table.to_parquet(path)
    elif ending == "json":
        path.write_text(json.dumps(sums(6)))
    else:
        table.to_csv(path, index=False, sep="," if ending == "csv" else "\t")
    assert make(file=f"o.{ending}").split("train") == make().split("train")


def test_a_template_and_a_system_prompt(write: Callable[[str, Rows], None], make: Make) -> None:
    """The template wraps the question, other braces are text; the system prompt goes to the chat template."""
    write("q.jsonl", sums(1))
    task = make(evaluation="q.jsonl", prompt="Put {question} into \\boxed{}.", system_prompt="Be brief.")
    assert list(pairs(task, "test")) == ["Put 0+1= into \\boxed{}."]
    assert task.system_prompt == "Be brief."
    with pytest.raises(TaskError, match=r"setting 'prompt'.*has no \{question\}.*may be system_prompt"):
        make(prompt="Think.")


@pytest.mark.parametrize(
    ("name", "reward"), [("math", "math-verify"), ("number", "number"), ("exact", "exact"), ("mine:score", "mine:score")]
)
def test_rewards(name: str, reward: str, write: Callable[[str, Rows], None], make: Make) -> None:
    """By short names, or a function of one's own, which alone gets the other columns."""
    write("q.jsonl", [{"question": "1+1=", "answer": "2", "unit": "m", "level": 3}])
    task = make(reward=name, evaluation="q.jsonl")
    assert task.reward.name == reward
    question = task.split("train")[0]
    assert question.metadata == {"level": 3}
    assert ("unit" in task.scoring_metadata(question)) == (name == "mine:score")


@pytest.mark.parametrize("wrong", ["maths", "score.py:f", "dir/score:f", ":f"])
def test_unknown_rewards_are_refused(wrong: str, write: Callable[[str, Rows], None], make: Make) -> None:
    """With what to write instead."""
    write("q.jsonl", sums(2))
    with pytest.raises(TaskError, match="setting 'reward'"):
        make(reward=wrong)


def test_files_and_own_code_are_part_of_the_version(write: Callable[[str, Rows], None], tmp_path: Path) -> None:
    """Other content makes another run; the same content elsewhere does not."""
    settings = {"file": "q.jsonl", "reward": "mine:score"}
    write("q.jsonl", sums(3))
    (tmp_path / "mine.py").write_text("def score(c, a, m): return 0.0\n")
    first = OwnData(settings, tmp_path).version
    other = tmp_path / "moved"
    other.mkdir()
    for name in ("q.jsonl", "mine.py"):
        (other / name).write_bytes((tmp_path / name).read_bytes())
    assert OwnData(settings, other).version == first
    (other / "mine.py").write_text("def score(c, a, m): return 1.00\n")
    assert OwnData(settings, other).version != first
    write("q.jsonl", sums(4))
    assert OwnData(settings, tmp_path).version != first


def test_warm_up_questions_come_from_a_file_of_their_own(write: Callable[[str, Rows], None], make: Make) -> None:
    """None that the model is trained or measured on."""
    write("q.jsonl", sums(6))
    write("w.jsonl", sums(4, 10))
    assert len(make(warm_up="w.jsonl").split("warm_up")) == 4
    write("w.jsonl", sums(4, 5))
    with pytest.raises(TaskError, match=r"'5\+1=' of w.jsonl is also in '(train|test)'"):
        make(warm_up="w.jsonl")


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ({"file": "p.jsonl"}, r"setting 'file': there is no file .*/p.jsonl; did you mean 'q.jsonl'"),
        ({"file": "q.txt"}, "'q.txt' must end in one of"),
        ({"file": "hub:gsm8k"}, "not of the form hub:OWNER/NAME"),
        ({"evaluation": "e.jsonl"}, "setting 'evaluation': there is no file"),
        ({"evaluation": "q.jsonl", "test": 3}, "give evaluation, or test"),
        ({"evaluation": ["train.jsonl"]}, "'train' cannot be the name of an evaluation set"),
        ({"fiel": "q.jsonl"}, "no setting 'fiel'; did you mean 'file'"),
    ],
)
def test_settings_are_checked_before_anything_is_read(
    settings: dict[str, Any], words: str, write: Callable[[str, Rows], None], tmp_path: Path
) -> None:
    """While the suite is read."""
    write("q.jsonl", sums(2))
    with pytest.raises(TaskError, match=words):
        OwnData({"file": "q.jsonl", "reward": "exact", **settings}, tmp_path)


def test_pins_of_the_hub(tmp_path: Path) -> None:
    """A revision is part of the version; without one the data set is reported."""
    builder = OwnData({"file": "hub:o/d/c@abc#part", "evaluation": "hub:o/d", "reward": "math"}, tmp_path)
    assert builder.unpinned() == ["data set o/d"]
    pool, test = builder._sources["file"].hub, builder._sources["test"].hub
    assert pool is not None
    assert (pool.hub, pool.config, pool.revision, pool.splits) == ("o/d", "c", "abc", ("part",))
    assert test is not None
    assert (test.config, test.revision, test.splits) == (None, None, ("test",))
    assert OwnData({"file": "hub:o/d/c@abd#part", "evaluation": "hub:o/d", "reward": "math"}, tmp_path).version != builder.version


@pytest.mark.slow
@pytest.mark.skipif(find_spec("datasets") is None, reason="the hub is read through the package datasets")
def test_a_data_set_through_the_hubs_library(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, write: Callable[[str, Rows], None]) -> None:
    """A folder of the name stands for one on the hub: the library reads it, without a network."""
    folder = tmp_path / "owner" / "set"
    folder.mkdir(parents=True)
    write("owner/set/train.jsonl", sums(5))
    write("owner/set/test.jsonl", sums(2, 30))
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HF_HOME", str(tmp_path / "cache"))
    task = OwnData({"file": "hub:owner/set", "evaluation": "hub:owner/set", "reward": "number"}, tmp_path).build()
    assert {name: len(task.split(name)) for name in task.splits} == {"train": 5, "test": 2}
    assert task.sources["train"]["hub"] == "owner/set"
