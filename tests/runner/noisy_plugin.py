"""A strategy whose module notes in which process it is imported."""

from __future__ import annotations

import os

from harness.strategies.uniform import Uniform

if trace := os.environ.get("TOY_TRACE"):
    with open(trace, "a", encoding="utf-8") as file:
        file.write(f"plugin {os.getpid()}\n")


class Noisy(Uniform):
    """Uniform."""

    name = "noisy"
