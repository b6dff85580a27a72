"""What of a round is trained on, and what of the buffer: DOTS + RR, LZE, RAGEN-2, Pilot-Commit, Reinforce-Ada."""

from __future__ import annotations

import math
import random
from collections import defaultdict
from collections.abc import Iterator
from types import SimpleNamespace
from typing import Any

import numpy as np

from benchmarks.authors.comparison import Clone, Comparison, Result
from benchmarks.authors.inputs import at_step, group, prepared
from harness.step.buffers import GroupBuffer
from harness.strategies.reinforce_ada import balanced
from harness.strategies.snr_filter import top_p

SEED = 20261126


class _Rows:
    """As much of verl's DataProto as the authors' buffer asks for: rows, a column of question ids, scores."""

    def __init__(self, index: Any, scores: Any) -> None:
        import torch

        self.non_tensor_batch = {"index": np.asarray(index)}
        self.batch = {"token_level_scores": torch.as_tensor(np.asarray(scores)).reshape(-1, 1)}

    def __len__(self) -> int:
        return len(self.non_tensor_batch["index"])

    def __getitem__(self, rows: Any) -> _Rows:
        keep = rows if isinstance(rows, slice) else np.asarray(rows, dtype=bool)
        return _Rows(self.non_tensor_batch["index"][keep], self.batch["token_level_scores"].numpy().ravel()[keep])


def _stored(rows: _Rows | None) -> list[tuple[int, float]]:
    """(question, right answers) of every stored group, in order."""
    if rows is None:
        return []
    right = rows.batch["token_level_scores"].numpy().reshape(-1, 8).sum(axis=1)
    return list(zip(rows.non_tensor_batch["index"][::8].tolist(), right.tolist(), strict=True))


