"""A small value model in numpy: one hidden layer on standardised embeddings, trained online to predict pass rates."""

from __future__ import annotations

from typing import Any

import numpy as np

from harness.numerics.functions import sigmoid
from harness.types import FloatArray


class ValueModel:
    """V(x) = σ(w₂·tanh(W₁x + b₁) + b₂), trained on mean squared error with Adam (its usual constants).

    width: of the embeddings. hidden: units. rng: initialises W₁; w₂ starts at zero, so that V = 1/2 everywhere.
    """

    def __init__(self, width: int, hidden: int, rng: np.random.Generator) -> None:
        self._weights = [rng.normal(0, width**-0.5, (width, hidden)), np.zeros(hidden), np.zeros(hidden), np.zeros(1)]
        self._moments = [np.zeros_like(w) for w in self._weights * 2]
        self._updates = 0

    def __call__(self, x: FloatArray) -> FloatArray:
        """Predicted pass rates, shape (n,), of embeddings of shape (n, width)."""
        w1, b1, w2, b2 = self._weights
        return sigmoid(np.tanh(x @ w1 + b1) @ w2 + b2)

    def fit(self, x: FloatArray, pass_rates: FloatArray, epochs: int, learning_rate: float) -> None:
        """``epochs`` full-batch Adam steps on ½ Σ(V(x) − p)²/n."""
        for _ in range(epochs):
            self._updates += 1
            for i, gradient in enumerate(self.gradients(x, pass_rates)):
                first, second = self._moments[i], self._moments[i + len(self._weights)]
                first += 0.1 * (gradient - first)
                second += 0.001 * (gradient**2 - second)
                step = (first / (1 - 0.9**self._updates)) / (np.sqrt(second / (1 - 0.999**self._updates)) + 1e-8)
                self._weights[i] = self._weights[i] - learning_rate * step

    def gradients(self, x: FloatArray, pass_rates: FloatArray) -> list[FloatArray]:
        """Of the loss, for W₁, b₁, w₂, b₂."""
        w1, b1, w2, b2 = self._weights
        hidden = np.tanh(x @ w1 + b1)
        value = sigmoid(hidden @ w2 + b2)
        outer = (value - pass_rates) * value * (1 - value) / len(x)
        inner = outer[:, None] * w2 * (1 - hidden**2)
        return [x.T @ inner, inner.sum(axis=0), hidden.T @ outer, outer.sum(keepdims=True)]

    def state_dict(self) -> dict[str, Any]:
        """Weights, Adam's moments and the number of updates."""
        return {"weights": list(self._weights), "moments": list(self._moments), "updates": self._updates}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Take back what ``state_dict`` gave."""
        self._weights = [np.array(w) for w in state["weights"]]
        self._moments = [np.array(m) for m in state["moments"]]
        self._updates = int(state["updates"])
