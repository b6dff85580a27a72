"""Whether pool, evaluation sets and texts fit a run's settings: said before a run starts, which could not be right with them."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

from harness.data.provenance import built_here, model_folder
from harness.errors import UserError
from harness.registry import task_builder
from harness.spec import AlgorithmSpec, RunSpec, TaskSpec
from harness.task import SPLITS, TaskData, embedded_positions

#: An answer with its reasoning never fits into so few tokens; it is what ``max_completion_tokens`` is where a suite does not say.
_TOO_SHORT_FOR_MATHEMATICS = AlgorithmSpec().max_completion_tokens
_POSITIONS = ("max_position_embeddings", "n_positions", "max_sequence_length")


def misfits_by_settings(runs: Sequence[RunSpec]) -> list[str]:
    """A sentence for everything that the settings alone show not to fit; no question is drawn and nothing is read but a model's config."""
    found: dict[str, None] = {}
    tasks = {run.combination.name: run.combination.task for run in runs}
    counts = {name: declared_sizes(task) for name, task in tasks.items()}
    for run in runs:
        found.update(dict.fromkeys([*_counts(run, counts[run.combination.name]), *_positions(run)]))
    return list(found)


def declared_sizes(task: TaskSpec) -> dict[str, int]:
    """Split → number of questions, as far as the task's settings say; no question is read. Empty for a task that cannot be made."""
    try:
        config: Any = getattr(task_builder(task), "config", None)
    except UserError:
        return {}  # it is named elsewhere
    return {name: size for name in SPLITS if isinstance(size := getattr(config, name, None), int)}


def misfits(run: RunSpec, task: TaskData) -> list[str]:
    """A sentence for everything that does not fit between a run and its built task."""
    found = _counts(run, {name: len(questions) for name, questions in task.splits.items()})
    algorithm, where = run.algorithm, _where(run)
    if task.reward.name == "math-verify" and algorithm.max_completion_tokens <= _TOO_SHORT_FOR_MATHEMATICS:
        found.append(
            f"{where}: max_completion_tokens = {algorithm.max_completion_tokens} is too short for an answer in mathematics; "
            "set it under [algorithm], for example to 3072"
        )
    if built_here(run.combination.model.name):
        positions = embedded_positions(task)
        longest = max(len(q.prompt) for questions in task.splits.values() for q in questions)
        if longest + algorithm.max_completion_tokens > positions:
            found.append(
                f"{where}: a prompt of {longest} characters and max_completion_tokens = {algorithm.max_completion_tokens} do not fit into "
                f"the {positions} positions of {run.combination.model.name}; set max_completion_tokens to at most {positions - longest}"
            )
    return found


def _counts(run: RunSpec, counts: dict[str, int]) -> list[str]:
    found, where, groups = [], _where(run), run.algorithm.groups_per_step
    if "train" in counts and counts["train"] < groups:
        found.append(
            f"{where}: the pool has {counts['train']} questions, fewer than groups_per_step = {groups}; enlarge the task's train or lower "
            "groups_per_step"
        )
    empty = [name for name in run.evaluation.all_sets if counts.get(name) == 0]
    found += [f"{where}: the evaluation set {name!r} is empty; set the task's {name} above 0 or name another set" for name in empty]
    return found


def _positions(run: RunSpec) -> list[str]:
    """Of a model in a local folder, whose config says how many positions it has."""
    folder = model_folder(run.combination.model.name, run.combination.task.folder)
    if folder is None:
        return []
    try:
        config = json.loads((folder / "config.json").read_text(encoding="utf-8"))
        positions = next((int(config[key]) for key in _POSITIONS if key in config), None)
    except (OSError, ValueError, TypeError):
        return []
    algorithm = run.algorithm
    needed = algorithm.max_completion_tokens + (algorithm.max_prompt_tokens or 1)
    if positions is None or needed <= positions:
        return []
    prompt = f"max_prompt_tokens = {algorithm.max_prompt_tokens} and " if algorithm.max_prompt_tokens else "a prompt and "
    return [
        f"{_where(run)}: {prompt}max_completion_tokens = {algorithm.max_completion_tokens} do not fit into the {positions} positions of "
        f"{run.combination.model.name}; lower them"
    ]


def _where(run: RunSpec) -> str:
    return f"combination {run.combination.name!r}"
