"""The simulator fitted to a course that was measured: latent skills under which plain GRPO looks like the course's baseline.

What is compared can be observed of uniform selection: mean pass rate and shares of groups all wrong and all right in each fifth of the run,
the correlation of questions between its first and its last third, the noise between seeds; and, of the oracle, the headroom. Nothing
else about any strategy is fitted. All runs of a candidate are simulated side by side, so that a search of some hundred takes a minute.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from backends.simulator.policy import ADAM_EPSILON
from benchmarks.skill_search import Candidate, Steps, search
from harness.numerics.latent_skills import SkillQuestions, SkillSettings, skill_questions
from harness.spec import AlgorithmSpec
from harness.step.advantage import STD_EPSILON
from harness.strategies.oracle import OracleConfig
from harness.strategies.uniform import pool_order
from harness.types import FloatArray, IntArray
from reports.arms import Combination
from reports.persistence import persistence
from reports.regime import run_regime

FIFTHS = 5
SHARES = ("mean", "all_wrong", "all_right")

#: Seeds of one candidate; those that judge the best one are others.
SEARCHED, JUDGED = range(8), range(100, 108)

#: Observable → weight in the sum of squared errors; noise and headroom are compared as logarithms.
WEIGHTS = {f"{name}_{fifth}": 3.0 if fifth in (0, FIFTHS - 1) else 1.0 for name in SHARES for fifth in range(FIFTHS)} | {
    "persistence": 2.0, "noise": 0.05, "headroom": 0.3,
}  # fmt: skip
_STEPS = Steps(decades=0.15, logits=0.2, share=0.03, most_share=0.5, least_difficulty=-2.0)
_LOGARITHMS = frozenset({"noise", "headroom"})


def task_of(point: Candidate, train: int) -> dict[str, Any]:
    """Settings of the task ``latent-skills``."""
    names = ("skills", "loadings", "difficulty", "spread", "out_of_reach")
    found = {name: getattr(point.skills, name) for name in names}
    return {**found, "train": train, "gradient_noise": point.gradient_noise, "forgetting": point.forgetting}


@dataclass(frozen=True, slots=True)
class Schedule:
    """What a course's baseline did. every_steps: between evaluations. share: of the gain, at which the target lies."""

    pool: int
    algorithm: AlgorithmSpec
    every_steps: int
    share: float


def observed(combination: Combination) -> dict[str, float]:
    """What the baseline's runs and the oracle's show; without what was not recorded."""
    regime = run_regime(combination)
    runs = combination.baseline.runs if combination.baseline is not None else []
    columns = {name: [_fifths(run.steps[column]) for run in runs] for name, column in zip(SHARES, _COLUMNS, strict=True)}
    found = {f"{name}_{i}": float(np.mean([row[i] for row in rows])) for name, rows in columns.items() for i in range(FIFTHS)}
    if regime.persistence is not None:
        found["persistence"] = regime.persistence.correlation
    if regime.noise is not None:
        found["noise"] = regime.noise
    if regime.headroom is not None and 0 < regime.headroom.at_least == regime.headroom.at_most:
        found["headroom"] = regime.headroom.at_least
    return found


_COLUMNS = ("mean_pass_rate", "all_wrong", "all_right")


def _fifths(values: FloatArray) -> list[float]:
    return [float(np.nanmean(part)) for part in np.array_split(values, FIFTHS)]


def simulated(candidate: Candidate, schedule: Schedule, seeds: range) -> dict[str, float]:
    """The same of simulated runs with these seeds."""
    rates, uniform = _train(candidate, schedule, seeds, oracle=False)
    _, best = _train(candidate, schedule, seeds, oracle=True)
    whole = {"mean": rates.shares, "all_wrong": rates.shares == 0, "all_right": rates.shares == 1}
    found = {f"{n}_{i}": float(part.mean()) for n, values in whole.items() for i, part in enumerate(np.array_split(values, FIFTHS))}
    lasting = persistence(rates.revisited(schedule.algorithm.group_size))
    start, final = float(np.median(uniform[0])), float(np.median(uniform[-1]))
    target = start + schedule.share * (final - start)
    ratios = [a / b for a, b in zip(_reached(uniform, target), _reached(best, target), strict=True)]
    return {
        **found,
        "persistence": lasting.correlation if lasting is not None else 0.0,
        "noise": float(uniform[-1].std(ddof=1)) / max(final - start, 1e-6),
        "headroom": float(np.median(ratios)),
    }


