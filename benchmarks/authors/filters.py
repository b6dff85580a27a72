"""Filters and down-sampling: SPEED, GRESO, PODS."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator
from types import SimpleNamespace
from typing import Any

import numpy as np
import torch

from benchmarks.authors.comparison import Clone, Comparison, Result
from benchmarks.authors.inputs import group, prepared
from harness.strategies.pods import max_variance_subset

POOL, STEPS, GROUP, BATCH = 200, 60, 8, 256
TRAINER = "verl/trainer/ppo/ray_trainer.py"


class _Threshold:
    """A random number that only remembers what it is compared with."""

    value = 0.0

    def item(self) -> _Threshold:
        return self

    def __lt__(self, probability: float) -> bool:
        self.value = probability
        return False


def greso(clone: Clone, path: str) -> Iterator[Result]:
    """Skip probabilities after random visits, the two exploration probabilities over 60 steps, and the sizes of rounds."""
    threshold = _Threshold()
    profiler = clone.definitions(path, ["DataProfiler"], {"torch": SimpleNamespace(rand=lambda _: threshold)})["DataProfiler"]()
    ours, _, ctx = prepared("greso", POOL)
    update = clone.fragment(TRAINER, "if epoch > 0 and self.config.data.get('dynamic_filtering_strategy'")
    data = SimpleNamespace(get=lambda name, default: "all_probabilistic" if name == "dynamic_filtering_strategy" else default)
    trainer = SimpleNamespace(p_hard=0.5, p_easy=0.5, targeted_hard=0.25 * 2 / 3, targeted_easy=0.25 / 3, config=SimpleNamespace(data=data))
    rng, skips, exploring = np.random.default_rng(0), 0.0, 0.0
    for step in range(STEPS):
        rates = rng.choice([0.0, 0.5, 1.0], POOL // 4, p=rng.dirichlet([1, 2, 1]))
        seen = [group(int(i), rng.random(GROUP) < rate) for i, rate in zip(rng.permutation(POOL), rates, strict=False)]
        for g in seen:
            profiler.add_reward(0, str(g.question_id), g.pass_rate)
        ours._drawn = POOL * step
        hard, easy = (sum(g.pass_rate == end for g in seen) / len(seen) for end in (0, 1))
        exec(update, {"self": trainer, "epoch": int(POOL * step > POOL), "hard_data_ratio": hard, "easy_data_ratio": easy})
        ours.observe(seen, ctx)
        exploring = max(exploring, float(np.abs(ours._explore - [trainer.p_hard, trainer.p_easy]).max()))
        for i, kept in enumerate(ours.keep_probabilities(np.arange(POOL))):
            for side, name, p in ((0, "hard", trainer.p_hard), (1, "easy", trainer.p_easy)):
                threshold.value = 0.0
                getattr(profiler, f"{name}_probabilistic_skip")(0, str(i), p=p)
                skips = max(skips, abs(threshold.value - (1 - kept[side])))
    yield Result("skip probabilities of easy and hard questions", STEPS * POOL, skips)
    yield Result("exploration probabilities p", STEPS, exploring)
    yield _round_sizes(clone)


def _round_sizes(clone: Clone) -> Result:
    starts = [
        "estimated_sampling_batch_size = int(",
        "if estimated_sampling_batch_size <=",
        "adaptive_sampling_bs = min(",
        "adaptive_sampling_bs = max(",
    ]
    code = [clone.fragment(TRAINER, start) for start in starts]
    rollout = SimpleNamespace(rollout=SimpleNamespace(n=GROUP))
    cases, other = 0, 0
    for missing in range(1, BATCH, 7):
        for share in np.arange(0, 96) / 100:
            theirs: dict[str, Any] = {
                "self": SimpleNamespace(config=SimpleNamespace(actor_rollout_ref=rollout)), "reminder": missing * GROUP,
                "zero_variance_ratio": float(share), "default_sampling_batch_size": 384, "last_sampling": False,
            }  # fmt: skip
            for statement in code:
                exec(statement, theirs)
            ours, _, ctx = prepared_greso()
            ours.round_size(BATCH, ctx)
            ours._round, ours._degenerate_share = 1, float(share)
            size = ours.round_size(missing, ctx)
            cases += 1
            other += (size, ours._is_last) != (theirs["adaptive_sampling_bs"], theirs["last_sampling"])
    deviation = "max_rounds: at most 4 rounds a step (theirs has no bound and fails on a round of degenerate groups only)"
    return Result("size of a later round, and whether it is the last (cases with others)", cases, other, deviation)


_GRESO = prepared("greso", 4)


def prepared_greso() -> tuple[Any, Any, Any]:
    """One GRESO selector, at the start of a step."""
    _GRESO[0]._round, _GRESO[0]._is_last = 0, False
    return _GRESO


def pods(clone: Clone, path: str) -> Iterator[Result]:
    """16 of 64 rollouts with binary and with continuous rewards."""
    starts = ["sorted_indices = rewards.argsort(", "indices = sorted_indices[:, :", "variances = rewards.gather(1, indices)"]
    code = [clone.fragment(path, start) for start in (*starts, "for i in range(self.num_generations):")]
    bug = "their first choice is a view of the ranking, which later choices then overwrite: subsets of less than the greatest variance"
    for as_it_stands in (True, False):
        rng, other, variance = np.random.default_rng(0), 0, 0.0
        for case in range(STEPS):
            rewards = rng.random(64) if case % 2 else (rng.random(64) < rng.random()).astype(float)
            theirs: dict[str, Any] = {
                "self": SimpleNamespace(num_generations=16),
                "rewards": torch.from_numpy(rewards)[None],
                "torch": torch,
            }
            for number, statement in enumerate(code):
                exec(statement, theirs)
                if number == 1 and not as_it_stands:
                    theirs["indices"] = theirs["indices"].clone()
            found, expected = rewards[max_variance_subset(rewards, 16)], rewards[theirs["indices"][0].numpy()]
            other += sorted(found) != sorted(expected)
            variance = max(variance, float(expected.var() - found.var()))
        name = "as it stands" if as_it_stands else "with a copy of the ranking"
        yield Result(f"variance by which theirs, {name}, is greater", STEPS, variance)
        yield Result(f"kept rewards, theirs {name} (cases with others)", STEPS, other, bug if as_it_stands else "")


class _Batch:
    """The little of their batches that the rule needs: rows with a prompt's uid and a reward."""

    def __init__(self, uids: list[str], acc: list[float]) -> None:
        self.non_tensor_batch = {"uid": uids, "acc": acc}

    def __getitem__(self, rows: list[int]) -> _Batch:
        return _Batch(*([self.non_tensor_batch[name][i] for i in rows] for name in ("uid", "acc")))

    def select(self, **_: Any) -> _Batch:
        return self

    def truncate(self, **_: Any) -> _Batch:
        return self

    @staticmethod
    def concat(parts: list[_Batch]) -> _Batch:
        return _Batch(*([row for part in parts for row in part.non_tensor_batch[name]] for name in ("uid", "acc")))


