"""Replay: RePO, FreshPER, ARPO, RLEP."""

from __future__ import annotations

import itertools
import random
from collections import defaultdict
from collections.abc import Iterator
from dataclasses import replace
from types import SimpleNamespace
from typing import Any

import numpy as np
import torch

from benchmarks.authors.comparison import Clone, Comparison, Result
from benchmarks.authors.inputs import at_step, group, prepared
from harness.step.advantage import advantages
from harness.strategies.freshper import decayed_priorities, importance_weights, stratified
from harness.types import PromptGroup

CASES, GROUP = 60, 8
_SILENT = SimpleNamespace(debug=lambda *_: None, warning=lambda *_: None, info=lambda *_: None)


def repo(clone: Clone, path: str) -> Iterator[Result]:
    """Retrieval of 4 of 10, advantages of 8 fresh and 8 stored rollouts, and the loss of a batch."""
    choose = clone.fragment(path, 'if strat == "all":')
    rng = np.random.default_rng(0)
    for rule in ("highest_k", "recent_k", "all", "max_variance_k"):
        _, ours, ctx = prepared("repo", 4, {"retrieval": rule, "num_replays": 4})
        other = 0
        for _ in range(CASES if rule != "max_variance_k" else 20):
            stored = group(0, rng.random(10) < rng.random()).rollouts
            buffer = [{"rewards_per_func": torch.tensor([r.reward]), "position": i} for i, r in enumerate(stored)]
            theirs: dict[str, Any] = {"strat": rule, "buf": buffer, "k": 4, "itertools": itertools, "torch": torch, "device": "cpu"}
            exec(choose, theirs)
            other += sorted(r["position"] for r in theirs["records"]) != ours._retrieve(stored, ctx)
        yield Result(f"retrieval {rule} (cases with others)", CASES if rule != "max_variance_k" else 20, other)
    for norm in ("split", "mixed"):
        yield Result(f"advantages, adv_norm = {norm}", CASES, _repo_advantages(clone, path, norm))
    deviation = "aggregates: two token means (bnpo) by loss weights on the whole batch; one for their grpo loss"
    yield Result("L_on + λ·L_off of a batch (bnpo)", CASES, _repo_loss(clone, path), deviation)


def _repo_batch(norm: str, rng: np.random.Generator) -> tuple[list[PromptGroup], np.ndarray[Any, Any], np.ndarray[Any, Any]]:
    """(batch of one question, rewards of its fresh rollouts, rewards of those replayed in their order)."""
    _, ours, ctx = prepared("repo", 4, {"adv_norm": norm, "retrieval": "recent_k"})
    ours.observe([group(0, rng.random(GROUP) < 0.5, version=v) for v in (0, 1)], ctx)
    fresh = group(0, rng.random(GROUP) < rng.random(), version=2)
    batch = [replace(g, advantage_scope=ours.advantage_scope) for g in ours.mix([fresh], at_step(ctx, 3))]
    return batch, fresh.rewards, np.array([r.reward for r in batch[1].trained_rollouts])


def _repo_advantages(clone: Clone, path: str, norm: str) -> float:
    normalise = clone.fragment(path, 'if norm_mode == "mixed":')
    rng, difference = np.random.default_rng(1), 0.0
    for _ in range(CASES):
        batch, fresh, replayed = _repo_batch(norm, rng)
        theirs: dict[str, Any] = {
            "self": SimpleNamespace(scale_rewards=True, num_generations=GROUP), "norm_mode": norm, "torch": torch,
            "rewards": torch.from_numpy(np.concatenate([fresh, replayed])), "num_samples": 2 * GROUP, "R": GROUP,
            "is_online_gathered": torch.tensor([1] * GROUP + [0] * GROUP),
        }  # fmt: skip
        exec(normalise, theirs)
        scaled = [g.loss_weight for g in batch for _ in g.trained_rollouts]
        ours = np.concatenate([advantages(g, "std") for g in batch]) / scaled
        difference = max(difference, float(np.abs(ours - theirs["advantages"].numpy()).max()))
    return difference


