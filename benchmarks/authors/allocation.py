"""Rollouts per question and the law of a selection: VIP, CurES."""

from __future__ import annotations

from collections.abc import Iterator
from types import SimpleNamespace
from typing import Any

import numpy as np

from benchmarks.authors.comparison import Clone, Comparison, Result
from benchmarks.authors.inputs import group, prepared
from harness.strategies.vip import allocate, variance

SEED = 20261126


def vip_allocation(clone: Clone, path: str) -> Iterator[Result]:
    """The variance that both allocations leave, 60 made-up batches; theirs is continuous, rounded, and tilted towards hard questions."""
    from scipy.optimize import minimize

    names = ["allocation_value", "enforce_min_after_rounding", "allocation_rounding", "solve", "allocate_rollout"]
    theirs = clone.definitions(path, names, {"np": np, "minimize": minimize, "print": lambda *_: None})["allocate_rollout"]
    rng = np.random.default_rng(SEED)
    for estimator in ("grpo", "rloo"):
        largest, excess = 0, 0.0
        for _ in range(60):
            rates = rng.random(8)
            ours = allocate(rates, 64, 4, 16, estimator)  # type: ignore[arg-type]
            found = np.array(theirs(rates, batch_budget=64, lower=4, upper=16, allocation_rule=estimator))
            left = [sum(p * (1 - p) * variance(int(n), estimator) for p, n in zip(rates, sizes, strict=True)) for sizes in (ours, found)]  # type: ignore[arg-type]
            largest, excess = max(largest, int(np.abs(ours - found).max())), max(excess, left[0] / left[1] - 1)
        yield Result(f"{estimator}: rollouts of a question", 60, float(largest), "their tilt γ·n·log p towards hard questions is left out")
        yield Result(f"{estimator}: variance left, ours over theirs − 1 (none is above 0)", 60, max(excess, 0.0))


def vip_process(clone: Clone, path: str) -> Iterator[Result]:
    """Predicted pass rates of 40 questions after one step of 8, their length scale and prior."""
    from scipy.linalg import cho_solve, cholesky

    given = {"np": np, "cholesky": cholesky, "cho_solve": cho_solve}
    gpr = clone.definitions(path, ["kernel_rbf", "GPR"], given)["GPR"]
    rng = np.random.default_rng(SEED)
    largest = 0.0
    for _ in range(20):
        points = rng.normal(size=(40, 6))
        points /= np.linalg.norm(points, axis=1, keepdims=True)
        selector, _, ctx = prepared("vip", 40, {"length_scale": 0.4, "prior": -1.0})
        selector._embeddings, selector._mean = points, np.full(40, -1.0)
        seen = rng.choice(40, size=8, replace=False)
        groups = [group(int(q), [1.0] * k + [0.0] * (8 - k)) for q, k in zip(seen, rng.integers(1, 8, size=8).tolist(), strict=True)]
        selector.observe(groups, ctx)
        distances = np.sqrt(np.maximum(2 - 2 * points @ points.T, 0))
        process = gpr(distances, reuse_mean=True, prior_value=-1)
        process.fit(seen, np.array([g.pass_rate for g in groups]))
        bound = 1 - 0.5 / ctx.group_size
        theirs = np.clip(process.predict(np.arange(40))[0], 1 - bound, bound)
        ours = np.clip(selector.predict(np.arange(40), ctx), 1 - bound, bound)
        largest = max(largest, float(np.abs(ours - theirs)[np.setdiff1d(np.arange(40), seen)].max()))
    yield Result(
        "pass rates that the Gaussian process predicts", 20, largest,
        "rates are kept half a rollout away from 0 and 1 (theirs 1e-6), so both are cut there",
    )  # fmt: skip


def cures_law(clone: Clone, path: str) -> Iterator[Result]:
    """Logarithms of the sampling probabilities of 50 questions, the rule of the code."""
    import torch

    captured: list[Any] = []

    def choice(_: Any, size: int, **options: Any) -> Any:
        captured.append(np.asarray(options["p"]))
        return np.arange(size)

    numpy = SimpleNamespace(**{n: getattr(np, n) for n in ("arange", "array", "exp", "sqrt", "float32", "isin")})
    numpy.random = SimpleNamespace(choice=choice)
    given = {"np": numpy, "Sampler": list, "Beta": torch.distributions.beta.Beta, "Iterator": Iterator, "print": lambda *_: None}
    sampler = clone.definitions(path, ["EpicSampler"], {**given, "int": int})["EpicSampler"]
    rng = np.random.default_rng(SEED)
    counts = rng.integers(0, 9, size=(50, 2)).astype(float)
    counter = [{"Accepted": int(right), "All": int(right + wrong)} for right, wrong in counts]
    made = sampler.__new__(sampler)
    sampler.__init__(made, range(50), np.zeros(50), counter, 4, replacement=True)
    made.update_difficulty()
    next(iter(sampler.__iter__(made)))
    selector, _, ctx = prepared("cures", 50, {"rule": "code"})
    selector._counts = counts
    rates = selector.predict(np.arange(50), ctx)
    ours = np.sqrt(rates * (1 - rates)) / (100 * (counts[:, 0] + 1))
    ours -= np.log(np.exp(ours).sum())
    yield Result(
        "log-probabilities under rule = 'code'", 50, float(np.abs(ours - np.log(captured[0])).max()),
        "rule = 'paper' by default, one temperature; the posterior starts flat; their allocation by gradient norms is left out",
    )  # fmt: skip


COMPARISONS = [
    Comparison("vip", "HieuNT91/VIP", "src/vip/allocation/bernoulli_allocation.py", vip_allocation),
    Comparison("vip", "HieuNT91/VIP", "src/vip/success_rate_prediction/gaussian_process.py", vip_process),
    Comparison("cures", "ZexuSun/CurES", "epic/epic_sampler.py", cures_law),
]