def error(found: Mapping[str, float], wanted: Mapping[str, float]) -> float:
    """Weighted sum of squared differences over what was observed."""
    total = 0.0
    for name, value in wanted.items():
        near = math.log(max(found[name], 1e-3) / max(value, 1e-3)) if name in _LOGARITHMS else found[name] - value
        total += WEIGHTS[name] * near**2
    return total


def fitted(wanted: Mapping[str, float], schedule: Schedule, broad: int = 80, narrow: int = 240) -> Candidate:
    """Random search: ``broad`` points anywhere, then ``narrow`` near the best so far."""
    return search(lambda point: error(simulated(point, schedule, SEARCHED), wanted), _first, _STEPS, broad, narrow)


def _first(rng: np.random.Generator) -> Candidate:
    skills = SkillSettings(
        int(rng.choice([12, 24, 48, 96])), int(rng.integers(2, 5)), rng.uniform(-0.5, 2), rng.uniform(1, 4), rng.uniform(0.05, 0.4)
    )
    return Candidate(skills, 10 ** rng.uniform(-2.7, -1.0), 10 ** rng.uniform(-3, -0.5), 10 ** rng.uniform(-5, -2.5))


@dataclass(frozen=True, slots=True)
class _Rates:
    """ids, shares: of the trained groups, shape (T, S, B)."""

    ids: IntArray
    shares: FloatArray

    def revisited(self, group_size: int) -> list[FloatArray]:
        """Per seed what :func:`reports.persistence.revisited` gives, but for the sampling variances, which are not needed here."""
        third = len(self.ids) // 3
        parts = []
        for seed in range(self.ids.shape[1]):
            ends = []
            for part in (slice(0, third), slice(-third, None)):
                ids, place = np.unique(self.ids[part, seed], return_inverse=True)
                ends.append((ids, np.bincount(place.ravel(), self.shares[part, seed].ravel()) / np.bincount(place.ravel())))
            _, first, last = np.intersect1d(ends[0][0], ends[1][0], assume_unique=True, return_indices=True)
            means = np.stack([ends[0][1][first], ends[1][1][last]])
            parts.append(np.concatenate([means, means * (1 - means) / (group_size - 1)]))
        return parts