def _repo_loss(clone: Clone, path: str) -> float:
    aggregate: dict[str, Any] = {"self": SimpleNamespace(loss_type="bnpo"), "torch": torch}
    exec(clone.fragment(path, "def _aggregate("), aggregate)
    rng, difference = np.random.default_rng(2), 0.0
    for _ in range(CASES):
        batch = _repo_batch("split", rng)[0]
        per_token = torch.from_numpy(rng.normal(size=(2 * GROUP, 1)))
        online = torch.tensor([[1.0]] * GROUP + [[0.0]] * GROUP)
        theirs = aggregate["_aggregate"](per_token, online) + 0.5 * aggregate["_aggregate"](per_token, 1 - online)
        weights = np.array([g.loss_weight * (0.5 if g.source == "replayed" else 1.0) for g in batch for _ in g.trained_rollouts])
        ours = float((per_token[:, 0].numpy() * weights).mean())  # every rollout has one token
        difference = max(difference, abs(ours - float(theirs)))
    return difference


def freshper(clone: Clone, path: str) -> Iterator[Result]:
    """Priorities, draws and importance weights of a buffer of 200 with ages up to 300."""
    base = clone.definitions("roll/agentic/replay_buffer/priority_functions.py", ["reward_priority"], {"np": np})["reward_priority"]
    names = ["refresh_all_age_decay", "_sample_proportional_slots", "_find_slot_by_cumsum", "compute_importance_weights"]
    found = clone.definitions(path, [f"TrajectoryReplayBuffer.{name}" for name in names], {"np": np, "logger": _SILENT})
    buffer: Any = type("Buffer", (), {name: found[name] for name in names})()
    rng, size = np.random.default_rng(0), 200
    rewards, age = (rng.random(size) < 0.4).astype(float), rng.integers(0, 300, size).astype(float)
    entries = [
        SimpleNamespace(attention_mask=np.ones(1), scores=np.array([r]), episode_length=1, global_step=300 - a)
        for r, a in zip(rewards, age, strict=True)
    ]
    for entry in entries:
        entry.priority = base(entry, 300)
    buffer.capacity = buffer.num_valid = size
    buffer.valid_mask, buffer.trajectories = [True] * size, entries
    buffer.enable_age_decay, buffer.age_decay, buffer.priority_exponent = True, 50.0, 0.6
    buffer._it_sum, buffer._it_min = [0.0] * size, [0.0] * size
    buffer.refresh_all_age_decay(300)
    ours = decayed_priorities(rewards, age, 50.0, 0.6)
    yield Result("priorities", size, float(np.abs(ours - buffer._it_sum).max()), "age in gradient steps (age_unit; theirs: iterations)")
    numbers = rng.random(CASES)
    buffer.rng = SimpleNamespace(random=iter(numbers).__next__)
    drawn = stratified(ours, CASES, SimpleNamespace(random=lambda _: numbers))  # type: ignore[arg-type]
    deviation = "rollouts of the running step and rollouts without an advantage are not drawn"
    yield Result("draws (other ones)", CASES, float((drawn != buffer._sample_proportional_slots(CASES)).sum()), deviation)
    theirs = buffer.compute_importance_weights(list(range(size)), 0.4)
    weights = importance_weights(ours, float(ours.min()), 0.4)
    deviation = "weight_scale: divided by the greatest drawn one; beta rises to 1 (theirs stays, and its loss does not use the weights)"
    yield Result("importance weights (float32 in theirs)", size, float(np.abs(weights - theirs).max()), deviation)