def speed(clone: Clone, path: str) -> Iterator[Result]:
    """Which of 40 questions are continued after 4 screening rollouts."""
    given = {"np": np, "defaultdict": defaultdict, "DataProto": _Batch}
    controller = clone.definitions(path, ["DataController"], given)["DataController"]
    rng, other = np.random.default_rng(0), 0
    for _ in range(STEPS):
        seen = [group(i, rng.random(4) < rng.random()) for i in range(40)]
        theirs = controller(False, 40, 16, 4, 20, 10, 1, 1024, 16 * 24)
        theirs.update_prompts(_Batch([str(g.question_id) for g in seen for _ in range(4)], [r for g in seen for r in g.rewards]))
        kept = set(theirs.prompts_for_second_generation_phase.non_tensor_batch["uid"])
        other += kept != {str(g.question_id) for g in seen if not g.is_degenerate}
    yield Result("questions continued (rounds with others)", STEPS, other, "both phases in one step (theirs continues in the next call)")


COMPARISONS = [
    Comparison("speed", "Zanette-Labs/speed-rl", "verl/trainer/ppo/data_controller.py", speed),
    Comparison("greso", "Infini-AI-Lab/GRESO", "verl/trainer/ttis/presampling_selector.py", greso),
    Comparison("pods", "YixuanEvenXu/pods", "open-r1/src/open_r1/grpo_trainer.py", pods),
]
