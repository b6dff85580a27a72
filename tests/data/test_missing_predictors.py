"""An arm that needs a predictor which is not there is named, with the commands that make one, before anything starts."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from typer.testing import CliRunner

from harness.cli.main import app
from harness.data.missing_predictors import missing_predictors
from harness.errors import UserError
from harness.suite.reader import load_suite
from harness.suite.suite import find_suite, plan

SUITE = """
name = "three"
description = "one policy from a folder, one embedded"
seeds = [1]
[[combinations]]
name = "folder"
backend = "trl"
model = "some/policy"
task = "spell-backward"
[[combinations]]
name = "embedded"
backend = "trl"
model = "embedded:llama-64x2"
task = "spell-backward"
[[strategies]]
name = "grpo"
[[strategies]]
name = "dots"
[[strategies]]
name = "dots-rr"
config = { predictor = "predictors/mine" }
"""

COLLECT = "halfway predictor collect --suite three.toml --combination folder --models A,B,C -o pass_rates.parquet"


@pytest.fixture
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with the suite above."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "three.toml").write_text(SUITE)
    return tmp_path


def test_who_needs_one(place: Path) -> None:
    """Without a setting only policies that are not embedded; with one, whoever names a folder that is not there."""
    runs = plan(load_suite(find_suite("three.toml")))
    first, second = missing_predictors(runs, "three.toml")
    assert first.sentence == "strategy dots (folder) needs a difficulty predictor in its setting predictor, which is empty"
    assert first.commands == (COLLECT, "halfway predictor train pass_rates.parquet -o predictors/mine --embedder hf:MODEL")
    assert second.sentence == "strategy dots-rr (folder, embedded) needs a difficulty predictor in predictors/mine, which is not there"
    (place / "predictors" / "mine").mkdir(parents=True)
    assert missing_predictors(runs, "three.toml") == [first]


@pytest.mark.slow
@pytest.mark.parametrize("suite", ["quick", "mini", "field"])
def test_suites_of_embedded_models_need_none(suite: str) -> None:
    """Their preparation trains one."""
    assert missing_predictors(plan(load_suite(find_suite(suite))), suite) == []


@pytest.mark.parametrize("command", ["plan", "doctor"])
def test_plan_and_doctor_say_so(place: Path, command: str) -> None:
    """Sentence and both commands, on lines of their own."""
    said = CliRunner().invoke(app, [command, "three.toml"]).output
    assert "strategy dots-rr (folder, embedded) needs a difficulty predictor in predictors/mine, which is not there" in said
    assert f"\n           {COLLECT}\n           halfway predictor train pass_rates.parquet -o predictors/mine" in said


def test_doctor_as_json(place: Path) -> None:
    """The same for a script."""
    found = json.loads(CliRunner().invoke(app, ["doctor", "three.toml", "--json"]).output)
    assert [one["commands"][0] for one in found["missing_predictors"]] == [COLLECT, COLLECT]


def test_run_refuses_before_anything_starts(place: Path) -> None:
    """One sentence instead of a failure after the model was loaded; arms that need none can be run alone."""
    result = CliRunner().invoke(app, ["run", "three.toml"])
    assert isinstance(result.exception, UserError)
    assert COLLECT in str(result.exception)
    assert not (place / "runs").exists()
