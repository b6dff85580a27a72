"""A user's own questions with a user's own model: what a run starts from."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from backends.common.prepare import prepare
from harness.errors import UserError
from harness.suite.reader import load_suite
from harness.suite.suite import plan

SUITE = """
name = "own"
seeds = [1]
[[combinations]]
name = "own"
backend = "trl"
model = "MODEL"
task = { name = "jsonl", file = "pool.jsonl", evaluation = "pool.jsonl", reward = "exact" }
[[strategies]]
name = "grpo"
"""


def suite(folder: Path, model: str) -> Path:
    (folder / "pool.jsonl").write_text(json.dumps({"question": "1+1=", "answer": 2}), encoding="utf-8")
    path = folder / "own.toml"
    path.write_text(SUITE.replace("MODEL", model), encoding="utf-8")
    return path


def test_the_models_folder_beside_the_suite_is_what_is_loaded(tmp_path: Path) -> None:
    """From wherever the command is given; a name that is no folder goes to the hub as it is."""
    (tmp_path / "my-model").mkdir()
    for model, loaded in (("my-model", str(tmp_path / "my-model")), ("owner/model", "owner/model")):
        (spec,) = plan(load_suite(suite(tmp_path, model)))
        prepared = prepare(spec, tmp_path / "cache", lambda *_: None)
        assert prepared.model == loaded
        assert [q.answer for q in prepared.task.split("train")] == ["2"]


def test_an_embedded_model_needs_questions_of_its_own(tmp_path: Path) -> None:
    """Refused with what to do, not built from the questions that it is trained on."""
    (spec,) = plan(load_suite(suite(tmp_path, "embedded:llama-64x2")))
    with pytest.raises(UserError, match="'embedded:llama-64x2' cannot be built for it; give the task some with its setting warm_up"):
        prepare(spec, tmp_path / "cache", lambda *_: None)