def _train(candidate: Candidate, schedule: Schedule, seeds: range, *, oracle: bool) -> tuple[_Rates, FloatArray]:
    """Groups of all runs, and their accuracy on questions within reach at every evaluation, shape (E, S)."""
    algorithm = schedule.algorithm
    pool = skill_questions(candidate.skills, "train", schedule.pool)
    clean = skill_questions(replace(candidate.skills, out_of_reach=0.0), "test", 512)
    rng = np.random.default_rng([seeds.start, int(oracle)])
    runs, groups, size = len(seeds), algorithm.groups_per_step, algorithm.group_size
    theta, first, second = (np.zeros((runs, candidate.skills.skills)) for _ in range(3))
    orders = [np.concatenate([pool_order(s, e, schedule.pool) for e in range(_passes(schedule))]) for s in seeds]
    ids, shares, accuracies = [], [], [_rates(clean, theta).mean(axis=1)]
    updates = 0
    for step in range(algorithm.max_steps):
        chosen = np.stack([order[step * groups : (step + 1) * groups] for order in orders])
        if oracle:
            chosen = _nearest(pool, theta, groups, rng)
        old = _rates(pool, theta, chosen)[..., None]
        right = rng.random((*chosen.shape, size)) < old
        share = right.mean(axis=-1)
        spread = np.sqrt(share * (1 - share) * size / (size - 1))
        worth = (right - share[..., None]) / (spread[..., None] + STD_EPSILON)
        informative = (spread > 0).sum(axis=1) / algorithm.updates_per_batch
        noise = candidate.gradient_noise / np.sqrt(np.maximum(1.0, informative))
        # As TRL does, rows of all groups are shuffled and split: every update sees a part of every group.
        order = np.argsort(rng.random((runs, groups * size)), axis=1).reshape(worth.shape)
        for part in range(algorithm.updates_per_batch):
            rate = _rates(pool, theta, chosen)[..., None]
            ratio = np.where(right, rate / old, (1 - rate) / (1 - old))
            low, high = 1 - algorithm.clip_epsilon, 1 + (algorithm.clip_epsilon_high or algorithm.clip_epsilon)
            active = np.where(worth > 0, ratio <= high, ratio >= low) & (order % algorithm.updates_per_batch == part)
            pull = (worth * ratio * (right - rate) * active).sum(axis=-1)
            rows = max(groups * size // algorithm.updates_per_batch, 1)
            gradient = _gradient(pool, theta.shape, chosen, pull) / rows + rng.normal(0.0, 1.0, theta.shape) * noise[:, None]
            updates += 1
            one, two = algorithm.adam_beta1, algorithm.adam_beta2
            first, second = one * first + (1 - one) * gradient, two * second + (1 - two) * gradient**2
            moved = (first / (1 - one**updates)) / (np.sqrt(second / (1 - two**updates)) + ADAM_EPSILON)
            theta = theta * (1 - candidate.forgetting) + candidate.learning_rate * moved
        ids.append(chosen)
        shares.append(share)
        if (step + 1) % schedule.every_steps == 0:
            accuracies.append(_rates(clean, theta).mean(axis=1))
    return _Rates(np.array(ids), np.array(shares)), np.array(accuracies)


def _passes(schedule: Schedule) -> int:
    return 1 + schedule.algorithm.max_steps * schedule.algorithm.groups_per_step // schedule.pool


def _rates(questions: SkillQuestions, theta: FloatArray, ids: IntArray | slice = slice(None)) -> FloatArray:
    """Pass rates of S policies; of their own questions where ``ids`` has shape (S, n)."""
    skills, loadings, hard = questions.skills[ids], questions.loadings[ids], questions.difficulties[ids]
    runs = np.arange(len(theta)).reshape(-1, *[1] * 2)
    logits = (loadings * theta[runs, skills]).sum(axis=-1) - hard
    return np.asarray(1.0 / (1.0 + np.exp(-logits)))


def _gradient(questions: SkillQuestions, shape: tuple[int, ...], ids: IntArray, weights: FloatArray) -> FloatArray:
    total = np.zeros(shape)
    runs = np.broadcast_to(np.arange(shape[0])[:, None, None], (*ids.shape, questions.skills.shape[1]))
    np.add.at(total, (runs, questions.skills[ids]), weights[..., None] * questions.loadings[ids])
    return total


def _nearest(pool: SkillQuestions, theta: FloatArray, groups: int, rng: np.random.Generator) -> IntArray:
    """What the shipped oracle selects: of some random questions those whose labels are nearest to ½."""
    config = OracleConfig()
    size = min(len(pool), config.candidate_factor * groups)
    candidates = np.argsort(rng.random((len(theta), len(pool))), axis=1)[:, :size]
    labels = rng.binomial(config.rollouts, _rates(pool, theta, candidates)) / config.rollouts
    order = np.argsort(np.abs(labels - config.alpha), axis=1, kind="stable")[:, :groups]
    return np.take_along_axis(candidates, order, axis=1)


def _reached(accuracies: FloatArray, target: float) -> list[float]:
    """Evaluations until each run's accuracy reaches the target, interpolated; the last one where it does not."""
    found = []
    for run in accuracies.T:
        above = np.flatnonzero(run >= target)
        at = int(above[0]) if len(above) else len(run) - 1
        before = max(at - 1, 0)
        step = run[at] - run[before]
        found.append(before + min(1.0, (target - run[before]) / step) if at and step > 0 else float(max(at, 1)))
    return [max(value, 0.1) for value in found]
