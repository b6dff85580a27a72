"""Trackers (TensorBoard, wandb, trackio) as optional sinks, fed by the backends' own integration; off by default.

The ledger is the record; a tracker is a view of it. Nothing leaves the machine unless the user's environment says so: wandb is
set to work offline unless ``WANDB_MODE`` is set, trackio keeps its data beside the run unless ``TRACKIO_SPACE_ID`` is set.
"""

from __future__ import annotations

import importlib.util
import os
from collections.abc import Iterable
from pathlib import Path

from harness.errors import UserError
from harness.spec import RunSpec

#: Tracker, as TRL's ``report_to`` and verl's ``trainer.logger`` call it -> the package it needs, under both of its names.
PACKAGES = {"tensorboard": "tensorboard", "wandb": "wandb", "trackio": "trackio"}

FOLDER = "trackers"


def check_trackers(names: Iterable[str]) -> None:
    """Raises UserError if the package of a tracker is not installed in this interpreter."""
    for name in names:
        if importlib.util.find_spec(PACKAGES[name]) is None:
            raise UserError(
                f"execution.trackers names {name!r}, but the package {PACKAGES[name]!r} is not installed where the backend runs; "
                f"pip install {PACKAGES[name]}, or take it out of the suite"
            )


def prepare_trackers(spec: RunSpec, run_dir: Path) -> None:
    """Set this process's environment so that trackers write into ``run_dir/trackers`` and stay off the network.

    What the user has set already is left as it is.
    """
    if not spec.execution.trackers:
        return
    folder = run_dir / FOLDER
    folder.mkdir(exist_ok=True)
    defaults = {
        "TENSORBOARD_LOGGING_DIR": str(folder / "tensorboard"),  # transformers
        "TENSORBOARD_DIR": str(folder / "tensorboard"),  # verl
        "WANDB_MODE": "offline",
        "WANDB_DIR": str(folder),
        "WANDB_PROJECT": f"halfway-{spec.suite}",
        "WANDB_NAME": spec.title,
        "WANDB_SILENT": "true",
        "TRACKIO_DIR": str(folder / "trackio"),
        "GRADIO_ANALYTICS_ENABLED": "False",
    }
    for name, value in defaults.items():
        os.environ.setdefault(name, value)
