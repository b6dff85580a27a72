"""What runs will cost before they start: from the ledgers of runs like them, else from what the suite expects, else unknown.

Nothing is invented. For each run the nearest source there is counts: finished runs of the same arm, this run's own beginning,
finished runs of other arms of the combination, the combination's ``expected`` table. Costs are per training step, beside the
start of every run, so that runs of another length count too. Tokens have a bound that needs no source: no run trains on more
than steps x groups x group size x completion length fresh tokens, refills and probes aside.
"""

from __future__ import annotations

import statistics
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from harness.files import files_under
from harness.records.run_folder import DONE, RunPaths, RunStatus, run_paths
from harness.spec import RunSpec
from harness.suite.suite import Expected

MEASURED_FOLDERS = 3
"""Run folders per arm whose size is measured."""


@dataclass(frozen=True, slots=True)
class Estimate:
    """What a run will still cost; None for unknown. disk: bytes of its folder in the end. source: where the numbers come from."""

    seconds: float | None = None
    tokens: float | None = None
    disk: float | None = None
    source: str = "unknown"


@dataclass(frozen=True, slots=True)
class _Sample:
    """Per-step costs of a run that was carried out, in whole or in part; ``start``: seconds before its first step."""

    seconds: float
    start: float
    tokens: float
    paths: RunPaths


def token_bound(spec: RunSpec) -> int:
    """Most fresh tokens that the run's own settings allow, without refills and probes."""
    algorithm = spec.algorithm
    return algorithm.max_steps * algorithm.groups_per_step * algorithm.group_size * algorithm.max_completion_tokens


def estimate(
    runs: Sequence[RunSpec], statuses: Mapping[str, RunStatus], runs_dir: Path, expected: Mapping[str, Expected]
) -> dict[str, Estimate]:
    """By run id. ``statuses`` are those of ``runs``, as :func:`harness.records.run_folder.run_status` gives them."""
    arms: dict[tuple[str, str], list[_Sample]] = {}
    for spec in runs:
        status = statuses[spec.run_id]
        if status.state in DONE and status.step:
            arms.setdefault(_arm(spec), []).append(_sample(spec, status, run_paths(runs_dir, spec)))
    sizes = {
        arm: median_of_known(_folder_size(sample.paths.root) for sample in samples[:MEASURED_FOLDERS]) for arm, samples in arms.items()
    }
    found = {}
    for spec in runs:
        status = statuses[spec.run_id]
        if status.state in DONE:
            found[spec.run_id] = Estimate(0.0, 0.0, 0.0, "done")
            continue
        found[spec.run_id] = _nearest(spec, status, arms, sizes, expected.get(spec.combination.name), run_paths(runs_dir, spec))
    return found


def _nearest(
    spec: RunSpec,
    status: RunStatus,
    arms: Mapping[tuple[str, str], list[_Sample]],
    sizes: Mapping[tuple[str, str], float | None],
    expected: Expected | None,
    paths: RunPaths,
) -> Estimate:
    own = arms.get(_arm(spec))
    if own:
        return _scaled(spec, status, own, sizes[_arm(spec)], f"{_count(own)} of this arm")
    if status.step and status.seconds:
        return _scaled(spec, status, [_sample(spec, status, paths)], None, f"its own first {status.step} steps")
    alike = [sample for arm, samples in arms.items() if arm[0] == spec.combination.name for sample in samples]
    if alike:
        disk = median_of_known(size for arm, size in sizes.items() if arm[0] == spec.combination.name and size is not None)
        return _scaled(spec, status, alike, disk, f"{_count(alike)} of other arms")
    if expected is None:
        return Estimate()
    left = spec.algorithm.max_steps - status.step
    return Estimate(
        None if expected.seconds_per_step is None else left * expected.seconds_per_step,
        None if expected.tokens_per_step is None else left * expected.tokens_per_step,
        None if expected.disk_mib is None else expected.disk_mib * 2**20,
        f"the suite: {expected.source}",
    )


def _scaled(spec: RunSpec, status: RunStatus, samples: Sequence[_Sample], disk: float | None, source: str) -> Estimate:
    left = max(0, spec.algorithm.max_steps - status.step)
    of = {name: median_of_known([getattr(s, name) for s in samples]) or 0.0 for name in ("seconds", "start", "tokens")}
    return Estimate(of["start"] + left * of["seconds"], left * of["tokens"], disk, source)


def _sample(spec: RunSpec, status: RunStatus, paths: RunPaths) -> _Sample:
    # The whole attempt where it was recorded: start, evaluations and checkpoints take time too. Else training and evaluations.
    seconds = status.wall_seconds_per_step or status.seconds / status.step + _evaluation_seconds_per_step(spec, status)
    return _Sample(seconds, status.start_seconds, status.tokens / status.step, paths)


def _evaluation_seconds_per_step(spec: RunSpec, status: RunStatus) -> float:
    point = status.last_evaluation
    return 0.0 if point is None or point.seconds is None else point.seconds / spec.evaluation.every_steps


def total(estimates: Iterable[Estimate]) -> Estimate:
    """The sum; unknown where a part is unknown."""
    everything = list(estimates)

    def add(of: Callable[[Estimate], float | None]) -> float | None:
        parts = [of(e) for e in everything]
        return None if any(part is None for part in parts) else float(sum(part for part in parts if part is not None))

    return replace(Estimate(add(lambda e: e.seconds), add(lambda e: e.tokens), add(lambda e: e.disk)), source="sum")


def wall_seconds(estimates: Sequence[Estimate], parallel: int) -> float | None:
    """How long runs take with so many at a time, started in this order; None where one is unknown."""
    free = [0.0] * max(1, parallel)
    for one in estimates:
        if one.seconds is None:
            return None
        slot = free.index(min(free))
        free[slot] += one.seconds
    return max(free)


def _arm(spec: RunSpec) -> tuple[str, str]:
    return spec.combination.name, spec.strategy.label


def _count(samples: Sequence[_Sample]) -> str:
    return f"{len(samples)} finished run{'s' if len(samples) > 1 else ''}"


def median_of_known(values: Iterable[float | None]) -> float | None:
    """The median of what is known; None where nothing is."""
    known = [value for value in values if value is not None]
    return statistics.median(known) if known else None


def _folder_size(folder: Path) -> float:
    size = 0
    for path in files_under(folder):
        try:
            size += path.stat().st_size
        except OSError:
            continue  # a worker is tidying up
    return float(size)
