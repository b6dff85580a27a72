"""``halfway plan``: what runs will cost, how that is known, and nothing invented."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from toy_place import SUITE, ToyPlace

from harness.cli.plan import _size, parallel_here
from harness.records.ledger import LedgerWriter
from harness.records.ledger_records import Attempt, Complete, start_of
from harness.records.run_folder import RunStatus, run_paths, run_status
from harness.runner.estimates import Estimate, estimate, total, wall_seconds
from harness.runner.evaluation_costs import EvaluationCost, evaluation_costs, evaluations_left
from harness.spec import RunSpec
from harness.suite.reader import load_suite
from harness.suite.suite import Expected, plan
from harness.types import Costs, EvalPoint
from tests.edits import edited
from tests.made_records import evaluation

TWO_SEEDS = edited(SUITE, {"seeds = [1]": "seeds = [1, 2]"})
QUICK = Path(__file__).resolve().parents[2] / "suites" / "quick.toml"
BOUND = 8 * 6 * 4 * 16  # steps x groups x group size x completion tokens


def rows(place: ToyPlace, *words: str) -> dict[str, dict[str, Any]]:
    done = place.halfway("plan", "toy.toml", "--json", *words)
    assert done.returncode == 0, done.stderr
    return {f"{row['strategy']}/{row['seed']}": row for row in json.loads(done.stdout)}


def test_nothing_is_known(place: ToyPlace) -> None:
    """Before any run: unknown, said so; tokens have the bound that the settings give; nothing is created."""
    row = rows(place)["grpo/1"]
    assert [row[f"estimated_{what}"] for what in ("seconds", "tokens", "disk_bytes", "from")] == [None, None, None, "unknown"]
    assert row["token_bound"] == BOUND
    shown = place.halfway("plan", "toy.toml").stdout
    assert "unknown until a run of each combination is done" in shown
    assert "≤ 3.07 k" in shown
    assert not (place.folder / "runs").exists()


def test_what_the_suite_expects(place: ToyPlace) -> None:
    """A combination's ``expected`` table fills in, with its source; what it leaves out stays unknown; it is no part of a run's identity."""
    before = {name: row["run"] for name, row in rows(place).items()}
    place.write(edited(SUITE, {'model = "softmax"': 'model = "softmax"\nexpected = { seconds_per_step = 90, source = "table 3, 8 GPUs" }'}))
    found = rows(place)
    assert {name: row["run"] for name, row in found.items()} == before
    assert found["grpo/1"]["estimated_seconds"] == 720
    assert found["grpo/1"]["estimated_tokens"] is None
    assert found["grpo/1"]["estimated_from"] == "the suite: table 3, 8 GPUs"
    assert "12 min" in place.halfway("plan", "toy.toml").stdout
    place.write(edited(SUITE, {'model = "softmax"': 'model = "softmax"\nexpected = { seconds_per_step = 90 }'}))
    refused = place.halfway("plan", "toy.toml")
    assert refused.returncode == 2
    assert "'source' is missing" in refused.stderr


def test_what_ledgers_say(place: ToyPlace) -> None:
    """A finished run speaks for its arm and, until they have their own, for the other arms; done runs cost nothing any more."""
    place.write(TWO_SEEDS)
    assert place.run(only="grpo/1")[0].exit_code == 0
    found = rows(place)
    assert found["grpo/1"]["estimated_from"] == "done"
    assert found["grpo/1"]["estimated_seconds"] == 0
    assert found["grpo/2"]["estimated_from"] == "1 finished run of this arm"
    assert found["grpo-fast/1"]["estimated_from"] == "1 finished run of other arms"
    assert found["grpo/2"]["estimated_tokens"] == 8 * 24
    assert found["grpo/2"]["estimated_seconds"] > 0
    size = sum(path.stat().st_size for path in place.folders()["grpo/1"].rglob("*") if path.is_file())
    assert found["grpo/2"]["estimated_disk_bytes"] == size
    shown = place.halfway("plan", "toy.toml").stdout
    assert "4 runs, 32 training steps; here, " in shown
    assert "unknown" not in shown


def write(runs_dir: Path, spec: RunSpec, steps: int, seconds: float | None, complete: bool = True, start: float | None = None) -> None:
    """A ledger: 2 s and 100 tokens of training a step; ``seconds`` of the whole attempt, ``start`` of them before its first record."""
    ledger = LedgerWriter(run_paths(runs_dir, spec).ledger)
    ledger.write(start_of(spec))
    ledger.write(Attempt(1, {}, 0))
    costs = Costs(training_seconds=2.0 * steps, generated_tokens=100 * steps)
    ledger.write(evaluation(steps, costs=costs))
    if complete:
        ledger.write(Complete(steps) if seconds is None else Complete(steps, 0, seconds, start))
    ledger.close()


def by_title(runs: list[RunSpec], runs_dir: Path, expected: dict[str, Expected] | None = None) -> dict[str, Estimate]:
    statuses = {spec.run_id: run_status(run_paths(runs_dir, spec), spec) for spec in runs}
    found = estimate(runs, statuses, runs_dir, expected or {})
    return {f"{spec.strategy.label}/{spec.seed}": found[spec.run_id] for spec in runs}


def test_the_start_is_counted_once_a_run(tmp_path: Path) -> None:
    """A run of 8 steps that took 24 s, 8 of them to start, says 8 + 16 × 2 s of one with 16 steps."""
    file = tmp_path / "s.toml"
    file.write_text(edited(SUITE, {"seeds = [1]": "seeds = [1, 2]"}))
    short = plan(load_suite(file))
    write(tmp_path, short[0], 8, 24.0, start=8.0)
    assert [e.seconds for e in by_title(short, tmp_path).values()] == [0.0, 24.0, 24.0, 24.0]
    longer = short[1].model_copy(update={"algorithm": short[1].algorithm.model_copy(update={"max_steps": 16})})
    assert by_title([short[0], longer], tmp_path)["grpo/2"].seconds == 8 + 16 * 2.0


def test_estimates_by_hand(tmp_path: Path) -> None:
    """Seconds of whole attempts where they are recorded, else of training; medians over runs; the rest of what has begun."""
    file = tmp_path / "s.toml"
    file.write_text(edited(SUITE, {"seeds = [1]": "seeds = [1, 2, 3, 4, 5]"}))
    runs = plan(load_suite(file))
    spec = {f"{run.strategy.label}/{run.seed}": run for run in runs}
    write(tmp_path, spec["grpo/1"], 8, 24.0)  # 3 s a step in all
    write(tmp_path, spec["grpo/2"], 8, 40.0)  # 5 s
    write(tmp_path, spec["grpo/3"], 8, None)  # of an earlier version: 2 s of training
    write(tmp_path, spec["grpo/4"], 6, None, complete=False)
    found = by_title(runs, tmp_path)
    assert found["grpo/5"] == Estimate(8 * 3.0, 800.0, found["grpo/5"].disk, "3 finished runs of this arm")
    assert found["grpo/4"].seconds == 2 * 3.0
    assert found["grpo/4"].tokens == 200
    assert found["grpo-fast/1"].source == "3 finished runs of other arms"
    write(tmp_path, spec["grpo-fast/1"], 4, None, complete=False)
    assert by_title(runs, tmp_path)["grpo-fast/1"] == Estimate(4 * 2.0, 400.0, None, "its own first 4 steps")
    longer = [run.model_copy(update={"algorithm": run.algorithm.model_copy(update={"max_steps": 80})}) for run in runs]
    expected = {"bandit": Expected(source="s", seconds_per_step=1.0, disk_mib=2.0)}
    found = by_title(longer, tmp_path, expected)
    assert found["grpo/1"].source == "its own first 8 steps"
    assert found["grpo/5"] == Estimate(80.0, None, 2.0 * 2**20, "the suite: s")


def test_evaluations_have_a_price_too(tmp_path: Path) -> None:
    """8 steps, evaluated every 2: 5 evaluations before anything ran, of 1,000 tokens and 7 s each as the last one measured; 2 are left
    after step 5, which also lengthen what is estimated from 5 steps of 2 s: 2 + 7/2 s a step."""
    file = tmp_path / "s.toml"
    file.write_text(edited(SUITE, {"seeds = [1]": "seeds = [1, 2, 3]"}))
    runs = plan(load_suite(file))
    spec = {f"{run.strategy.label}/{run.seed}": run for run in runs}
    statuses = {run.run_id: run_status(run_paths(tmp_path, run), run) for run in runs}
    assert evaluation_costs(runs, statuses)[spec["grpo/1"].run_id] == EvaluationCost(5)
    ledger = LedgerWriter(run_paths(tmp_path, spec["grpo/1"]).ledger)
    ledger.write(start_of(spec["grpo/1"]))
    ledger.write(Attempt(1, {}, 0))
    costs = Costs(training_seconds=10.0, generated_tokens=500)
    completions = {"test": {"tokens": 5.0, "truncated": 0.0}}
    ledger.write(EvalPoint(5, 0.5, {"test": 0.5}, 200, costs, right={"test": [1] * 200}, completions=completions, seconds=7.0))
    ledger.close()
    statuses = {run.run_id: run_status(run_paths(tmp_path, run), run) for run in runs}
    found = evaluation_costs(runs, statuses)
    assert found[spec["grpo/1"].run_id] == EvaluationCost(2, 2000.0, 2 * 200 * 16, 14.0)
    assert found[spec["grpo-fast/3"].run_id] == EvaluationCost(5, 5000.0, 5 * 200 * 16, 35.0)
    assert by_title(runs, tmp_path)["grpo/1"].seconds == 3 * (2.0 + 7.0 / 2)


def test_the_last_step_is_evaluated_off_the_grid_too() -> None:
    """10 steps every 4: before the first, after 4, 8 and 10; after step 8 one is left."""
    run = load_suite(QUICK)
    spec = plan(run)[0]
    algorithm = spec.algorithm.model_copy(update={"max_steps": 10})
    spec = spec.model_copy(update={"algorithm": algorithm, "evaluation": spec.evaluation.model_copy(update={"every_steps": 4})})
    assert evaluations_left(spec, RunStatus("pending")) == 4
    assert evaluations_left(spec, RunStatus("interrupted", 8, last_evaluation=evaluation(8))) == 1
    questions = spec.combination.task.config.get("test", 512)
    assert evaluation_costs([spec], {spec.run_id: RunStatus("pending")})[spec.run_id].bound == (
        4 * questions * spec.algorithm.max_completion_tokens
    )


def test_sums() -> None:
    """A sum is known where all its parts are; wall time comes from the order in which runs start."""
    parts = [Estimate(10.0, 5.0, 1.0), Estimate(20.0, None, 2.0), Estimate(5.0, 1.0, 3.0)]
    assert total(parts) == Estimate(35.0, None, 6.0, "sum")
    assert wall_seconds(parts, 1) == 35
    assert wall_seconds(parts, 2) == 20
    assert wall_seconds([*parts, Estimate()], 2) is None
    assert [_size(n) for n in (0, 999, 1000, 2_345_678, 5e9, 7e12)] == ["0 ", "999 ", "1 k", "2.35 M", "5 G", "7 T"]


def test_another_backend(place: ToyPlace) -> None:
    """--backend makes other runs of the same suite, in plan, status and run alike; a misspelt one is a sentence."""
    (place.folder / "other_engine.py").write_text("from toy_engine import ToyBackend\n\n\nclass Other(ToyBackend):\n    pass\n")
    before, found = rows(place), rows(place, "--backend", "other_engine:Other")
    assert {row["backend"] for row in found.values()} == {"other_engine:Other"}
    assert not {row["run"] for row in before.values()} & {row["run"] for row in found.values()}
    done = place.halfway("run", "toy.toml", "--only", "strategy=grpo", "--backend", "other_engine:Other")
    assert done.returncode == 0, done.stderr
    status = json.loads(place.halfway("status", "toy.toml", "--json", "--backend", "other_engine:Other").stdout)
    assert [row["state"] for row in status] == ["complete", "pending"]
    assert set(place.states().values()) == {"pending"}
    refused = place.halfway("plan", "toy.toml", "--backend", "varl")
    assert refused.returncode == 2
    assert "halfway: --backend varl: unknown; did you mean 'verl'? (known: " in refused.stderr


CONFIGURED = """
from toy_engine import ToyBackend


