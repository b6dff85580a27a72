"""Every record says what its run was made of, and no run goes on with other questions than it began with."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from toy_place import SUITE, ToyPlace, place

from harness.data.provenance import model_facts, model_folder, provenance, unpinned, use_data_folder
from harness.errors import UserError
from harness.records.ledger import read_ledger
from harness.spec import CombinationSpec, ModelSpec, RunSpec, StrategySpec, TaskSpec
from tests.edits import edited

__all__ = ["place"]

COMMIT = "4a83ca6e4526a4f2da3aa259ec36c259f66b2ab2"
#: A task of the toy engine whose questions come from the data folder.
TASK = """
import json, os
from pathlib import Path
from harness.reward.spec import RewardSpec
from harness.task import TaskData
from harness.types import Question
from toy_engine import ToyTask

class FileTask(ToyTask):
    def build(self):
        path = Path(os.environ["HALFWAY_DATA"]) / "questions.json"
        questions = tuple(Question(i, text, "1", "t") for i, text in enumerate(json.loads(path.read_text())))
        splits = {"train": questions, "test": questions[:1]}
        return TaskData("file", splits, RewardSpec(), "1", sources={"train": {"file": path.name}})
"""


def spec(model: str = "embedded:x", revision: str | None = None, task: str = "spell-backward", **config: Any) -> RunSpec:
    combination = CombinationSpec(
        name="c", backend="trl", model=ModelSpec(name=model, revision=revision), task=TaskSpec(name=task, config=config)
    )
    return RunSpec(suite="s", combination=combination, strategy=StrategySpec(label="grpo", name="grpo", version="1"), seed=1)


def test_backend_model_and_every_hash_are_recorded() -> None:
    """For each split of the task its size and content hash."""
    config = {"train": 10, "test": 5, "validation": 4, "adapter": 3, "warm_up": 0}
    record = provenance(spec(**config))
    assert record.backend == "trl"
    assert record.model == {"name": "embedded:x", "revision": None}
    assert {name: split["questions"] for name, split in record.questions.items()} == config
    assert len({split["hash"] for split in record.questions.values()}) == 5
    assert provenance(spec(**{**config, "train": 11})).questions["train"] != record.questions["train"]


def test_a_models_commit_is_resolved(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """A pinned revision is its own commit; a branch is asked for, and looked up in the cache where the hub does not answer."""
    assert model_facts(ModelSpec(name="a/b", revision=COMMIT))["commit"] == COMMIT
    asked: list[Any] = []

    class HfApi:
        def model_info(self, name: str, revision: str | None, timeout: float) -> SimpleNamespace:
            asked.append((name, revision))
            if name == "a/away":
                raise OSError("no network")
            return SimpleNamespace(sha="f" * 40)

    cached = {"a/away": str(tmp_path / "snapshots" / ("e" * 40) / "config.json")}
    hub = SimpleNamespace(HfApi=HfApi, try_to_load_from_cache=lambda name, file, revision: cached.get(name))
    monkeypatch.setitem(sys.modules, "huggingface_hub", hub)
    assert model_facts(ModelSpec(name="a/b", revision="main")) == {"name": "a/b", "revision": "main", "commit": "f" * 40}
    assert model_facts(ModelSpec(name="a/away"))["commit"] == "e" * 40
    assert asked == [("a/b", "main"), ("a/away", None)]
    monkeypatch.delitem(sys.modules, "huggingface_hub")
    assert model_facts(ModelSpec(name="a/b"))["commit"] is None


def test_a_model_in_a_folder_is_known_by_its_files(tmp_path: Path) -> None:
    """Another configuration, or weights of another size, are another model."""
    (tmp_path / "config.json").write_text("{}")
    (tmp_path / "model.safetensors").write_bytes(b"1234")
    digests = [model_facts(ModelSpec(name=str(tmp_path)))["digest"]]
    (tmp_path / "config.json").write_text("[]")
    digests.append(model_facts(ModelSpec(name=str(tmp_path)))["digest"])
    (tmp_path / "model.safetensors").write_bytes(b"12345")
    digests.append(model_facts(ModelSpec(name=str(tmp_path)))["digest"])
    assert len(set(digests)) == 3


def test_a_models_folder_is_looked_for_beside_the_suite_first(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Then in the current folder; a name that is no folder is one of the hub."""
    for where in ("suite", "here"):
        (tmp_path / where / "model").mkdir(parents=True)
    (tmp_path / "here" / "only").mkdir()
    monkeypatch.chdir(tmp_path / "here")
    suite = str(tmp_path / "suite")
    assert model_folder("model", suite) == tmp_path / "suite" / "model"
    assert model_folder("only", suite) == Path("only")
    assert model_folder("model", "") == Path("model")
    assert model_folder("owner/model", suite) is None
    assert model_folder("embedded:llama-64x2", suite) is None


def test_what_is_not_pinned_is_named(tmp_path: Path) -> None:
    """Models and data sets of the hub without a revision, once each; embedded ones, folders and pinned ones are not."""
    pinned = spec("Qwen/Qwen2.5-3B", COMMIT, "maths", pool="deepscaler")
    loose = spec("Qwen/Qwen2.5-3B", None, "maths", pool="orz")
    assert unpinned([pinned, spec(), spec(str(tmp_path))]) == []
    assert unpinned([pinned, loose, loose]) == ["model Qwen/Qwen2.5-3B", "data set Open-Reasoner-Zero/orz_math_57k_collection"]


def test_a_data_folder_that_is_not_there(tmp_path: Path) -> None:
    """--data-dir is checked before anything starts."""
    with pytest.raises(UserError, match=r"--data-dir .*nowhere: there is no such folder"):
        use_data_folder(tmp_path / "nowhere")


def test_a_run_does_not_go_on_with_other_questions(place: ToyPlace) -> None:
    """The record of each attempt holds the hashes; a resumed run whose data folder has other questions stops in one sentence."""
    (place.folder / "file_task.py").write_text(TASK)
    place.write(edited(SUITE, {"toy_engine:ToyTask": "file_task:FileTask"}))
    for name in ("one", "other"):
        (place.folder / name).mkdir()
        (place.folder / name / "questions.json").write_text(json.dumps([f"{name} {i}" for i in range(9)]))
    words = ("run", "toy.toml", "--only", "strategy=grpo")
    first = place.halfway(*words, "--data-dir", "one", TOY_FAULT="user@step 5 begins")
    assert first.returncode == 2
    (ledger,) = place.runs.glob("*/ledger.jsonl")
    found = read_ledger(ledger).provenance
    assert found is not None
    assert found.questions["train"]["questions"] == 9
    assert found.sources == {"train": {"file": "questions.json"}}
    changed = place.halfway(*words, "--retry-failed", "--data-dir", "other")
    assert changed.returncode == 2
    assert "began with other questions: train was 9 questions, hash" in changed.stderr
    assert "give the --data-dir it began with" in changed.stderr
    again = place.halfway(*words, "--retry-failed", "--data-dir", "one")
    assert again.returncode == 0, again.stderr
    log = read_ledger(ledger)
    assert log.complete
    assert log.provenance == found
