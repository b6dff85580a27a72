"""``mini``: the paper's shape on CPU. What was measured on it is in docs/mini.md."""

from __future__ import annotations

import numpy as np
from shipped import parameters, sizes_of, specs_of, task_of

from backends.common.char_tokenizer import build_tokenizer, pieces
from backends.common.tiny_models import Architecture
from harness.spec import RunSpec
from harness.suite.reader import load_suite
from harness.suite.suite import find_suite
from harness.task import WARM_UP


def combinations() -> dict[str, RunSpec]:
    """The first run of each."""
    found: dict[str, RunSpec] = {}
    for run in specs_of("mini"):
        found.setdefault(run.combination.name, run)
    return found


def test_mini_has_the_papers_shape() -> None:
    """Six combinations of three sizes, two architectures and four reasoning-gym families; one task on all sizes; 11 arms × 5 seeds."""
    runs, firsts = specs_of("mini"), combinations()
    controls = {"dots-rr-paper", "grpo-lean", "fewer-fresh", "random-replay", "dapo", "history", "oracle"}
    tuned = {"grpo", "dots", "rr", "dots-rr"}
    assert len(firsts) == 6
    assert len(runs) == 6 * 11 * 5
    assert {run.strategy.label for run in runs} == tuned | controls
    assert {a.strategy.label for a in load_suite(find_suite("mini")).arms if a.settings_of is None} == tuned
    models = {run.combination.model.name for run in firsts.values()}
    assert len({parameters(run) for run in firsts.values()}) >= 3
    assert {Architecture.parse(name).family for name in models} == {"llama", "qwen2"}
    families: dict[str, set[str]] = {}
    for run in firsts.values():
        assert run.combination.task.name == "reasoning-gym"
        families.setdefault(run.combination.task.config["family"], set()).add(run.combination.model.name)
    assert len(families) >= 4
    assert families.keys() - {"chain_sum", "products", "letter_counting", "leg_counting"}, "one must have nothing to do with numbers"
    assert set(max(families.values(), key=len)) == models


def test_the_pools_of_mini_hold_what_real_pools_hold() -> None:
    """Questions that nobody can learn, a level that is solved from the start, few visits; `halfway regime` measures what that gives."""
    for run in combinations().values():
        config, algorithm = run.combination.task.config, run.algorithm
        assert 0.1 <= config["unlearnable"] <= 0.3, run.combination.name
        assert config["levels"][0]["noise_slope"] == 0, run.combination.name
        visits = algorithm.groups_per_step * algorithm.max_steps / config["train"]
        assert 1 <= visits <= 3, run.combination.name


def test_some_of_mini_show_steps_of_thirty_tokens_or_more() -> None:
    """Where a warm-up shows steps, targets beyond the level that is solved from the start average 30 tokens or more, end token included."""
    worked = [run for run in combinations().values() if run.combination.task.config["worked"]]
    assert len(worked) >= 2
    for run in worked:
        task = task_of(run, **{**sizes_of(run), "warm_up": 2048})
        unsolved = [q for q in task.split(WARM_UP) if q.metadata["level"] != "short"]
        assert np.mean([len(pieces(q.answer, task.tokens)) + 1 for q in unsolved]) >= 30, run.combination.name


def test_the_completion_limit_of_mini_fits_its_answers() -> None:
    """No gold answer or worked solution is longer than what a model may write, end token included."""
    for run in combinations().values():
        task = task_of(run, **{**sizes_of(run), "warm_up": 2048})
        tokenizer = build_tokenizer(Architecture.parse(run.combination.model.name).family, task.alphabet, task.tokens)
        longest = max(len(tokenizer(q.answer)["input_ids"]) for name in ("train", "test", WARM_UP) for q in task.split(name))
        assert longest + 1 <= run.algorithm.max_completion_tokens, run.combination.name