class Configured(ToyBackend):
    def resolved_config(self, spec):
        return {"trainer": {"steps": spec.algorithm.max_steps, "rate": spec.algorithm.learning_rate}}


class Worded(ToyBackend):
    def resolved_config(self, spec):
        return f"steps: {spec.algorithm.max_steps}\\n"
"""


def test_show_config(place: ToyPlace) -> None:
    """What the backend makes of each arm's settings, once an arm; a backend that has no such thing says so."""
    place.write(TWO_SEEDS)
    (place.folder / "configured.py").write_text(CONFIGURED)
    shown = place.halfway("plan", "toy.toml", "--show-config", "--backend", "configured:Configured").stdout
    assert shown.count("# bandit / ") == 2
    first = shown.index("{")
    assert json.loads(shown[first : shown.index("#", first)]) == {"trainer": {"steps": 8, "rate": 0.001}}
    assert '"rate": 0.005' in shown
    assert "\nsteps: 8\n" in place.halfway("plan", "toy.toml", "--show-config", "--backend", "configured:Worded").stdout
    refused = place.halfway("plan", "toy.toml", "--show-config")
    assert refused.returncode == 2
    assert "backend 'toy_engine:ToyBackend' has no configuration of its own" in refused.stderr


@pytest.mark.parametrize("word", ["2hours", "many"])
def test_a_budget_that_cannot_be_read(place: ToyPlace, word: str) -> None:
    """Refused before anything starts."""
    done = place.halfway("run", "toy.toml", "--budget", word)
    assert done.returncode == 2
    assert f"halfway: --budget {word}: write a time (90min, 2h, 1.5d) or tokens" in done.stderr
    assert not (place.folder / "runs").exists()


def test_parallel_here(tmp_path: Path) -> None:
    """As many at a time as ``run`` would start."""
    (tmp_path / "s.toml").write_text(SUITE)
    runs = plan(load_suite(tmp_path / "s.toml"))
    assert parallel_here(runs, 3) == 3
