"""The suites of the paper and beyond it hold what they promise."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from pathlib import Path

import pytest

from harness.cli.models import kind_of
from harness.data.provenance import unpinned
from harness.registry import load_task
from harness.runner.readiness import missing_models
from harness.spec import EvaluationSpec, RunSpec
from harness.suite.reader import load_suite
from harness.suite.suite import Suite, find_suite, plan
from reports.page.published import published


@pytest.fixture(scope="module")
def paper() -> Suite:
    return load_suite(find_suite("paper"))


def only(runs: Sequence[RunSpec], combination: str) -> RunSpec:
    return next(run for run in runs if run.combination.name == combination)


def papers_own(suite: Suite) -> list[str]:
    """The combinations as the paper says them; the others, as the repository does them, end with -code."""
    return [name for name in suite.combinations if not name.endswith("-code")]


def test_six_combinations_with_the_published_results_beside_them(paper: Suite) -> None:
    """Names under which the report finds the paper's figures, for DOTS + RR alone; twice 4 strategies, 3 seeds."""
    assert len(papers_own(paper)) == 6
    assert [f"{name}-code" for name in papers_own(paper)] == paper.combinations[6:]
    for name in papers_own(paper):
        assert published(name, "dots-rr") is not None
        assert published(name, "grpo") is None
    assert paper.labels == ["grpo", "dots", "rr", "dots-rr", "dots-code", "rr-code", "dots-rr-code"]
    assert len(plan(paper)) == 144


def test_both_variants_differ_in_what_the_audit_found_and_in_nothing_else(paper: Suite) -> None:
    """Per combination and seed four arms of each variant; a strategy's variant and the algorithm around it go together."""
    for run in plan(paper):
        code = run.combination.name.endswith("-code")
        a, config = run.algorithm, run.strategy.config
        assert (a.advantage_normalization, a.behaviour_log_probs) == ("std" if code else "none", "actor")
        assert (a.top_p, a.weight_decay) == ((1.0, 0.01) if code else (0.95, 0.0))
        assert config.get("variant", "code" if code else "paper") == ("code" if code else "paper")
        if run.strategy.name in ("rr", "dots-rr"):
            assert config["capacity"] == 512


def test_the_papers_settings(paper: Suite) -> None:
    """Tables 4 and 6: batch 512 in 8 updates, 60 steps, 8 rollouts, learning rate 1e-6, no decay, no KL, 3,072 or 4,096 tokens."""
    for run in plan(paper):
        a = run.algorithm
        assert (a.groups_per_step, a.updates_per_batch, a.max_steps, a.group_size) == (512, 8, 60, 8)
        assert (a.learning_rate, a.lr_schedule, a.warmup_steps, a.kl_coefficient) == (1e-6, "constant", 0, 0.0)
        assert (a.temperature, a.max_prompt_tokens) == (0.6, 1024)
        assert a.max_completion_tokens == (4096 if "3b" in run.combination.name else 3072)
        assert run.evaluation.sets == ("gsm8k", "math500", "minerva", "olympiadbench")
        assert (run.evaluation.temperature, run.evaluation.samples_per_question) == (None, 1)
        assert run.target.final
        assert run.target.crossing == "first"
        config = run.strategy.config
        if run.strategy.name in ("dots", "dots-rr"):
            assert (config["interval"], config["references"], config["alpha"], config["tau"]) == (2, 256, 0.5, 1e-3)
        if run.strategy.label in ("rr", "dots-rr"):
            assert (config["fresh_fraction"], config["admission"], config["clip_center"]) == (0.5, "informative", "one")


def test_the_papers_pools_and_models(paper: Suite) -> None:
    """Pool sizes as in appendix D.1, every model pinned; the one data set whose commit could not be established is named."""
    runs = plan(paper)
    pools = {name: only(runs, name).combination.task.config["pool"] for name in papers_own(paper)}
    assert pools == {
        "qwen2.5-math-1.5b-math": "math", "qwen2.5-math-1.5b-deepscaler": "deepscaler", "qwen2.5-math-1.5b-orz": "orz",
        "qwen2.5-3b-deepscaler": "deepscaler", "qwen2.5-3b-deepmath": "deepmath", "qwen2.5-math-7b-deepscaler": "deepscaler",
    }  # fmt: skip
    assert unpinned(runs) == ["data set Open-Reasoner-Zero/orz_math_57k_collection"]
    for name in papers_own(paper):
        ours, theirs = only(runs, name).combination, only(runs, f"{name}-code").combination
        assert (ours.model, ours.task, ours.backend) == (theirs.model, theirs.task, theirs.backend)
    assert all(name in paper.expected for name in paper.combinations)


def test_small_sets_can_be_shown_beside_the_mean() -> None:
    """AIME and AMC are evaluated and recorded where ``also`` names them, and the accuracy stays the mean of the four."""
    evaluation = EvaluationSpec(sets=("gsm8k", "math500"), also=("aime2024",))
    assert evaluation.all_sets == ("gsm8k", "math500", "aime2024")
    assert evaluation.accuracy({"gsm8k": 0.5, "math500": 0.25, "aime2024": 1.0}) == 0.375


def test_beyond_covers_what_the_paper_leaves_open() -> None:
    """Logic, algorithms, games and science, with a strategy that needs no predictor; the reasoning-gym tasks can be built."""
    suite = load_suite(find_suite("beyond"))
    assert {name.partition("-")[0] for name in suite.combinations} == {"logic", "algorithms", "games", "science"}
    assert {"grpo", "history", "rr", "dots", "dots-rr"} == set(suite.labels)
    for name in ("logic-knights", "algorithms-shortest-path", "algorithms-spiral-matrix", "games-mini-sudoku"):
        task = only(plan(suite), name).combination.task
        built = load_task(task.name)({**task.config, "train": 20, "validation": 5, "test": 10}).build()
        assert len(built.split("train")) == 20
        assert built.system_prompt is not None


def test_smollm2_is_a_real_model_on_mixed_arithmetic() -> None:
    """12 runs on a model folder, one price per step for every arm; questions of four difficulties, the last number of an answer counts."""
    suite = load_suite(find_suite("smollm2"))
    runs = plan(suite)
    assert (suite.labels, len(runs)) == (["grpo", "rr", "dots-rr", "frontier"], 12)
    for run in runs:
        a = run.algorithm
        assert (a.groups_per_step, a.group_size, a.learning_rate, a.max_completion_tokens) == (8, 8, 3e-7, 24)
        assert a.drop_degenerate
        assert run.execution.device == "auto"
        assert kind_of(run.combination.model.name) == "FOLDER"
    task = load_task("reasoning-gym")(runs[0].combination.task.config).build()
    assert len(task.split("test")) == 128
    assert task.reward.name == "number"
    assert str(task.system_prompt).startswith("You are a calculator")
    levels = Counter(q.metadata["level"] for q in task.split("train"))
    assert set(levels) == {"single", "products", "sums", "two-digits"}
    draws = runs[0].algorithm.groups_per_step * runs[0].algorithm.max_steps
    assert 3 <= draws / len(task.split("train")) <= 4


def test_smollm2_says_how_to_make_its_model(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where the folder is not there, the sentence holds the command."""
    monkeypatch.chdir(tmp_path)
    (sentence,) = missing_models(plan(load_suite(find_suite("smollm2"))))
    assert "'halfway import-model SOURCE ./models/smollm2-135m-instruct' makes one of a GGUF file, or of the source smollm2" in sentence
