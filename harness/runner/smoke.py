"""Two steps of every arm, to see what breaks before days are spent: generation, reward, update, evaluation and a checkpoint each."""

from __future__ import annotations

import shutil
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from harness.data.missing_predictors import missing_predictors
from harness.display.base import Display
from harness.records.file_locks import cannot_use, sole_use
from harness.records.run_folder import RunStatus, run_paths, suite_folder
from harness.runner.readiness import unfit_settings, unready_backends
from harness.spec import BudgetSpec, RunSpec

STEPS = 2
#: Questions per evaluation set, and to judge the predictor: enough to see that they are asked and scored.
QUESTIONS = 16


def smoke_runs(runs: Sequence[RunSpec]) -> list[RunSpec]:
    """For every arm among ``runs`` its first seed, with two steps and small evaluations, in the suite ``NAME.smoke``."""
    first: dict[tuple[str, str], RunSpec] = {}
    for run in runs:
        first.setdefault((run.combination.name, run.strategy.label), run)
    return [_shortened(run) for run in first.values()]


def _shortened(run: RunSpec) -> RunSpec:
    algorithm, evaluation = run.algorithm, run.evaluation
    asked = min(evaluation.max_questions or QUESTIONS, QUESTIONS)
    judged = min(evaluation.diagnostic_questions, QUESTIONS)
    return run.model_copy(
        update={
            "suite": f"{run.suite}.smoke",
            "algorithm": algorithm.model_copy(update={"max_steps": STEPS, "warmup_steps": min(algorithm.warmup_steps, STEPS)}),
            "evaluation": evaluation.model_copy(
                update={"every_steps": STEPS, "max_questions": asked, "diagnostic_questions": judged, "diagnostic_every": 1}
            ),
            "execution": run.execution.model_copy(update={"attempts": 1, "keep_rollouts": False, "trackers": ()}),
            "budget": BudgetSpec(),
        }
    )


def unready(runs: Sequence[RunSpec], suite: str, here: bool) -> dict[str, str]:
    """By run id, why a run cannot even start. here: whether runs are executed on this machine."""
    lacking = here and unready_backends(runs)
    found = {}
    for run in runs:
        sentences = [found.sentence for found in missing_predictors([run], suite)]
        if here:
            sentences += unfit_settings([run])
        if lacking:
            sentences += unready_backends([run])
        if sentences:
            found[run.run_id] = "; ".join(sentences)
    return found


@contextmanager
def emptied_folder(runs_dir: Path, suite: str) -> Iterator[None]:
    """The folder of a suite's smoke runs, without those of earlier commands; one such command at a time.

    Raises UserError if another one is at work there, or the folder cannot be used.
    """
    folder = suite_folder(runs_dir, suite)
    with sole_use(folder, ".smoke.lock", "used"):
        try:
            for spec in folder.glob("*/spec.json"):
                shutil.rmtree(spec.parent)
        except OSError as error:
            raise cannot_use(folder, error) from error
        yield


class SweepingDisplay:
    """A display that also removes the checkpoints of runs that have ended: nothing goes on from them, and models are large."""

    def __init__(self, display: Display, runs_dir: Path) -> None:
        self._display, self._runs_dir = display, runs_dir

    def __getattr__(self, name: str) -> Any:
        return getattr(self._display, name)

    def ended(self, run: RunSpec, status: RunStatus) -> None:
        """See :class:`harness.display.base.Display`."""
        shutil.rmtree(run_paths(self._runs_dir, run).checkpoints, ignore_errors=True)
        self._display.ended(run, status)
