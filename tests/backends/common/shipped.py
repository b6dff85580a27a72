"""Runs, tasks and model sizes of the suites that come with Halfway, with splits small enough to be built in a moment."""

from __future__ import annotations

from typing import Any

import torch

from backends.common.char_tokenizer import build_tokenizer
from backends.common.tiny_models import Architecture
from harness.registry import load_task
from harness.spec import RunSpec
from harness.suite.reader import load_suite
from harness.suite.suite import find_suite, plan
from harness.task import TaskData

SMALL_SPLITS = {"train": 32, "validation": 8, "test": 8, "adapter": 32, "warm_up": 64, "warm_up_steps": 1}


def specs_of(suite: str) -> list[RunSpec]:
    """All runs of a shipped suite."""
    return plan(load_suite(find_suite(suite)))


def task_of(spec: RunSpec, **settings: Any) -> TaskData:
    """The task of a run, some of its settings replaced."""
    task: TaskData = load_task(spec.combination.task.name)({**spec.combination.task.config, **settings}).build()
    return task


def sizes_of(spec: RunSpec) -> dict[str, int]:
    """Those of ``SMALL_SPLITS`` that the task of a run has."""
    return {k: v for k, v in SMALL_SPLITS.items() if k in spec.combination.task.config}


def parameters(spec: RunSpec) -> int:
    """Counted without memory for weights."""
    from transformers import AutoModelForCausalLM

    task, architecture = task_of(spec, **sizes_of(spec)), Architecture.parse(spec.combination.model.name)
    with torch.device("meta"):
        tokenizer = build_tokenizer(architecture.family, task.alphabet, task.tokens)
        return int(AutoModelForCausalLM.from_config(architecture.config(tokenizer, 256)).num_parameters())
