"""Fit the simulator's latent skills to a recorded GRPO run, by random search on what can be observed of a run.

    python benchmarks/fit_simulator.py [--quick] [--table FILE]

The recording (1,209 questions × 44 evaluations of Qwen2.5-Math-1.5B) says how pass rates are distributed at the start and the end, how
fast they drift, how well the order of questions is kept, how many questions rise, and how many are never solved. The search looks for
settings of ``latent-skills`` and a learning rate under which plain GRPO (B = 128, G = 8, uniform epochs) shows the same. Prints observed
against simulated values, mean over five fresh seeds, and writes ``benchmarks/results/simulator_fit.csv``. What is fitted are observables of
uniform selection: nothing about any strategy.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

import numpy as np
import pandas as pd

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from backends.simulator.policy import Policy
from benchmarks.skill_search import Candidate, Steps, search
from harness.numerics.latent_skills import SkillSettings, skill_questions
from harness.rehearsal.recording import read_recording
from harness.spec import AlgorithmSpec

ROOT = Path(__file__).resolve().parents[1]
TABLE = ROOT.parent / "shared" / "data" / "dsr1209_training_pass_rates.parquet"
GROUPS, GROUP_SIZE = 128, 8
STEPS = Steps(decades=0.12, logits=0.12, share=0.02, most_share=0.4, least_difficulty=0.1)

#: Observable → weight in the sum of squared errors; start and end of the distribution matter most.
WEIGHTS = {
    "mean_start": 3, "all_wrong_start": 3, "all_right_start": 3, "mean_end": 3, "all_wrong_end": 2, "all_right_end": 2,
    "mean_quarter": 2, "mean_half": 2, "correlation_lag_10": 1, "correlation_lag_40": 2, "risen": 2, "fallen": 2, "never_solved": 1,
}  # fmt: skip


def observables(rates: np.ndarray) -> dict[str, float]:
    """What a table of pass rates, shape (N, T), shows: the keys of ``WEIGHTS``. Correlations are of five-evaluation means."""
    start, end, last = rates[:, :3], rates[:, -3:], rates.shape[1] - 3
    smooth = {t: rates[:, t - 2 : t + 3].mean(axis=1) for t in (2, 12, last)}
    change = smooth[last] - smooth[2]
    quarter, half = rates.shape[1] // 4, rates.shape[1] // 2
    return {
        "mean_start": start.mean(), "all_wrong_start": (start == 0).mean(), "all_right_start": (start == 1).mean(),
        "mean_end": end.mean(), "all_wrong_end": (end == 0).mean(), "all_right_end": (end == 1).mean(),
        "mean_quarter": rates[:, quarter - 2 : quarter + 2].mean(), "mean_half": rates[:, half - 2 : half + 2].mean(),
        "correlation_lag_10": float(np.corrcoef(smooth[2], smooth[12])[0, 1]),
        "correlation_lag_40": float(np.corrcoef(smooth[2], smooth[last])[0, 1]),
        "risen": (change > 0.25).mean(), "fallen": (change < -0.25).mean(), "never_solved": (rates.max(axis=1) == 0).mean(),
    }  # fmt: skip


def simulate(candidate: Candidate, questions: int, epochs: int, seed: int) -> np.ndarray:
    """Pass rates of plain GRPO, shape (questions, epochs): one evaluation of eight rollouts at the start of every epoch.

    The expected pull of a group follows from its number of right answers, so no rollout object is needed.
    """
    rng = np.random.default_rng(seed)
    pool = skill_questions(candidate.skills, "train", questions)
    policy = Policy(pool, np.zeros(candidate.skills.skills), candidate.gradient_noise, candidate.forgetting)
    algorithm = AlgorithmSpec(learning_rate=candidate.learning_rate)
    recorded = np.empty((questions, epochs))
    for epoch in range(epochs):
        recorded[:, epoch] = rng.binomial(GROUP_SIZE, pool.pass_rates(policy.theta)) / GROUP_SIZE
        for ids in np.array_split(rng.permutation(questions), questions // GROUPS):
            share = rng.binomial(GROUP_SIZE, pool.pass_rates(policy.theta, ids)) / GROUP_SIZE
            spread = np.sqrt(share * (1 - share) * GROUP_SIZE / (GROUP_SIZE - 1))
            pull = share * (1 - share) / (spread + 1e-4)  # mean of A·(r − p) over the group
            gradient = pool.gradient(policy.theta, ids, pull) / len(ids)
            noise = candidate.gradient_noise / np.sqrt(max(1, int((spread > 0).sum())))
            policy._adam(gradient + rng.normal(0, 1, len(gradient)) * noise, algorithm)
    return recorded


def error(found: dict[str, float], wanted: dict[str, float]) -> float:
    """Weighted sum of squared differences."""
    return float(sum(w * (found[name] - wanted[name]) ** 2 for name, w in WEIGHTS.items()))


def first(rng: np.random.Generator) -> Candidate:
    """A point anywhere in the space."""
    skills = SkillSettings(
        int(rng.choice([24, 48, 96, 192])), int(rng.integers(2, 5)), rng.uniform(0, 2), rng.uniform(1.5, 4), rng.uniform(0, 0.2)
    )
    return Candidate(skills, 10 ** rng.uniform(-3.3, -1.7), 10 ** rng.uniform(-3, -0.7), 10 ** rng.uniform(-5, -2))


def main() -> None:
    """Search, then judge the best point on seeds that the search has not used."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--quick", action="store_true", help="a short search, to see that it runs")
    parser.add_argument("--table", type=Path, default=TABLE)
    arguments = parser.parse_args()
    recording = read_recording(arguments.table, drop_repeated=True)
    questions, epochs = recording.rates.shape
    wanted = observables(recording.rates)
    broad, narrow = (8, 8) if arguments.quick else (150, 1200)
    best = search(lambda point: error(observables(simulate(point, questions, epochs, 0)), wanted), first, STEPS, broad, narrow)
    seeds = [observables(simulate(best, questions, epochs, seed)) for seed in range(101, 106)]
    rows = [(name, wanted[name], np.mean([s[name] for s in seeds]), np.std([s[name] for s in seeds], ddof=1)) for name in WEIGHTS]
    frame = pd.DataFrame(rows, columns=["observable", "recorded", "simulated", "seed_deviation"]).round(4)
    print(frame.to_string(index=False))
    print(best)
    if not arguments.quick:
        frame.to_csv(ROOT / "benchmarks" / "results" / "simulator_fit.csv", index=False)


if __name__ == "__main__":
    main()