def arpo(clone: Clone, path: str) -> Iterator[Result]:
    """Which rollouts of a group are trained on, with one stored success, and what the buffer holds."""
    given = {"defaultdict": defaultdict, "random": random, "DataProto": list, "collate_fn": list}
    theirs = clone.definitions("verl/trainer/replay_buffer.py", ["ReplayBuffer"], given)["ReplayBuffer"](None, 8)
    decide, swap = clone.fragment(path, "if cur_reward_std < 0.05"), clone.fragment(path, "if len(pos_batch) > 0:")
    trainer = SimpleNamespace(replay=theirs)
    rng, other, held = np.random.default_rng(0), 0, 0
    for case in range(CASES):
        _, ours, ctx = prepared("arpo", 4, {"successes_per_question": 1})
        success = group(0, [1.0], version=0).rollouts[0]
        ours.observe([PromptGroup(0, (success,))], ctx)
        theirs.pos_dataset = defaultdict(list, {0: [success]})
        rewards = rng.choice([0.0, 0.05, 0.15, 1.0], GROUP, p=[0.85, 0.05, 0.05, 0.05]) if case % 2 else np.zeros(GROUP)
        fresh = group(0, rewards, version=1)
        state: dict[str, Any] = {
            "self": trainer, "cur_task_config": [{"id": 0}], "cur_reward_std": np.std(rewards), "cur_reward_mean": np.mean(rewards),
            "final_batch": [], "cur_batch": list(fresh.rollouts),
        }  # fmt: skip
        exec(decide, state)
        exec(swap, state)
        expected = {r.uid for part in state["final_batch"] for r in part}
        (made,) = ours.mix([fresh], ctx)
        other += {r.uid for r in made.trained_rollouts} != expected
    _, ours, ctx = prepared("arpo", 4)
    theirs.pos_dataset = defaultdict(list)
    for version in range(CASES):
        seen = group(0, rng.choice([0.0, 0.1, 0.11, 1.0], GROUP), version=version)
        ours.observe([seen], ctx)
        for rollout in seen.rollouts:
            theirs.update_replay_buffer({"task_id": 0}, rollout, rollout.reward)
        held += [r.uid for r in ours._buffer.of(0)] != [r.uid for r in theirs.pos_dataset[0]]
    yield Result("rollouts of a group after the swap (cases with others)", CASES, other)
    yield Result("stored successes (cases with others)", CASES, held)


def rlep(clone: Clone, path: str) -> Iterator[Result]:
    """Which of 0 to 6 stored successes join a group: how many, and that all are as likely (share of the first, 2,000 draws)."""
    choose = clone.fragment(path, "if len(candidates) <= self.experience_replay_num:")
    other, shares = 0, np.zeros(2)
    for stored in range(7):
        _, ours, ctx = prepared("rlep", 4)
        successes = group(0, [1.0] * stored, version=0).rollouts if stored else ()
        ours._buffer.add(successes)
        fresh = group(0, [0.0] * GROUP, version=1)
        draws = 2000 if stored == 6 else 20
        random.seed(0)
        for _ in range(draws):
            row = {"reward_model": {"candidates": list(successes)}}
            state: dict[str, Any] = {"self": SimpleNamespace(experience_replay_num=2), "candidates": list(successes), "row_dict": row}
            exec(choose, {"random": random}, state)
            added = ours.inject(fresh, ctx).rollouts[GROUP:]
            other += len(added) != len(state["candidates"])
            if stored == 6:
                shares += [successes[0].uid in {r.uid for r in found} for found in (added, state["candidates"])]
    yield Result(
        "successes that join a group (groups with another number)", 2120, other, "successes of this run (theirs: of an earlier run)"
    )
    yield Result("share of groups with the first of six (1/3; ± .03)", 2000, abs(shares[0] - shares[1]) / 2000)


COMPARISONS = [
    Comparison("rlep", "Kwai-Klear/RLEP", "verl/utils/dataset/rl_dataset.py", rlep),
    Comparison("repo", "SihengLi99/RePO", "src/replay_grpo_trainer.py", repo),
    Comparison("freshper", "Vision-CAIR/Freshness-Aware-PER", "roll/agentic/replay_buffer/trajectory_buffer.py", freshper),
    Comparison("arpo", "dvlab-research/ARPO", "verl/trainer/ray_trainer.py", arpo),
]
