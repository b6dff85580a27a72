"""History predictor: a Beta posterior per question from the run's own past groups, over any other predictor as prior.

    p_q | history ~ Beta(n₀·π_q + Σ_g w_g k_g,  n₀·(1 − π_q) + Σ_g w_g (n_g − k_g)),   w_g = 2^(−staleness_g / half_life)

π_q is the prior predictor's pass rate (without one: the mean of the references), n₀ its weight in rollouts (unless fixed, the
one under which the references' outcomes were likeliest, given what was known before them), k_g of n_g the successes of a past
group, staleness the policy versions since it was sampled. Free of charge: the groups were trained on
anyway. References count as groups of the current version.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from harness.errors import UserError
from harness.predictor.base import DifficultyPredictor
from harness.predictor.questions import PoolFeatures
from harness.predictor.references import Info, References, check_references, reference_info
from harness.types import FloatArray, IntArray

_PRIOR_WEIGHTS = (0.25, 0.5, 1.0, 2.0, 4.0, 8.0, 16.0)
_RATE_MARGIN = 0.01


class HistoryPredictor:
    """See the module docstring.

    prior: any other predictor, or None. prior_rollouts: n₀ > 0, or None to choose it at every prediction.
    half_life: staleness, in policy versions, at which a group counts half.
    rollouts: group size behind the references' pass rates.
    """

    kind = "history"

    def __init__(
        self, prior: DifficultyPredictor | None = None, prior_rollouts: float | None = None, half_life: float = 10.0, rollouts: int = 8
    ) -> None:
        if not ((prior_rollouts is None or prior_rollouts > 0) and half_life > 0):
            raise UserError(f"prior_rollouts and half_life must be positive, not {prior_rollouts} and {half_life}")
        self.prior = prior
        self.prior_rollouts, self.half_life, self.rollouts = prior_rollouts, half_life, rollouts
        self.info: Info = {}
        self._successes: FloatArray | None = None
        self._trials: FloatArray = np.empty(0)
        self._version = 0

    def prepare(self, pool: PoolFeatures) -> None:
        """Size the history to the pool and prepare the prior."""
        self._successes, self._trials, self._version = np.zeros(len(pool)), np.zeros(len(pool)), 0
        if self.prior is not None:
            self.prior.prepare(pool)

    def observe(self, question_ids: IntArray, pass_rates: FloatArray, rollouts: int, policy_version: int) -> None:
        """Remember groups sampled at ``policy_version`` (never older than the last one seen). Shapes (n,), rates in [0, 1].

        A question may occur several times. Raises UserError for NaN rates or a version that goes back.
        """
        rates = np.asarray(pass_rates, dtype=np.float64)
        if not ((rates >= 0) & (rates <= 1)).all():
            raise UserError("a past group has a pass rate outside [0, 1] (or NaN); score it before it is remembered")
        self.advance(policy_version)
        np.add.at(self._history(), question_ids, rates * rollouts)
        np.add.at(self._trials, question_ids, float(rollouts))

    def predict(self, reference_ids: IntArray, reference_pass_rates: FloatArray, query_ids: IntArray | None = None) -> FloatArray:
        """Posterior means, shape (n,); the references' own outcomes are used for the references."""
        successes = self._history()
        references = check_references(reference_ids, reference_pass_rates, len(successes))
        if self.prior is None:
            prior = np.full(len(successes), references.pass_rates.mean())
            self.info = reference_info(references)
        else:
            prior = self.prior.predict(references.ids, references.pass_rates)
            self.info = dict(self.prior.info)
        weight = self.prior_rollouts or self._likeliest_weight(references, prior)
        own, trials = successes.copy(), self._trials.copy()
        own[references.ids] += references.pass_rates * self.rollouts
        trials[references.ids] += self.rollouts
        posterior = (weight * prior + own) / (weight + trials)
        self.info["history_prior_rollouts"] = weight
        self.info["history_questions"] = float((self._trials > 0.5).sum())
        return posterior if query_ids is None else posterior[query_ids]

    def _likeliest_weight(self, references: References, prior: FloatArray) -> float:
        """n₀ from a grid, by the binomial likelihood of the references' outcomes under the posterior without them."""
        at, rates = references.ids, references.pass_rates
        scores = []
        for weight in _PRIOR_WEIGHTS:
            expected = (weight * prior[at] + self._history()[at]) / (weight + self._trials[at])
            expected = np.clip(expected, _RATE_MARGIN, 1 - _RATE_MARGIN)
            scores.append(float((rates * np.log(expected) + (1 - rates) * np.log1p(-expected)).sum()))
        return _PRIOR_WEIGHTS[int(np.argmax(scores))]

    def advance(self, policy_version: int) -> None:
        """Age the history to ``policy_version`` (``observe`` does it too). Raises UserError for a version that goes back."""
        if policy_version < self._version:
            raise UserError(f"history goes back from policy version {self._version} to {policy_version}; observe groups in order")
        keep = 0.5 ** ((policy_version - self._version) / self.half_life)
        self._successes, self._trials, self._version = self._history() * keep, self._trials * keep, policy_version

    def state_dict(self) -> dict[str, Any]:
        """What must survive a crash."""
        return {"successes": self._history(), "trials": self._trials, "version": self._version}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Take back what ``state_dict`` gave."""
        self._successes, self._trials = np.array(state["successes"]), np.array(state["trials"])
        self._version = int(state["version"])

    def _history(self) -> FloatArray:
        if self._successes is None:
            raise RuntimeError("call prepare(pool) once first")
        return self._successes
