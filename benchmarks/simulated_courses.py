"""Does the simulator rank the arms of a measured course as they were measured? For every combination, with the simulator fitted to it.

    python -m benchmarks.simulated_courses mini [--runs-dir runs] [--seeds 10] [--only small-sums] [--into docs/rehearsal.md]

The course is read from its archive (or from a folder of runs). Per combination latent skills are fitted to what the baseline and the oracle
show (``benchmarks/course/fit.py``), then every arm plays on the simulated policy with the settings that it was measured with; a learning
rate counts relative to the baseline's. Compared are the costs at μ = 1 to the course's share of the gain. Writes
``benchmarks/results/simulated_courses.csv`` and, with ``--into``, the tables of the guide. SIMULATED beside measured.
"""

from __future__ import annotations

import argparse
import math
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from benchmarks.course import fit
from benchmarks.course.course import Course, course_of_archive, course_of_runs
from benchmarks.document import insert
from benchmarks.finding.ranks import known, place_of, rank_correlation
from benchmarks.simulated_runs import Arm, simulate, speed_up, target_of
from benchmarks.simulated_scale import words as words_of
from benchmarks.skill_search import Candidate
from harness.registry import strategy_entry
from harness.spec import AlgorithmSpec
from harness.stats import EQUAL_PRICES, Curve, SpeedUp
from reports.arms import Arm as Measured
from reports.arms import Combination

ROOT = Path(__file__).resolve().parents[1]
MARK = "simulated courses"

#: What of an arm's algorithm the simulated policy is trained with; the learning rate counts relative to the baseline's.
ALGORITHM = ("groups_per_step", "group_size", "max_steps", "updates_per_batch", "drop_degenerate", "advantage_normalization")

Row = dict[str, Any]


def schedule_of(course: Course, combination: Combination) -> fit.Schedule:
    """What the baseline did."""
    run = _baseline(combination).runs[0]
    assert run.pool_size is not None
    algorithm = AlgorithmSpec.model_validate(run.spec["algorithm"])
    share = float(course.facts["target"].get("share_of_gain") or 0.9)
    return fit.Schedule(run.pool_size, algorithm, int(run.spec["evaluation"]["every_steps"]), share)


def played(measured: Measured, baseline: Measured, point: Candidate, pool: int, seeds: Sequence[int]) -> list[Curve]:
    """Curves of an arm on the simulated policy."""
    spec, base = measured.runs[0].spec, baseline.runs[0].spec
    algorithm = {name: spec["algorithm"][name] for name in ALGORITHM}
    algorithm["learning_rate"] = point.learning_rate * spec["algorithm"]["learning_rate"] / base["algorithm"]["learning_rate"]
    config = {name: value for name, value in spec["strategy"]["config"].items() if name != "predictor"}
    if spec["strategy"]["name"] == "frontier":
        config["features"] = "embeddings"  # simulated prompts say nothing
    arm = Arm(spec["strategy"]["name"], config, algorithm, fit.task_of(point, pool))
    return [simulate(arm, seed, int(spec["evaluation"]["every_steps"])).curve(measured.strategy, seed) for seed in seeds]


def rows_of(course: Course, combination: Combination, seeds: Sequence[int], broad: int, narrow: int) -> tuple[list[Row], list[Row]]:
    """(observable, measured, simulated) and (arm, measured ratio, simulated ratio) of one combination."""
    wanted, schedule = fit.observed(combination), schedule_of(course, combination)
    point = fit.fitted(wanted, schedule, broad, narrow)
    found = fit.simulated(point, schedule, fit.JUDGED)
    where = {"course": course.name, "combination": combination.name}
    likeness = [{**where, "observable": name, "measured": value, "simulated": found[name]} for name, value in wanted.items()]
    baseline = _baseline(combination)
    plain = played(baseline, baseline, point, schedule.pool, seeds)
    target = target_of(plain, schedule.share)
    ratios = []
    for arm in combination.arms:
        measured = arm.speed_ups.get(EQUAL_PRICES)
        if arm.is_baseline or not known(measured):
            continue
        ratio = speed_up(plain, played(arm, baseline, point, schedule.pool, seeds), target, EQUAL_PRICES)
        own = strategy_entry(str(arm.runs[0].spec["strategy"]["name"])).requires
        names = {**where, "strategy": arm.strategy, "fitted": arm.oracle, "predictor": "predictor" in own}
        ratios.append({**names, **_columns("measured", measured), **_columns("simulated", ratio)})
    return likeness, ratios


def _columns(prefix: str, found: SpeedUp) -> Row:
    return {
        f"{prefix}_words": words_of(found), f"{prefix}_place": place_of(found) if known(found) else math.nan,
        f"{prefix}_at_least": found.at_least, f"{prefix}_low": found.low, f"{prefix}_high": found.high, f"{prefix}_n": found.n,
    }  # fmt: skip


def _baseline(combination: Combination) -> Measured:
    assert combination.baseline is not None
    return combination.baseline


