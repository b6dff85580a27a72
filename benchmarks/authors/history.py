"""Selectors by past pass rates: CDAS, MoPPS, SEC, Prompt Replay."""

from __future__ import annotations

import random
from collections import defaultdict
from math import exp
from types import SimpleNamespace
from typing import Any

import numpy as np
import torch

from benchmarks.authors.comparison import Clone, Comparison, Result
from benchmarks.authors.inputs import at_step, group, prepared
from harness.step.advantage import advantages

POOL, STEPS, GROUP = 200, 60, 8


def cdas_estimates(clone: Clone) -> Result:
    """Difficulties and competence after 60 steps on questions that both select."""
    theirs, ours, _, difference = _cdas(clone)
    values = [theirs.problem_difficulties[str(i)][-1] for i in range(POOL)]
    difference = max(difference, abs(theirs.model_abilities[-1] - ours._competence), float(np.abs(values - ours._difficulty).max()))
    return Result(STEPS, difference)


def cdas_choice(clone: Clone) -> Result:
    """Steps at which the two select other questions."""
    return Result(STEPS, _cdas(clone)[2])


def _cdas(clone: Clone) -> tuple[Any, Any, int, float]:
    given = {"defaultdict": defaultdict, "exp": exp}
    theirs = clone.definitions("verl/utils/dataset/rl_cdas_dataset.py", ["CDAS_System"], given)["CDAS_System"]()
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
        difference = max(difference, abs(theirs.model_abilities[-1] - ours._competence))
    return theirs, ours, other, difference


def mopps_posterior(clone: Clone) -> Result:
    """α and β after 60 visits at decay .9."""
    sampler = SimpleNamespace(
        bandit_decay_ratio=0.9, bandit_target_mean=0.5, bandit_lower_bound=0.3, bandit_upper_bound=0.7, bandit_sample_strategy="topk",
        bandit_no_update=False,
    )  # fmt: skip
    rollout = SimpleNamespace(rollout=SimpleNamespace(n=GROUP))
    settings = SimpleNamespace(data=SimpleNamespace(train_batch_size=2), tasksampler=sampler, actor_rollout_ref=rollout)
    theirs = clone.definitions("recipe/ours/mopps.py", ["PosteriorSampler"], {"np": np, "torch": torch})["PosteriorSampler"](settings, 4)
    theirs.sample_batch({"index": np.arange(4)})
    ours, _, ctx = prepared("mopps", 4, {"decay": 0.9})
    rng, difference = np.random.default_rng(0), 0.0
    for _ in range(STEPS):
        seen = [group(i, rng.random(GROUP) < 0.4) for i in range(4)]
        theirs.train({"index": np.arange(4)}, [g.pass_rate for g in seen])
        ours.observe(seen, ctx)
        found = np.array([[theirs.alpha[str(i)], theirs.beta[str(i)]] for i in range(4)])
        difference = max(difference, float(np.abs(found - ours._counts).max()))
    return Result(STEPS, difference)


def sec_values(clone: Clone) -> Result:
    """Q of four categories, of which a step meets two; the advantages given are ours."""
    given = {"np": np, "defaultdict": defaultdict, "random": random, "Any": Any, "verl_F": SimpleNamespace(masked_mean=_masked_mean)}
    names = ["BasePriority", "BanditPriority", "JointBandit"]
    bandit = clone.definitions("sec/verl/verl/utils/auto_curriculum/priority.py", names, given)["JointBandit"]
    dataset = [{"extra_info": {"difficulty": i % 4}} for i in range(POOL)]
    theirs = bandit(dataset=dataset, lr=0.5, temperature=1.0)
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
    return Result(STEPS, difference)


def _masked_mean(values: Any, mask: Any, axis: int) -> Any:
    return (values * mask).sum(axis) / mask.sum(axis)


COMPARISONS = [
    Comparison(
        "cdas", "difficulty and competence", "DeyangKong/CDAS", "verl/utils/dataset/rl_cdas_dataset.py", cdas_estimates,
        "a batch of odd size is filled, theirs has one question less",
    ),
    Comparison("cdas", "selected questions (steps with others)", "DeyangKong/CDAS", "verl/utils/dataset/rl_cdas_dataset.py", cdas_choice),
    Comparison(
        "mopps", "Beta posterior", "thu-rllab/MoPPS", "recipe/ours/mopps.py", mopps_posterior,
        "a group of one rollout counts as one (theirs, by operator precedence, as 8)",
    ),
    Comparison(
        "sec", "Q of drawn and undrawn categories", "Vincent-La/cofa", "sec/verl/verl/utils/auto_curriculum/priority.py", sec_values,
        "a category smaller than a batch is filled up from the others (theirs refuses it); a copy, the authors' repository is not known",
    ),
]  # fmt: skip
