"""A task small enough that embedded models for it are built in a moment."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from harness.task import TaskData, WarmUp
from suites.tasks.spell_backward import SpellBackward

SIZES = {"train": 20, "validation": 10, "test": 30, "adapter": 10, "warm_up": 60, "max_word_length": 5}


def small_task(**warm_up: Any) -> TaskData:
    """spell-backward with a few short words; five warm-up steps of eight questions by default."""
    return replace(SpellBackward(SIZES).build(), warm_up=WarmUp(**{"steps": 5, "batch_size": 8, **warm_up}))
