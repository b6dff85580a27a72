"""Optuna, reached lazily: the next point of a study from its trials so far, and the study for optuna-dashboard."""

from __future__ import annotations

import hashlib
import warnings
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from harness.errors import UserError
from harness.files import replacing
from harness.tuning.space import Parameter, Point, Space

if TYPE_CHECKING:
    import optuna

STARTUP_TRIALS = 5
"""Trials before the tree-structured Parzen estimator takes over: the suite's own settings, then points spread over the space."""


@dataclass(frozen=True, slots=True)
class Trial:
    """A trial that has been judged.

    value: mean over seeds of the objective, for a pruned trial what it would be if it learned nothing more. state: ``pruned`` where it
    could no longer win. step: training step that its last judgement looked at. reached: seeds that reached the target. runs: run ids.
    """

    number: int
    point: Point
    state: Literal["complete", "pruned"]
    value: float
    step: int
    reached: int
    runs: tuple[str, ...]


def propose(fingerprint: str, space: Space, history: Sequence[Trial]) -> Point:
    """Trial ``len(history)`` of a study: the suite's own settings first, then what the sampler says.

    The sampler is seeded by (study, trial number) alone, so the answer depends on the history and on nothing else: not on the
    order in which studies are executed, nor on how often the command was interrupted.
    """
    number = len(history)
    if number == 0 or not space:
        return {p.name: p.own for p in space}
    if number < STARTUP_TRIALS:
        return _spread(fingerprint, space, number - 1, STARTUP_TRIALS - 1)
    study = _study(space, history, _seed(f"{fingerprint}/{number}"))
    asked = study.ask(fixed_distributions=_distributions(space)).params
    return {p.name: p.rounded(asked[p.name]) for p in space}


def _spread(fingerprint: str, space: Space, index: int, count: int) -> Point:
    """Point ``index`` of a Latin hypercube: with few trials, chance alone would leave whole parts of a range untried."""
    point = {}
    for p in space:
        rng = np.random.default_rng(_seed(f"{fingerprint}/{p.name}"))
        place = (rng.permutation(count)[index] + rng.random(count)[index]) / count
        point[p.name] = p.rounded(p.at(float(place)))
    return point


def _seed(text: str) -> int:
    return int.from_bytes(hashlib.sha256(text.encode()).digest()[:4])


def export(studies: Iterable[tuple[str, Space, Sequence[Trial], dict[str, Any]]], path: Path) -> None:
    """Write studies (name, space, trials, attributes) into a new SQLite file that ``optuna-dashboard`` opens.

    Raises UserError if ``path`` exists or cannot be written.
    """
    import optuna

    if path.exists():
        raise UserError(f"{path} exists; name another file for --export, or remove it first")
    try:
        with replacing(path) as partial, _quiet():
            storage = optuna.storages.RDBStorage(f"sqlite:///{partial.resolve()}")
            for name, space, trials, attributes in studies:
                study = optuna.create_study(storage=storage, study_name=name)
                for key, value in attributes.items():
                    study.set_user_attr(key, value)
                study.add_trials([_frozen(space, trial) for trial in trials])
            storage.engine.dispose()
    except OSError as error:
        raise UserError(f"cannot write {path}: {error.strerror}; choose another file") from error


def _study(space: Space, history: Sequence[Trial], seed: int) -> optuna.Study:
    import optuna

    with _quiet():
        sampler = optuna.samplers.TPESampler(seed=seed, n_startup_trials=STARTUP_TRIALS, multivariate=True, constant_liar=False)
        study = optuna.create_study(sampler=sampler)
        study.add_trials([_frozen(space, trial) for trial in history])
    return study


@contextmanager
def _quiet() -> Iterator[None]:
    """Keeps Optuna's log lines and its notes on experimental options off the terminal."""
    import optuna

    with warnings.catch_warnings(action="ignore"):
        before = optuna.logging.get_verbosity()
        optuna.logging.set_verbosity(optuna.logging.WARNING)
        try:
            yield
        finally:
            optuna.logging.set_verbosity(before)


def _frozen(space: Space, trial: Trial) -> optuna.trial.FrozenTrial:
    from optuna.trial import TrialState, create_trial

    pruned = trial.state == "pruned"
    return create_trial(
        state=TrialState.PRUNED if pruned else TrialState.COMPLETE,
        value=None if pruned else trial.value,
        intermediate_values={trial.step: trial.value},
        params=trial.point,
        distributions=_distributions(space),
        user_attrs={"runs": list(trial.runs), "seeds that reached the target": trial.reached},
    )


def _distributions(space: Space) -> dict[str, optuna.distributions.BaseDistribution]:
    return {p.name: _distribution(p) for p in space}


def _distribution(p: Parameter) -> optuna.distributions.BaseDistribution:
    from optuna.distributions import CategoricalDistribution, FloatDistribution, IntDistribution

    if p.choices is not None:
        return CategoricalDistribution(p.choices)
    if p.integer:
        return IntDistribution(int(p.low), int(p.high), log=p.log)
    return FloatDistribution(p.low, p.high, log=p.log)
