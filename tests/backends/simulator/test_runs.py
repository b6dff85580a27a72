"""Simulated runs through the real runner: same ledgers, resume with the same numbers, refusals in one sentence."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from harness.records.ledger import LEDGER_NAME, RunLog, read_ledger

SUITE = """
name = "tiny"
seeds = [1]
baseline = "grpo"
[algorithm]
groups_per_step = 8
group_size = 4
max_steps = {steps}
learning_rate = 1e-2
{algorithm}
[evaluation]
every_steps = 5
diagnostic_questions = 0
[execution]
checkpoint_every_steps = 5
{execution}
[[combinations]]
name = "skills"
backend = "simulator"
model = "{model}"
task = {{ name = "latent-skills", train = 200, test = 100, adapter = 64 }}
[[strategies]]
name = "grpo"
[[strategies]]
name = "rr"
config = {{ capacity = 16 }}
[[strategies]]
name = "dots"
config = {{ references = 16 }}
"""


def run(
    folder: Path,
    runs: str = "runs",
    steps: int = 20,
    execution: str = "",
    model: str = "simulated",
    only: Sequence[str] = (),
    algorithm: str = "",
) -> subprocess.CompletedProcess[str]:
    (folder / "tiny.toml").write_text(SUITE.format(steps=steps, execution=execution, model=model, algorithm=algorithm))
    environment = {**os.environ, "HALFWAY_CACHE": str(folder / "cache")}
    command = [sys.executable, "-m", "harness.cli", "run", "tiny.toml", "--runs-dir", runs, *only]
    return subprocess.run(command, cwd=folder, capture_output=True, text=True, timeout=240, env=environment, check=False)


def logs(folder: Path) -> dict[str, RunLog]:
    found = [read_ledger(path) for path in folder.rglob(LEDGER_NAME)]
    return {log.spec["strategy"]["label"]: log for log in found}


def test_runs_resume_with_the_same_numbers(tmp_path: Path) -> None:
    """Twenty steps at once, and ten with ten more after them: the same questions, rates, costs and accuracies."""
    assert run(tmp_path, "whole").returncode == 0
    assert run(tmp_path, "halves", steps=10).returncode == 0
    assert run(tmp_path, "halves").returncode == 0
    whole, halves = logs(tmp_path / "whole"), logs(tmp_path / "halves")
    assert set(whole) == {"grpo", "rr", "dots"}
    for label, log in whole.items():
        assert [s.question_ids for s in log.steps] == [s.question_ids for s in halves[label].steps]
        assert [s.pass_rates for s in log.steps] == [s.pass_rates for s in halves[label].steps]
        ends = [x.evaluations[-1] for x in (log, halves[label])]
        assert ends[0].accuracy == ends[1].accuracy
        assert ends[0].costs.generated_tokens == ends[1].costs.generated_tokens
        assert ends[0].costs.training_seconds == pytest.approx(ends[1].costs.training_seconds)
    assert any(s.replayed_question_ids for s in whole["rr"].steps)
    assert whole["dots"].evaluations[-1].costs.probe_rollouts > 0


def test_an_older_policy_samples_and_resumes(tmp_path: Path) -> None:
    """At staleness 3 the rollouts of step t are those of t − 3 updates, in a run that stopped after five of its ten steps, too."""
    rr: dict[str, Any] = {"algorithm": "staleness = 3", "only": ["--only", "strategy=rr"]}
    assert run(tmp_path, "whole", steps=10, **rr).returncode == 0
    assert run(tmp_path, "halves", steps=5, **rr).returncode == 0
    assert run(tmp_path, "halves", steps=10, **rr).returncode == 0
    whole, halves = (logs(tmp_path / name)["rr"] for name in ("whole", "halves"))
    assert [s.policy_version for s in whole.steps] == [0, 0, 0, 0, 1, 2, 3, 4, 5, 6]
    for name in ("question_ids", "pass_rates", "staleness", "policy_version"):
        assert [getattr(s, name) for s in halves.steps] == [getattr(s, name) for s in whole.steps], name
    ages = [[s.fresh_mean_log_ratio for s in log.steps] for log in (halves, whole)]
    assert ages[0] == pytest.approx(ages[1], rel=1e-5)  # a stored buffer keeps μ in float32
    assert whole.steps[0].fresh_mean_log_ratio == pytest.approx(0)
    assert all((s.fresh_mean_log_ratio or 0) > 1e-4 for s in whole.steps[1:])
    assert min(age for s in whole.steps[5:] for age in s.staleness) >= 4


def test_seconds_follow_the_price_of_a_token(tmp_path: Path) -> None:
    """At μ = 5 the same run takes (5g + t)/(g + t) times as long."""
    assert run(tmp_path, "one", steps=5).returncode == 0
    assert run(tmp_path, "five", steps=5, execution="engine = { generated_token_price = 5.0 }").returncode == 0
    costs = [logs(tmp_path / name)["grpo"].evaluations[-1].costs for name in ("one", "five")]
    generated, trained = costs[0].generated_tokens, costs[0].trained_tokens
    assert costs[1].training_seconds / costs[0].training_seconds == pytest.approx((5 * generated + trained) / (generated + trained))


def test_groups_left_out_of_the_loss_are_not_charged_as_trained(tmp_path: Path) -> None:
    """Plain and lean GRPO learn the same; lean trains on the tokens of informative groups only, and says how many it dropped."""
    grpo = ["--only", "strategy=grpo"]
    assert run(tmp_path, "plain", steps=10, only=grpo).returncode == 0
    assert run(tmp_path, "lean", steps=10, only=grpo, algorithm="drop_degenerate = true").returncode == 0
    plain, lean = (logs(tmp_path / name)["grpo"] for name in ("plain", "lean"))
    assert [s.pass_rates for s in lean.steps] == [s.pass_rates for s in plain.steps]
    dropped = [sum(rate in (0.0, 1.0) for rate in s.pass_rates) for s in lean.steps]
    assert 0 < sum(dropped) < 80
    assert [s.dropped_groups for s in lean.steps] == dropped
    assert [s.dropped_groups for s in plain.steps] == [0] * 10
    generated = plain.evaluations[-1].costs.generated_tokens
    assert plain.evaluations[-1].costs.trained_tokens == lean.evaluations[-1].costs.generated_tokens == generated
    assert 0 < lean.evaluations[-1].costs.trained_tokens < generated
    assert lean.evaluations[-1].costs.training_seconds < plain.evaluations[-1].costs.training_seconds


def test_the_report_says_on_the_page_and_on_every_figure_that_it_is_simulated(tmp_path: Path) -> None:
    """Nobody can cut out a picture that looks like a measurement."""
    assert run(tmp_path, steps=10).returncode == 0
    command = [sys.executable, "-m", "harness.cli", "report", "tiny.toml", "-o", "page", "--figures"]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, timeout=240, check=False)
    assert done.returncode == 0, done.stderr
    page = (tmp_path / "page" / "index.html").read_text(encoding="utf-8")
    assert "Simulated, not measured" in page
    figures = list((tmp_path / "page" / "figures").glob("*.svg"))
    assert figures
    assert all("simulated" in figure.read_text(encoding="utf-8") for figure in figures)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"model": "gpt2"}, "the simulator needs task 'latent-skills' and model 'simulated', not 'latent-skills' and 'gpt2'"),
        ({"execution": "engine = { price = 1.0 }"}, "execution.engine has no key 'price' for the simulator"),
        ({"execution": "engine = { generated_token_price = -1 }"}, "execution.engine.generated_token_price must be a positive number"),
    ],
)
def test_what_cannot_be_simulated_is_refused(tmp_path: Path, change: dict[str, str], message: str) -> None:
    """One sentence, no traceback."""
    done = run(tmp_path, **change, only=["--only", "strategy=grpo"])  # type: ignore[arg-type]
    assert done.returncode != 0
    assert message in done.stderr
    assert "Traceback" not in done.stderr