def replay_buffer(clone: Clone, path: str) -> Iterator[Result]:
    """Their ``select_buffer`` and ours over 40 steps: what is drawn from, how much is drawn, what is kept; four sizes."""
    given = {"dataprotoitem_to_dataproto": lambda rows: rows, "np": np, "print": lambda *_: None}
    theirs = clone.definitions(path, ["select_buffer"], given)["select_buffer"]
    rng = np.random.default_rng(SEED)
    wrong = steps = 0
    for batch, capacity in ((8, 8), (8, 4), (16, 24), (8, 64)):
        data = SimpleNamespace(replay_strategy="random", sigma=0.5, train_batch_size=batch, buffer_size=capacity)
        _, replay, ctx = prepared("rr", 64, {"variant": "code", "capacity": capacity, "replay_after": 0})
        kept: _Rows | None = None
        for step in range(1, 41):
            eligible = GroupBuffer(None)
            eligible.load_state_dict(replay.state_dict())
            eligible.clean()
            ours = replay.replay(batch, at_step(ctx, step))
            drawn = None
            if kept is not None:
                kept, drawn = theirs(kept, None, SimpleNamespace(data=data))
            stored = [(g.question_id, float(g.rewards.sum())) for g in replay._buffer]
            possible = {(g.question_id, float(g.rewards.sum())) for g in eligible}
            wrong += len(ours) != len(_stored(drawn)) or stored != _stored(kept) or not set(_stored(drawn)) <= possible
            questions = rng.choice(24, size=batch // 2, replace=False)
            right = rng.binomial(8, rng.choice([0.0, 0.2, 0.5, 0.9, 1.0], size=len(questions)))
            fresh = [group(int(q), [1.0] * k + [0.0] * (8 - k), step) for q, k in zip(questions, right.tolist(), strict=True)]
            replay.observe(fresh, ctx)
            new = _Rows(np.repeat(questions, 8), np.concatenate([g.rewards for g in fresh]))
            kept = new if kept is None else _Rows(*(np.concatenate(pair) for pair in _columns(kept, new)))
            steps += 1
    yield Result("stored and drawable groups, number drawn (steps that differ)", steps, float(wrong))


def _columns(a: _Rows, b: _Rows) -> Iterator[tuple[Any, Any]]:
    yield a.non_tensor_batch["index"], b.non_tensor_batch["index"]
    yield a.batch["token_level_scores"].numpy().ravel(), b.batch["token_level_scores"].numpy().ravel()


def learning_zone(clone: Clone, path: str) -> Iterator[Result]:
    """Energies over 30 rounds of 12 groups, and the choice with the noise off."""
    import torch

    given = {"np": np, "torch": torch, "Dict": dict, "List": list, "Optional": object, "Tuple": tuple}
    given |= {"dataclass": __import__("dataclasses").dataclass, "field": __import__("dataclasses").field}
    scorer = clone.definitions(path, ["SampleState", "BackwardScorer"], given)["BackwardScorer"](
        selection_ratio=0.4, warmup_transition_epochs=0, exploration_noise=0.0
    )
    selector, _, ctx = prepared("lze", 20, {"noise": 0.0})
    rng = np.random.default_rng(SEED)
    largest = 0.0
    other = 0
    for epoch in range(30):
        questions = rng.choice(20, size=12, replace=False).tolist()
        groups = [group(q, rng.binomial(1, rng.random(), size=8)) for q in questions]
        ours = selector.admit_round(groups, ctx)
        energies = [selector._energy(g) for g in groups]
        rewards = {str(g.question_id): torch.as_tensor(g.rewards) for g in groups}
        found, _, chosen = scorer.score_batch([str(q) for q in questions], rewards, epoch)
        largest = max(largest, float(np.abs(np.array(energies) - found).max()))
        # where energies are equal the order of their sort decides, so that the kept energies are compared and not the groups
        kept = [sorted(e for e, keep in zip(found, flags, strict=True) if keep) for flags in (ours, chosen)]
        other += not np.allclose(*kept)
        selector.observe(groups, ctx)
    yield Result("energy E, over visits", 360, largest)
    yield Result("energies of the kept groups, noise off (rounds that differ)", 30, float(other))


def snr(clone: Clone, path: str) -> Iterator[Result]:
    """Which of 300 sets of scores are kept, for three shares."""
    import torch

    select = clone.definitions(path, ["RolloutFilter._select_top_groups"], {"torch": torch})["_select_top_groups"]
    rng = np.random.default_rng(SEED)
    other = 0
    for share in (0.5, 0.9, 0.95):
        for _ in range(100):
            scores = np.where(rng.random(10) < 0.3, 0.0, rng.random(10))
            config = SimpleNamespace(include_zero=False, top_p_prob_mode="linear", selection_eps=0.01)
            filtering = SimpleNamespace(config=config, num_groups=10, strategy="top_p", value=share, filter_type="largest")
            theirs = set(select(filtering, torch.as_tensor(scores)).tolist())
            other += theirs != {i for i, keep in enumerate(top_p(scores, share, 0.01)) if keep}
    yield Result(
        "kept groups by score (sets that differ)", 300, float(other), "score: variance (paper); theirs is the deviation, score = 'std'"
    )


def pilots(clone: Clone, path: str) -> Iterator[Result]:
    """Which pilots go on, for every number of right answers out of 16."""
    theirs = clone.definitions(path, ["select_prompts"], {"np": np, "Dict": dict, "List": list})["select_prompts"]
    selector, _, _ = prepared("pilot-commit", 20)
    index = np.repeat(np.arange(17), 16)
    rewards = np.concatenate([[1.0] * k + [0.0] * (16 - k) for k in range(17)])
    found = theirs(index, rewards, 0.25, 0.125, 1.0)
    rates = [k / 16 for k in range(17)]
    kept = [k for k, p in enumerate(rates) if selector.config.defer_below <= p <= selector.config.skip_above]
    evicted = [k for k, p in enumerate(rates) if p >= selector.config.evict_at]
    other = len(set(kept) ^ {int(k) for k in found["keep"]}) + len(set(evicted) ^ {int(k) for k in found["exclude_too_easy"]})
    yield Result(
        "kept and evicted pilots (pass rates that differ)", 17, float(other),
        "surplus survivors wait for the next epoch; theirs keep their old pilots for up to 4 steps",
    )  # fmt: skip


def adaptive_rounds(clone: Clone, path: str) -> Iterator[Result]:
    """Rounds and trained rollouts of 200 made-up questions, with the numbers of their engine's answers fixed in advance."""
    method = clone.owner_of(path, "_generate_multi_round_adaptive_downsampling")
    selector, _, _ = prepared("reinforce-ada", 8)
    rng = np.random.default_rng(SEED)
    other = 0
    for _ in range(200):
        answers = rng.binomial(1, rng.choice([0.0, 0.1, 0.5, 0.9, 1.0]), size=32).astype(float)
        rounds, kept = _their_rounds(clone, path, method, answers)
        made = group(0, answers[:8])
        while made.size < 32 and not selector._finished(made, 4):
            made = group(0, answers[: made.size + 8])
        ours = sorted(made.rewards[balanced(made.rewards, 4, 0.7)].tolist())
        other += rounds != made.size // 8 or sorted(kept) != ours
    yield Result("rounds and rewards trained on (questions that differ)", 200, float(other))


class _Fragment:
    """As much of verl's DataProto as their rounds ask for: one prompt, or rollouts with a reward."""

    def __init__(self, rewards: list[float]) -> None:
        self.rewards, self.batch, self.meta_info = rewards, {"token_level_scores": rewards}, {}
        self.non_tensor_batch = {"uid": np.array(["0"] * max(1, len(rewards)), dtype=object)}

    def __len__(self) -> int:
        return len(self.rewards)

    def __getitem__(self, rows: Any) -> _Fragment:
        return _Fragment([self.rewards[i] for i in rows] if self.rewards else [])

    def repeat(self, repeat_times: int, interleave: bool) -> _Fragment:
        return _Fragment([0.0] * repeat_times)


def _their_rounds(clone: Clone, path: str, owner: str, answers: Any) -> tuple[int, list[float]]:
    """(rounds, rewards kept) of their loop for one question whose answers come in this order."""
    import time

    given = {
        "DataProto": _Fragment, "defaultdict": defaultdict, "np": np, "math": math, "time": time, "random": random,
        "ensure_uid_in_batch": lambda *_: None, "build_uid_to_fields_mapping": lambda _: {}, "align_context_to_selected": lambda *_: None,
        "merge_context_fields_into_batch": lambda *_: None, "validate_tensordict_performance": lambda *_, **__: None,
        "get_first_dim_size": len, "print": lambda *_: None,
        "concat_dataproto_fragments": lambda parts: _Fragment([r for part in parts for r in part.rewards]),
        "compute_seq_rewards_for_round": lambda gen_out, **_: (gen_out, _Tensor(gen_out.rewards), ["0"] * len(gen_out)),
    }  # fmt: skip
    name = "_generate_multi_round_adaptive_downsampling"
    loop = clone.definitions(path, [f"{owner}.{name}"], given)[name]
    given_out = iter(answers.reshape(-1, 8).tolist())
    workers = SimpleNamespace(dp_size=8, generate_sequences=lambda _: _Fragment(next(given_out)))
    algorithm = SimpleNamespace(reinforce_ada_choice="balanced", use_kl_in_reward=False)
    trainer = SimpleNamespace(
        actor_rollout_wg=workers, async_rollout_mode=False, reward_fn=None, use_rm=False, rm_wg=None,
        config=SimpleNamespace(algorithm=algorithm),
    )  # fmt: skip
    batch, info = loop(trainer, _Fragment([]), 0.7, 4, 8, 4)
    return len(info["per_round"]), batch.rewards


class _Tensor(list):  # type: ignore[type-arg]
    """A list that answers what their code asks of a tensor of rewards."""

    def detach(self) -> _Tensor:
        return self

    def cpu(self) -> _Tensor:
        return self

    def numpy(self) -> _Tensor:
        return self

    def tolist(self) -> list[float]:
        return list(self)


COMPARISONS = [
    Comparison("rr", "ASTRAL-Group/data-efficient-llm-rl", "rl_training/verl/verl/trainer/ppo/ray_trainer.py", replay_buffer),
    Comparison("lze", "Stellaris167/LZE", "verl/trainer/ppo/sample_attention/backward_scorer.py", learning_zone),
    Comparison("snr-filter", "mll-lab-nu/RAGEN", "ragen/trainer/rollout_filter.py", snr),
    Comparison("pilot-commit", "databricks/pilot-commit", "recipe/pc/utils.py", pilots),
    Comparison("reinforce-ada", "RLHFlow/Reinforce-Ada", "verl/trainer/ppo/ray_trainer.py", adaptive_rounds),
]
