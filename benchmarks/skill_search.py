"""A random search for the latent skills under which simulated training looks like something that was observed."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np

from harness.numerics.latent_skills import SkillSettings


@dataclass(frozen=True, slots=True)
class Candidate:
    """A point of the search: what the questions are like, and how the policy learns."""

    skills: SkillSettings
    learning_rate: float
    gradient_noise: float
    forgetting: float


@dataclass(frozen=True, slots=True)
class Steps:
    """How far a point is moved, and to where at most.

    decades: standard deviation of what is searched as a logarithm. logits: of difficulty and spread. share, most_share: of the questions
    out of reach. least_difficulty: in logits.
    """

    decades: float
    logits: float
    share: float
    most_share: float
    least_difficulty: float

    def near(self, point: Candidate, rng: np.random.Generator) -> Candidate:
        """A point near another one: two of its coordinates moved."""
        skills, moved = point.skills, point
        for name in rng.choice(["difficulty", "spread", "out_of_reach", "learning_rate", "gradient_noise", "forgetting"], 2, replace=False):
            if name in ("learning_rate", "gradient_noise", "forgetting"):
                moved = replace(moved, **{name: getattr(moved, name) * 10 ** rng.normal(0, self.decades)})
            elif name == "out_of_reach":
                skills = replace(skills, out_of_reach=float(np.clip(skills.out_of_reach + rng.normal(0, self.share), 0, self.most_share)))
            else:
                least = self.least_difficulty if name == "difficulty" else 0.1
                skills = replace(skills, **{name: float(max(least, getattr(skills, name) + rng.normal(0, self.logits)))})
        return replace(moved, skills=skills)


def search(
    loss: Callable[[Candidate], float], first: Callable[[np.random.Generator], Candidate], steps: Steps, broad: int, narrow: int
) -> Candidate:
    """The best of ``broad`` points anywhere, then of ``narrow`` near the best so far."""
    rng = np.random.default_rng(1)
    best = min([first(rng) for _ in range(broad)], key=loss)
    least = loss(best)
    for _ in range(narrow):
        tried = steps.near(best, rng)
        if (found := loss(tried)) < least:
            best, least = tried, found
    return best
