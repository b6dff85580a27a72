"""What does not fit is said before a run: pool and batch, evaluation sets, lengths and positions."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest

from harness.data.provenance import built_task
from harness.data.sizes import misfits, misfits_by_settings
from harness.errors import UserError
from harness.reward.spec import RewardSpec
from harness.runner.readiness import refuse_unready
from harness.spec import RunSpec
from harness.suite.reader import load_suite
from harness.suite.suite import plan
from harness.task import embedded_positions

TEXT = """
name = "small"
seeds = [1]
[algorithm]
groups_per_step = {groups}
max_completion_tokens = {tokens}
[[combinations]]
name = "words"
backend = "trl"
model = "{model}"
task = {{ name = "spell-backward", train = 24, test = {test}, validation = 8, adapter = 8, warm_up = 64, max_word_length = 6 }}
[[strategies]]
name = "grpo"
"""


def run(folder: Path, groups: int = 24, tokens: int = 12, test: int = 16, model: str = "embedded:llama-64x2") -> RunSpec:
    path = folder / "small.toml"
    path.write_text(TEXT.format(groups=groups, tokens=tokens, test=test, model=model), encoding="utf-8")
    return plan(load_suite(path))[0]


def test_what_fits(tmp_path: Path) -> None:
    """A batch of the whole pool is allowed, and so are completions up to the last position."""
    longest = 6 + len("=")
    fitting = run(tmp_path, tokens=128 - longest)
    assert misfits_by_settings([fitting]) == []
    assert embedded_positions(built_task(fitting.combination.task)) == 128
    assert misfits(fitting, built_task(fitting.combination.task)) == []


def test_a_pool_smaller_than_a_batch(tmp_path: Path) -> None:
    """24 questions and 25 groups: both numbers and both ways out."""
    words = (
        "combination 'words': the pool has 24 questions, fewer than groups_per_step = 25; enlarge the task's train or lower groups_per_step"
    )
    spec = run(tmp_path, groups=25)
    assert misfits_by_settings([spec]) == [words]
    assert misfits(spec, built_task(spec.combination.task)) == [words]
    with pytest.raises(UserError, match="fewer than groups_per_step = 25"):
        refuse_unready([spec])


def test_too_long_for_the_positions(tmp_path: Path) -> None:
    """Prompts of up to 7 characters and 128 positions leave 121."""
    spec = run(tmp_path, tokens=122)
    assert misfits(spec, built_task(spec.combination.task)) == [
        "combination 'words': a prompt of 7 characters and max_completion_tokens = 122 do not fit into the 128 positions of "
        "embedded:llama-64x2; set max_completion_tokens to at most 121"
    ]


def test_a_model_in_a_folder_says_its_positions(tmp_path: Path) -> None:
    """config.json of a local model is read; without a length of prompts one token is the least."""
    model = tmp_path / "model"
    model.mkdir()
    (model / "config.json").write_text(json.dumps({"max_position_embeddings": 64}), encoding="utf-8")
    assert misfits_by_settings([run(tmp_path, tokens=63, model=str(model))]) == []
    (found,) = misfits_by_settings([run(tmp_path, tokens=64, model=str(model))])
    assert found.startswith("combination 'words': a prompt and max_completion_tokens = 64 do not fit into the 64 positions of")


def test_the_default_length_is_too_short_for_mathematics(tmp_path: Path) -> None:
    """Sixteen tokens hold no reasoning and hardly a box."""
    spec = run(tmp_path, tokens=16)
    task = replace(built_task(spec.combination.task), reward=RewardSpec("math-verify"))
    (found,) = misfits(spec, task)
    assert found.startswith("combination 'words': max_completion_tokens = 16 is too short for an answer in mathematics")
    assert misfits(run(tmp_path, tokens=17), task) == []


def test_an_empty_evaluation_set(tmp_path: Path) -> None:
    """A set of no questions has no accuracy."""
    spec = run(tmp_path)
    task = built_task(spec.combination.task)
    task = replace(task, splits={**task.splits, "test": ()})
    assert misfits(spec, task) == [
        "combination 'words': the evaluation set 'test' is empty; set the task's test above 0 or name another set"
    ]
