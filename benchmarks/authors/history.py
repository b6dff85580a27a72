"""Selectors by past pass rates: CDAS, MoPPS, SEC, Prompt Replay."""

from __future__ import annotations

import heapq
import random
from collections import defaultdict
from collections.abc import Iterator
from math import exp
from types import SimpleNamespace
from typing import Any

import numpy as np
import torch

from benchmarks.authors.comparison import Clone, Comparison, Result
from benchmarks.authors.inputs import at_step, group, prepared
from harness.step.advantage import advantages

POOL, STEPS, GROUP = 200, 60, 8


def cdas(clone: Clone, path: str) -> Iterator[Result]:
    """60 steps on questions that both select."""
    theirs = clone.definitions(path, ["CDAS_System"], {"defaultdict": defaultdict, "exp": exp})["CDAS_System"]()
    for i in range(POOL):
        theirs.add_problem(str(i))
    ours, _, ctx = prepared("cdas", POOL)
    rng, other, difference = np.random.default_rng(0), 0, 0.0
    for step in range(2, STEPS + 2):
        now = at_step(ctx, step)
        chosen = ours.select(32, now).question_ids.tolist()
        other += {str(i) for i in chosen} != theirs.get_problems_near_model_explore(32)
        seen = [group(i, rng.random(GROUP) < rng.random()) for i in chosen]
        theirs.update_ratings([(str(g.question_id), bool(r)) for g in seen for r in g.rewards])
        ours.observe(seen, now)
        values = [theirs.problem_difficulties[str(i)][-1] for i in range(POOL)]
        difference = max(difference, abs(theirs.model_abilities[-1] - ours._competence), float(np.abs(values - ours._difficulty).max()))
    yield Result("difficulty and competence", STEPS, difference)
    yield Result("selected questions (steps with others)", STEPS, other, "a batch of odd size is filled, theirs has one question less")


def mopps(clone: Clone, path: str) -> Iterator[Result]:
    """60 visits at decay .9."""
    sampler = SimpleNamespace(
        bandit_decay_ratio=0.9, bandit_target_mean=0.5, bandit_lower_bound=0.3, bandit_upper_bound=0.7, bandit_sample_strategy="topk",
        bandit_no_update=False,
    )  # fmt: skip
    rollout = SimpleNamespace(rollout=SimpleNamespace(n=GROUP))
    settings = SimpleNamespace(data=SimpleNamespace(train_batch_size=2), tasksampler=sampler, actor_rollout_ref=rollout)
    theirs = clone.definitions(path, ["PosteriorSampler"], {"np": np, "torch": torch})["PosteriorSampler"](settings, 4)
    theirs.sample_batch({"index": np.arange(4)})
    ours, _, ctx = prepared("mopps", 4, {"decay": 0.9})
    rng, difference = np.random.default_rng(0), 0.0
    for _ in range(STEPS):
        seen = [group(i, rng.random(GROUP) < 0.4) for i in range(4)]
        theirs.train({"index": np.arange(4)}, [g.pass_rate for g in seen])
        ours.observe(seen, ctx)
        found = np.array([[theirs.alpha[str(i)], theirs.beta[str(i)]] for i in range(4)])
        difference = max(difference, float(np.abs(found - ours._counts).max()))
    yield Result("Beta posterior", STEPS, difference, "a group of one rollout counts as one (theirs, by operator precedence, as 8)")


