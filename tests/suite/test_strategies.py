"""Strategies named in a suite file: combinations, refusals, and what of a predictor belongs to a run's identity."""

from __future__ import annotations

from pathlib import Path

import pytest

from harness.backend import WHOLE_GROUPS
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
    grpo = plan(load_suite(file))[0]
    assert "strategy.predictor_digest" not in grpo.identity()
