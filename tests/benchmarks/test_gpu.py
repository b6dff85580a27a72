"""What the committed steps of GPU runs are made into: rows, curves, ratios and prices, by numbers worked out by hand."""

from __future__ import annotations

from pathlib import Path

import pandas as pd
import pytest

from benchmarks import gpu_courses, gpu_price, steps
from harness.records.ledger import LEDGER_NAME, LedgerWriter
from harness.records.ledger_records import start_of
from harness.spec import RunSpec
from harness.testing.backend_contract import contract_spec
from harness.types import Costs
from tests.made_records import evaluation, step


def record(folder: Path, label: str, accuracies: list[float], tokens: int, seed: int = 1, trained: int = 100) -> Path:
    """A run of one step between evaluations; every step generates ``tokens`` and trains on ``trained``."""
    spec = contract_spec("trl")
    spec = spec.model_copy(update={"seed": seed, "strategy": spec.strategy.model_copy(update={"label": label})})
    run_dir = folder / f"{label}-{seed}"
    run_dir.mkdir(parents=True)
    spec.save(run_dir / "spec.json")
    ledger = LedgerWriter(run_dir / LEDGER_NAME)
    ledger.write(start_of(spec))
    ledger.write(evaluation(0, accuracies[0], Costs()))
    phases = {"probe": 0.0, "rollout": 2.0, "log_probs": 0.0, "update": 4.0}
    for number, accuracy in enumerate(accuracies[1:], start=1):
        costs = Costs(training_steps=number, generated_tokens=tokens * number, trained_tokens=trained * number)
        ledger.write(step(number, costs, pass_rates=[0.0, 0.5, 1.0, 0.25], phases=phases))
        ledger.write(evaluation(number, accuracy, costs))
    ledger.close()
    return run_dir


def test_a_step_and_its_evaluation_are_one_row(tmp_path: Path) -> None:
    start, first, second = steps.rows_of(record(tmp_path, "grpo", [0.1, 0.2, 0.3], tokens=50))
    assert (start["step"], start["accuracy"]) == (0, 0.1)
    assert (first["accuracy"], first["informative"], first["fresh_groups"], first["seconds_rollout"]) == (0.2, 0.5, 4, 2.0)
    assert (second["generated_tokens"], second["trained_tokens"]) == (100, 200)


def test_ratios_are_those_of_the_crossings(tmp_path: Path) -> None:
    """GRPO gains .4 by step 4, so the target is .1 + .7 · .4 = .38: reached at step 3 (300 tokens); rr is there at step 2 (100)."""
    runs = [
        record(tmp_path, "grpo", [0.1, 0.2, 0.3, 0.4, 0.5, 0.9], tokens=100),
        record(tmp_path, "rr", [0.1, 0.2, 0.4, 0.4, 0.5], tokens=50),
    ]
    runs.append(record(tmp_path, "cut-off", [0.1, 0.9], tokens=50))
    pd.DataFrame([row for run in runs for row in steps.rows_of(run)]).to_csv(tmp_path / "made-h100.csv", index=False)
    curves = gpu_courses.curves_of(gpu_courses.steps_of("made", tmp_path), 4)
    assert {c.strategy for c in curves} == {"grpo", "rr"}  # what ended before the common step is left out
    target = gpu_courses.target_of(curves)
    assert target.accuracy == pytest.approx(0.38)
    (row,) = gpu_courses.speed_ups(curves, 0.38).to_dict("records")
    assert row == {
        "strategy": "rr",
        "seeds": 1,
        "generated_tokens": "3.00 (3.00)",
        "price:0.333333": "1.71 (1.71)",  # (3·100/3 + 3·100) / (2·50/3 + 2·100)
        "price:1": "2.00 (2.00)",
        "price:5": "2.57 (2.57)",  # 1800 / 700
    }
    gpu_courses.draw(curves, 0.38, tmp_path / "figure.svg")
    assert "generated tokens" in (tmp_path / "figure.svg").read_text()


def test_the_guide_has_the_tables_of_the_committed_steps() -> None:
    page = (gpu_courses.DOCS / "courses.md").read_text(encoding="utf-8")
    for suite, last in gpu_courses.COURSES.items():
        steps_made = gpu_courses.steps_of(suite)
        curves = gpu_courses.curves_of(steps_made, last)
        assert {c.strategy for c in curves} >= {"grpo", "rr", "dots-rr", "frontier"}
        target = gpu_courses.target_of(curves).accuracy
        assert target is not None
        assert set(gpu_courses.speed_ups(curves, target).seeds) <= {1, 3}
        table = gpu_courses.table(steps_made, curves, target, last)
        assert f"<!-- {suite}-h100 -->\n{table}\n<!-- /{suite}-h100 -->" in page


def test_the_price_is_of_the_steps_after_the_warm_up(tmp_path: Path) -> None:
    """Two steps count: 2 s for 60 generated tokens, 4 s for 240 trained ones, so one generated costs (2/60) / (4/240) = 2."""
    row = gpu_price.row_of(record(tmp_path, "grpo", [0.1] * 6, tokens=60, trained=240))
    assert (row["steps"], row["generated_tokens"], row["trained_tokens"]) == (2, 60.0, 240.0)
    assert row["price_of_a_generated_token"] == 2.0


def test_variants_leave_every_group_in_the_loss() -> None:
    spec = gpu_price.spec_of("vllm-colocate", 128, 11)
    assert isinstance(spec, RunSpec)
    assert (spec.algorithm.groups_per_step, spec.algorithm.drop_degenerate, spec.execution.generation) == (128, False, "vllm-colocate")
    assert spec.execution.engine == gpu_price.ENGINE
    assert gpu_price.spec_of("decoder", 16, 11).execution.engine == {}
