"""Which arms need a trained difficulty predictor that is not there, and the commands that make one."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from harness.data.provenance import built_here
from harness.errors import UserError
from harness.registry import entry_of
from harness.spec import RunSpec


@dataclass(frozen=True, slots=True)
class MissingPredictor:
    """One predictor to be made. sentence: who needs it. commands: the two that make it, in order."""

    sentence: str
    commands: tuple[str, str]


def missing_predictors(runs: Sequence[RunSpec], suite: str) -> list[MissingPredictor]:
    """What the runs lack, once per strategy and predictor. suite: as the person named it, for the commands.

    Models that a backend builds itself need none: their preparation trains one.
    """
    found: dict[tuple[str, str], list[str]] = {}
    for run in runs:
        path = str(run.strategy.config.get("predictor") or "")
        if path and Path(path).is_dir():
            continue
        if path or ("predictor" in entry_of(run.strategy).requires and not built_here(run.combination.model.name)):
            found.setdefault((run.strategy.label, path), []).append(run.combination.name)
    return [_missing(suite, label, path, list(dict.fromkeys(names))) for (label, path), names in found.items()]


def refuse_missing_predictors(runs: Sequence[RunSpec], suite: str) -> None:
    """Raise UserError, with the commands to give, if a run could not start because a predictor is missing."""
    missing = missing_predictors(runs, suite)
    if missing:
        first = missing[0]
        raise UserError(f"{first.sentence}. Make it with: {' && '.join(first.commands)}")


def _missing(suite: str, label: str, path: str, combinations: list[str]) -> MissingPredictor:
    where = f"{path}, which is not there" if path else "its setting predictor, which is empty"
    name = path or "predictors/mine"
    return MissingPredictor(
        f"strategy {label} ({', '.join(combinations)}) needs a difficulty predictor in {where}",
        (
            f"halfway predictor collect --suite {suite} --combination {combinations[0]} --models A,B,C -o pass_rates.parquet",
            f"halfway predictor train pass_rates.parquet -o {name} --embedder hf:MODEL",
        ),
    )
