"""``mini``: the paper's shape on CPU. What was measured on it is in docs/mini.md."""

from __future__ import annotations

import numpy as np
from shipped import parameters, sizes_of, specs_of, task_of

from backends.common.char_tokenizer import build_tokenizer, pieces
from backends.common.tiny_models import Architecture
from harness.spec import RunSpec
from harness.task import WARM_UP


def combinations() -> dict[str, RunSpec]:
    """The first run of each."""
    found: dict[str, RunSpec] = {}
    for run in specs_of("mini"):
        found.setdefault(run.combination.name, run)
    return found


def test_mini_has_the_papers_shape() -> None:
    """Six combinations of three sizes, two architectures and four reasoning-gym families; one task on all sizes; 4 strategies × 5 seeds."""
    runs, firsts = specs_of("mini"), combinations()
    assert len(firsts) == 6
    assert len(runs) == 6 * 4 * 5
    assert {run.strategy.label for run in runs} == {"grpo", "dots", "rr", "dots-rr"}
    models = {run.combination.model.name for run in firsts.values()}
    assert len({parameters(run) for run in firsts.values()}) >= 3
    assert {Architecture.parse(name).family for name in models} == {"llama", "qwen2"}
    families: dict[str, set[str]] = {}
    for run in firsts.values():
        assert run.combination.task.name == "reasoning-gym"
        families.setdefault(run.combination.task.config["family"], set()).add(run.combination.model.name)
    assert len(families) >= 4
    assert families.keys() - {"chain_sum", "products", "letter_counting"}, "one must have nothing to do with numbers"
    assert set(max(families.values(), key=len)) == models
    assert sum(run.algorithm.updates_per_batch == 8 for run in firsts.values()) >= 2


def test_some_of_mini_show_steps_of_thirty_tokens_or_more() -> None:
    """Where a warm-up shows intermediate steps, its targets have at least 30 tokens on average, end token included."""
    worked = [run for run in combinations().values() if run.combination.task.config["worked"]]
    assert len(worked) >= 2
    for run in worked:
        task = task_of(run, **{**sizes_of(run), "warm_up": 2048})
        assert np.mean([len(pieces(q.answer, task.tokens)) + 1 for q in task.split(WARM_UP)]) >= 30, run.combination.name


def test_the_completion_limit_of_mini_fits_its_answers() -> None:
    """No gold answer or worked solution is longer than what a model may write, end token included."""
    for run in combinations().values():
        task = task_of(run, **{**sizes_of(run), "warm_up": 2048})
        tokenizer = build_tokenizer(Architecture.parse(run.combination.model.name).family, task.alphabet, task.tokens)
        longest = max(len(tokenizer(q.answer)["input_ids"]) for name in ("train", "test", WARM_UP) for q in task.split(name))
        assert longest + 1 <= run.algorithm.max_completion_tokens, run.combination.name
