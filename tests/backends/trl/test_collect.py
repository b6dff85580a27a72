"""From no pass rates to a DOTS run: collect on embedded models, train, run; through the command line and real processes."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from backends.common.collection import ROWS, collect
from harness.errors import UserError
from harness.predictor.collection import CollectionRequest, journal_folder, read_metadata
from harness.predictor.lab.pass_rate_table import read_table
from tests.backends.trl.conftest import TASK, make_spec, train

MODELS = ("embedded:llama-64x2@1", "embedded:llama-32x2@2")
SETTINGS = [word for key, value in TASK.config.items() for word in ("--set", f"{key}={value}")]
COMMAND = ["--task", "spell-backward", *SETTINGS, "--split", "adapter", "--max-completion-tokens", "12"]


def halfway(cache: Path, *arguments: Any) -> subprocess.Popen[str]:
    """The command in a process of its own, with the tests' model cache."""
    return subprocess.Popen(
        [sys.executable, "-m", "harness.cli", "predictor", *map(str, arguments)],
        env={**os.environ, "HALFWAY_CACHE": str(cache), "PYTHONPATH": str(Path(__file__).parents[3])},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def run(cache: Path, *arguments: Any) -> str:
    process = halfway(cache, *arguments)
    said, complaint = process.communicate(timeout=600)
    assert process.returncode == 0, complaint
    return said


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_collect_train_and_run_dots(tmp_path: Path, cache: Path) -> None:
    """Killed with SIGKILL in the middle, collected to the end, trained on, and used by ``dots``; nothing is lost and nothing is twice."""
    whole, cut = tmp_path / "whole.parquet", tmp_path / "cut.parquet"
    arguments = ["collect", "--models", ",".join(MODELS), *COMMAND, "--rollouts", 16, "--portion", 2, "-o"]
    said = run(cache, *arguments, whole)
    assert "128 questions x 2 models" in said

    process = halfway(cache, *arguments, cut)
    deadline = time.monotonic() + 120
    while not any(f.stat().st_size for f in journal_folder(cut).glob("*.jsonl")):
        assert time.monotonic() < deadline
        assert process.poll() is None
        time.sleep(0.002)
    os.kill(process.pid, signal.SIGKILL)
    process.communicate()
    assert not cut.exists() or read_table(cut).pass_rates.shape[1] < 2
    run(cache, *arguments, cut)
    assert not journal_folder(cut).exists()
    first, second = read_table(whole), read_table(cut)
    assert first.models == second.models
    assert [m.partition("__")[0] for m in first.models] == ["llama-64x2-seed1", "llama-32x2-seed2"]
    np.testing.assert_array_equal(first.pass_rates, second.pass_rates)
    assert [f["tokens"] for f in read_metadata(whole)[1].values()] == [f["tokens"] for f in read_metadata(cut)[1].values()]
    assert 0 < np.mean(first.pass_rates) < 1

    run(cache, "train", cut, "-o", tmp_path / "predictor", "--units", 16, "--epochs", 20, "--references", 32)
    log = train(make_spec("dots", {"references": 8, "predictor": str(tmp_path / "predictor")}, {"max_steps": 2}), tmp_path / "run", cache)
    assert [s.step for s in log.steps] == [1, 2]
    assert log.steps[0].costs.probe_rollouts == 8 * 4
    assert "mae" in log.evaluations[-1].predictor


def request(out: Path, model: str = MODELS[1], questions: int = 12, **execution: Any) -> CollectionRequest:
    spec = make_spec(**execution)
    return CollectionRequest(spec=spec, model=model, split="adapter", questions=questions, rollouts=64, portion=5, out=str(out))


def silent(what: str, done: int, total: int) -> None:
    """Show nothing."""


@pytest.mark.slow
def test_the_engines_measure_the_same_model(tmp_path: Path, cache: Path) -> None:
    """Own decoder and transformers' generation agree on mean rates of 64 rollouts; progress ends at all questions; a second call rests."""
    rates = {}
    for generation in ("decoder", "generate"):
        seen: list[tuple[str, int, int]] = []
        asked = request(tmp_path / f"{generation}.parquet", generation=generation)
        collect(asked, cache, lambda *news, seen=seen: seen.append(news))
        assert seen[-1] == ("llama-32x2-seed2", 12, 12)
        table = read_table(tmp_path / f"{generation}.parquet")
        assert table.rollouts == (64,)
        rates[generation] = table.pass_rates[:, 0]
        before = (tmp_path / f"{generation}.parquet").read_bytes()
        collect(asked, cache, silent)
        assert (tmp_path / f"{generation}.parquet").read_bytes() == before
    # 12 questions × 64 rollouts each: the difference of two means has a standard deviation of at most .026
    assert abs(rates["decoder"].mean() - rates["generate"].mean()) < 0.1
    assert ROWS >= 64


@pytest.mark.slow
def test_a_folder_is_measured_like_the_model_that_it_holds(tmp_path: Path, cache: Path) -> None:
    """The same weights under a folder's name: the same rates under another label and a digest of the files."""
    from backends.common.collection import find_model
    from harness.data.provenance import built_task

    source = find_model(MODELS[1], built_task(TASK), cache, silent, "cpu")
    for name, out in ((MODELS[1], "built"), (source.path, "folder")):
        collect(request(tmp_path / f"{out}.parquet", name), cache, silent)
    built, folder = read_table(tmp_path / "built.parquet"), read_table(tmp_path / "folder.parquet")
    np.testing.assert_array_equal(built.pass_rates, folder.pass_rates)
    assert folder.models != built.models


@pytest.mark.parametrize(
    ("model", "execution", "message"),
    [
        ("embedded:llama-32x2@one", {}, "its seed, a number"),
        ("embedded:gpt-32x2", {}, "unknown embedded model"),
        ("nobody/nothing@0123", {}, "neither a folder nor"),
        (MODELS[1], {"generation": "vllm"}, "needs the package vllm"),
        (MODELS[1], {"generation": "sglang"}, "cannot be collected with generation 'sglang'"),
    ],
)
def test_what_cannot_be_rolled_out_is_refused_with_a_sentence(
    model: str, execution: dict[str, Any], message: str, tmp_path: Path, cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Unknown models and engines are one sentence; no table is written."""
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    with pytest.raises(UserError, match=message):
        collect(request(tmp_path / "rates.parquet", model, **execution), cache, silent)
    assert not (tmp_path / "rates.parquet").exists()