def sec(clone: Clone, path: str) -> Iterator[Result]:
    """Q of four categories, of which a step meets two; the advantages given are ours."""
    given = {"np": np, "defaultdict": defaultdict, "random": random, "Any": Any, "verl_F": SimpleNamespace(masked_mean=_masked_mean)}
    bandit = clone.definitions(path, ["BasePriority", "BanditPriority", "JointBandit"], given)["JointBandit"]
    theirs = bandit(dataset=[{"extra_info": {"difficulty": i % 4}} for i in range(POOL)], lr=0.5, temperature=1.0)
    ours, _, ctx = prepared("sec", POOL)
    ours._sort_pool(ctx)
    rng, difference = np.random.default_rng(0), 0.0
    for _ in range(STEPS):
        met = rng.permutation(4)[:2]
        seen = [group(4 * int(rng.integers(POOL // 4)) + int(c), rng.random(GROUP) < rng.random()) for c in met for _ in range(3)]
        found = np.concatenate([advantages(g, "std") for g in seen])
        information = [{"difficulty": g.question_id % 4} for g in seen for _ in range(GROUP)]
        theirs.update(data_info=information, adv=torch.from_numpy(found)[:, None], response_mask=torch.ones((len(found), 1)))
        ours.observe(seen, ctx)
        values = [theirs.q_values[theirs.group_to_arm[str(c)]] for c in range(4)]
        difference = max(difference, float(np.abs(values - ours._values).max()))
    deviation = (
        "a category smaller than a batch is filled up from the others (theirs refuses it); a copy, the authors' own code is not known"
    )
    yield Result("Q of drawn and undrawn categories", STEPS, difference, deviation)


def prompt_replay(clone: Clone, path: str) -> Iterator[Result]:
    """60 steps of half a batch of questions that come again; cooldown, window, order and limits of reuse."""
    names = ["_pop_next_replay_candidate", "_is_prompt_cooled_down", "_get_cooldown_for_pass_rate", "_is_prompt_within_reuse_window"]
    names += ["_push_replay_candidate", "_is_rate_within_replay_window", "_make_replay_heap_entry"]
    owner = clone.owner_of(path, names[0])
    found = clone.definitions(path, [f"{owner}.{name}" for name in names], {"heapq": heapq})
    queue: Any = type("Queue", (), {name: found[name] for name in names})()
    queue.replay_enabled, queue.replay_cooldown_steps, queue.replay_max_reuse_limit = True, 5, 5
    queue.replay_min_pass_rate, queue.replay_max_pass_rate, queue.px_dependent_cooldown_steps = 0.24, 0.7, False
    queue.prompt_pass_rates, queue.prompt_reuse_counts, queue.prompt_last_step, queue._replay_heap = {}, {}, {}, []
    queue._permanent_exclusions, queue._active_replay_indices, queue.rng = set(), set(), np.random.default_rng(0)
    ours, _, ctx = prepared("prompt-replay", POOL)
    rng, other = np.random.default_rng(0), 0
    for step in range(1, STEPS + 1):
        now = at_step(ctx, step)
        chosen = ours.select(16, now)
        again = chosen.question_ids[: int(chosen.info["reused_questions"])].tolist()
        reserved: set[int] = set()
        while len(reserved) < 8 and (candidate := queue._pop_next_replay_candidate(step, reserved)) is not None:
            reserved.add(candidate[0])
            queue.prompt_reuse_counts[candidate[0]] = queue.prompt_reuse_counts.get(candidate[0], 0) + 1
        other += reserved != set(again)
        seen = [group(int(i), rng.random(GROUP) < rng.random()) for i in chosen.question_ids]
        ours.observe(seen, now)
        for g in seen:
            queue.prompt_pass_rates[g.question_id], queue.prompt_last_step[g.question_id] = g.pass_rate, step
            queue._push_replay_candidate(g.question_id)
    yield Result(
        "questions that come again (steps with others)", STEPS, other, "cooldowns by pass rate are left out (off in theirs by default)"
    )


def _masked_mean(values: Any, mask: Any, axis: int) -> Any:
    return (values * mask).sum(axis) / mask.sum(axis)


def adarft(clone: Clone, path: str) -> Iterator[Result]:
    """The target difficulty over 60 mean rewards, and the difficulties nearest to it."""
    moves = [clone.fragment(path, f"new_target_difficulty = {start}") for start in ("self.sampler", "np.clip(")]
    ours, _, ctx = prepared("adarft", 404)
    ours.select(2, ctx)
    given = {"np": np, "Sampler": object}
    sampler = clone.definitions("verl/trainer/ppo/custom_sampler.py", ["CurriculumSampler"], given)["CurriculumSampler"](
        [{"difficulty": d} for d in ours._labels], 16, 0.0
    )
    rng, difference, other = np.random.default_rng(0), 0.0, 0.0
    for _ in range(STEPS):
        seen = group(0, rng.random(GROUP) < rng.choice([0.4, 0.6]))
        state = {"self": SimpleNamespace(sampler=sampler), "np": np, "eta": 50, "alpha": 2, "beta": 0.5, "d_min": 0, "d_max": 100}
        state["current_reward"] = seen.pass_rate
        for statement in moves:
            exec(statement, state)
        sampler.update_target_difficulty(state["new_target_difficulty"])
        ours.observe([seen], ctx)
        difference = max(difference, abs(ours._target - float(sampler.target_difficulty)))
        chosen, expected = ours._labels[ours.select(16, ctx).question_ids], ours._labels[sampler._select_closest_to_target()]
        gaps = [np.sort(np.abs(labels - ours._target)) for labels in (chosen, expected)]
        other = max(other, float(np.abs(gaps[0] - gaps[1]).max()))
    yield Result("target difficulty", STEPS, difference, "labels are rescaled to 0 … 100")
    yield Result("distances of the chosen difficulties from the target", STEPS, other, "ties at random (theirs: as numpy sorts them)")


COMPARISONS = [
    Comparison("adarft", "limenlp/verl", "verl/trainer/ppo/ray_trainer.py", adarft),
    Comparison("cdas", "DeyangKong/CDAS", "verl/utils/dataset/rl_cdas_dataset.py", cdas),
    Comparison("mopps", "thu-rllab/MoPPS", "recipe/ours/mopps.py", mopps),
    Comparison("sec", "Vincent-La/cofa", "sec/verl/verl/utils/auto_curriculum/priority.py", sec),
    Comparison("prompt-replay", "baroian/GRPO_prompt_replay", "open-instruct/open_instruct/grpo_fast.py", prompt_replay),
]
