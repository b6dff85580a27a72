"""``halfway tasks`` and ``halfway models``: everything there is, with every setting, from the settings' own descriptions."""

from __future__ import annotations

import importlib.util
import json
from typing import Any

import pytest
from typer.testing import CliRunner

from harness.cli.main import app
from harness.cli.models import KINDS, kind_of, model_rows
from harness.cli.tasks import settings_of, task_rows
from harness.errors import UserError
from harness.registry import TASKS
from harness.spec import ModelSpec


def shown(*words: str) -> str:
    done = CliRunner().invoke(app, list(words))
    assert done.exit_code == 0, done.output
    return done.output


def test_every_task_is_there_with_described_settings() -> None:
    """Each registered one, with one line and a description for every setting."""
    rows = {row["name"]: row for row in task_rows()}
    assert set(rows) == set(TASKS)
    for row in rows.values():
        assert row["summary"], row["name"]
        assert "\n" not in row["summary"]
        assert row["settings"], row["name"]
        assert all(setting["description"] for setting in row["settings"].values()), row["name"]


def test_settings_carry_default_requirement_and_choices() -> None:
    """As the pydantic model declares them."""
    (maths,) = task_rows(["maths"])
    assert maths["settings"]["pool"] == {
        "required": True, "default": None, "description": "where the training questions come from",
        "choices": ["math", "deepscaler", "orz", "deepmath"],
    }  # fmt: skip
    assert (maths["settings"]["validation"]["required"], maths["settings"]["validation"]["default"]) == (False, 0)
    assert settings_of(ModelSpec)["revision"] == {"required": False, "default": None, "description": "pinned hub revision", "choices": []}


def test_the_tasks_as_a_person_and_a_script_see_them() -> None:
    """A line per task with what must be given; one with all settings; JSON; a wrong name is an error."""
    assert f"{len(TASKS)} tasks" in shown("tasks")
    one = shown("tasks", "jsonl")
    assert "  reward (must be given)  math, number, exact, or module:function of your own\n" in one
    assert "  question (not set)  column of the question" in one
    assert "  validation = 0  questions of the file kept for tuning\n" in one
    rows: list[dict[str, Any]] = json.loads(shown("tasks", "--json"))
    assert [row["name"] for row in rows] == list(TASKS)
    with pytest.raises(UserError, match="unknown task 'jsnl'; did you mean 'jsonl'"):
        task_rows(["jsnl"])


def test_a_task_of_ones_own_declares_its_settings(tmp_path: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """A class in its attribute Config; its documentation is the line."""
    (tmp_path / "my_task.py").write_text(
        "from pydantic import BaseModel, Field\n\nclass Mine:\n    '''Riddles.'''\n\n    class Config(BaseModel):\n"
        "        size: int = Field(3, description='how many')\n"
    )
    monkeypatch.syspath_prepend(tmp_path)
    (row,) = task_rows(["my_task:Mine"])
    assert (row["summary"], row["settings"]["size"]["default"]) == ("Riddles", 3)


def test_models() -> None:
    """Kinds, the suites that name which, and what one name stands for."""
    rows = {row["name"]: row for row in model_rows()}
    assert list(rows) == [name for name, _ in KINDS]
    assert "paper" in rows["OWNER/NAME"]["suites"]["Qwen/Qwen2.5-3B"]
    assert set(rows["simulated"]["suites"]) == {"simulated"}
    assert "revision" in rows["OWNER/NAME"]["settings"]
    assert "revision" not in rows["simulated"]["settings"]
    assert shown("models", "embedded:llama-64x2").startswith("embedded:llama-64x2 (embedded:llama-WxL): a Llama-style model")
    assert "in the shipped suites" in shown("models")
    assert json.loads(shown("models", "a/b", "--json"))[0]["name"] == "OWNER/NAME"
    with pytest.raises(UserError, match="no embedded model 'embedded:gpt-64x2'"):
        kind_of("embedded:gpt-64x2")


@pytest.mark.skipif(importlib.util.find_spec("torch") is None, reason="embedded models are built with torch")
def test_the_embedded_kinds_are_those_that_can_be_built() -> None:
    """Every kind parses with its least width, and the limits in words are those of the builder."""
    from backends.common.tiny_models import Architecture

    for name, _ in KINDS[:2]:
        stem = name.removesuffix("WxL")
        assert Architecture.parse(f"{stem}32x1").width == 32
        assert Architecture.parse(f"{stem}1024x24").layers == 24
        for wrong in (f"{stem}1056x1", f"{stem}33x1", f"{stem}32x25"):
            with pytest.raises(UserError):
                Architecture.parse(wrong)
