"""Strategies named in a suite file: combinations, refusals, and what of a predictor belongs to a run's identity."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from harness.backend import WHOLE_GROUPS
from harness.registry import BUILTIN_STRATEGIES, strategy_entry
from harness.spec import RunSpec
from harness.suite.reader import load_suite
from harness.suite.suite import SuiteError, plan

SUITE = """
name = "mine"
seeds = [1]

[[combinations]]
name = "words"
backend = "{backend}"
model = "embedded:llama-64x2"
task = "spell-backward"

[[strategies]]
name = "grpo"

[[strategies]]
name = "{strategy}"
config = {config}
"""


class Narrow:
    """A backend that trains on whole groups only."""

    name = "narrow"
    capabilities = WHOLE_GROUPS

    def status(self) -> None:
        raise AssertionError("it is refused before it is asked")

    prepare = train = status


def suite_file(folder: Path, strategy: str, config: str = "{}", backend: str = "trl") -> Path:
    file = folder / "mine.toml"
    file.write_text(SUITE.format(strategy=strategy, config=config, backend=backend), encoding="utf-8")
    return file


def test_a_combination_is_a_strategy_of_a_suite(tmp_path: Path) -> None:
    """Named with a plus, with the settings of both halves resolved."""
    run = plan(load_suite(suite_file(tmp_path, "mopps+rr", "{ decay = 0.9, capacity = 64 }")))[1]
    assert run.strategy.name == run.strategy.label == "mopps+rr"
    assert (run.strategy.config["decay"], run.strategy.config["capacity"], run.strategy.config["target"]) == (0.9, 64, 0.5)


def test_what_a_backend_cannot_express_is_refused_at_its_line(tmp_path: Path) -> None:
    """Before anything starts, with file, line, strategy, backend and reason."""
    file = suite_file(tmp_path, "pods", backend=f"{__name__}:Narrow")
    with pytest.raises(SuiteError, match=r"mine.toml, line 15: strategy 'pods' cannot run on backend .*Narrow.*groups of different sizes"):
        load_suite(file)
    assert len(plan(load_suite(suite_file(tmp_path, "mopps", backend=f"{__name__}:Narrow")))) == 2


def test_another_predictor_under_the_same_path_is_another_run(tmp_path: Path) -> None:
    """The predictor's content is identity, not only its path; without a predictor of one's own nothing changes."""
    folder = tmp_path / "predictor"
    folder.mkdir()
    (folder / "predictor.json").write_text("{}")
    (folder / "weights.safetensors").write_bytes(b"one")
    file = suite_file(tmp_path, "dots", f'{{ predictor = "{folder}" }}')

    def run_ids() -> list[str]:
        return [run.run_id for run in plan(load_suite(file))]

    first = run_ids()
    assert run_ids() == first
    (folder / "weights.safetensors").write_bytes(b"two")
    second = run_ids()
    assert second[0] == first[0]
    assert second[1] != first[1]


PLUGIN = """
from harness.strategies.uniform import Uniform

class Mine(Uniform):
    name = "mine"
    version = {version}
"""


def test_a_strategy_is_its_name_and_version_wherever_its_code_is(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Moving a plugin to another module keeps the run id; raising its declared version changes it."""
    monkeypatch.syspath_prepend(tmp_path)
    for module, version in (("here", 1), ("there", 1), ("raised", 2)):
        (tmp_path / f"{module}_of_plugin.py").write_text(PLUGIN.format(version=version), encoding="utf-8")

    def run(module: str) -> RunSpec:
        return plan(load_suite(suite_file(tmp_path, "mine"), [f"{module}_of_plugin:Mine"]))[1]

    here, there, raised = run("here"), run("there"), run("raised")
    assert (here.strategy.version, raised.strategy.version) == ("mine:1+1", "mine:2+1")
    assert here.strategy.plugin != there.strategy.plugin
    assert here.run_id == there.run_id
    assert here.run_id != raised.run_id


def test_no_module_is_part_of_a_shipped_strategys_version() -> None:
    """Renaming a file or class of this package must not make finished runs other runs."""
    for name in (*BUILTIN_STRATEGIES, "mopps+rr"):
        assert re.fullmatch(re.escape(name) + r":\d+\+\d+", strategy_entry(name).version)