def correlations(ratios: Sequence[Row]) -> Iterator[tuple[str, str]]:
    """(what, rank correlation in words) per combination, and of the arms' mean log ratios: of all, and of those without a predictor.

    Without the oracle, whose headroom was fitted. The simulator's predictors are fitted to its own policies.
    """
    table = _ranked(ratios)
    for name, part in table.groupby("combination", sort=False):
        yield str(name), _correlation(part)
    means = table.groupby(["strategy", "predictor"])[["measured_place", "simulated_place"]].mean().reset_index()
    yield "mean over the combinations", _correlation(means)
    yield "the same, arms without a difficulty predictor", _correlation(means[~means["predictor"]])


def factors(ratios: Sequence[Row]) -> dict[str, float]:
    """Per arm the simulated ratio over the measured one, geometric mean over the combinations: above 1 the simulator flatters it."""
    table = _ranked(ratios)
    gaps = (table["simulated_place"] - table["measured_place"]).groupby(table["strategy"], sort=False).mean()
    return {str(name): math.exp(gap) for name, gap in gaps.items()}


def _ranked(ratios: Sequence[Row]) -> pd.DataFrame:
    table = pd.DataFrame(ratios)
    return table[table["simulated_place"].notna() & ~table["fitted"].astype(bool)].astype({"predictor": bool})


def _correlation(table: pd.DataFrame) -> str:
    found = rank_correlation(table["measured_place"].to_list(), table["simulated_place"].to_list())
    return found.text if found is not None else "–"


def markdown(likeness: Sequence[Row], ratios: Sequence[Row]) -> str:
    """Three tables: likeness, ratios with how much the simulator flatters, rank correlations."""
    names = list(dict.fromkeys(r["combination"] for r in ratios))
    shown = ("mean_0", "mean_4", "all_wrong_0", "all_wrong_4", "all_right_0", "all_right_4", "persistence", "noise", "headroom")
    head = ["measured → simulated", "mean, first fifth", "last", "all wrong, first", "last", "all right, first", "last", *shown[-3:]]
    lines = [f"| {' | '.join(head)} |", "|---|" + "---|" * len(shown)]
    for name in names:
        own = {r["observable"]: r for r in likeness if r["combination"] == name}
        cells = [f"{own[o]['measured']:.2f} → {own[o]['simulated']:.2f}" if o in own else "–" for o in shown]
        lines.append(f"| {name} | {' | '.join(cells)} |")
    flattered = factors(ratios)
    lines += [
        "",
        f"| cost at μ = 1: measured; simulated | {' | '.join(names)} | simulated over measured |",
        "|---|" + "---|" * (len(names) + 1),
    ]
    for arm in dict.fromkeys(r["strategy"] for r in ratios):
        own = {r["combination"]: r for r in ratios if r["strategy"] == arm}
        cells = [f"{own[n]['measured_words']}; {own[n]['simulated_words']}" if n in own else "–" for n in names]
        lines.append(f"| `{arm}` | {' | '.join(cells)} | {f'{flattered[arm]:.2f}' if arm in flattered else 'fitted'} |")
    lines += ["", "| combination | rank correlation of the arms, measured and simulated |", "|---|---|"]
    lines += [f"| {name} | {text} |" for name, text in correlations(ratios)]
    return "\n".join(lines)


def main() -> None:
    """Fit, simulate, compare, print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("course", help="a committed course, or with --runs-dir a suite")
    parser.add_argument("--runs-dir", type=Path, help="read the suite's runs there instead of the archive")
    parser.add_argument("--seeds", type=int, default=10)
    parser.add_argument("--only", action="append", metavar="COMBINATION", help="repeatable")
    parser.add_argument("--quick", action="store_true", help="a short search, two seeds, nothing written")
    parser.add_argument("--into", type=Path, metavar="FILE.md")
    arguments = parser.parse_args()
    archive = ROOT / "benchmarks" / "results" / "courses" / f"{arguments.course}.tar.xz"
    course = course_of_runs(arguments.course, arguments.runs_dir) if arguments.runs_dir else course_of_archive(archive)
    seeds = range(1, (2 if arguments.quick else arguments.seeds) + 1)
    broad, narrow = (4, 4) if arguments.quick else (150, 600)
    likeness: list[Row] = []
    ratios: list[Row] = []
    for combination in course.analysis.combinations:
        if combination.baseline is None or (arguments.only and combination.name not in arguments.only):
            continue
        more_likeness, more_ratios = rows_of(course, combination, seeds, broad, narrow)
        likeness, ratios = likeness + more_likeness, ratios + more_ratios
        print(markdown(more_likeness, more_ratios), flush=True)
    if arguments.quick:
        return
    frame = pd.concat([pd.DataFrame(likeness), pd.DataFrame(ratios)], ignore_index=True).replace(np.inf, np.nan).round(4)
    frame.to_csv(ROOT / "benchmarks" / "results" / "simulated_courses.csv", index=False)
    if arguments.into:
        insert(arguments.into, MARK, markdown(likeness, ratios))


if __name__ == "__main__":
    main()
