"""The toy engine with a ``preload``, so that its workers are forked from a warm one. TOY_PRELOAD: "raise" or "thread" goes wrong there."""

from __future__ import annotations

import os
import threading
import time

from toy_engine import ToyBackend


class WarmToy(ToyBackend):
    def preload(self) -> None:
        if trace := os.environ.get("TOY_TRACE"):
            with open(trace, "a", encoding="utf-8") as file:
                file.write(f"preload {os.getpid()}\n")
        time.sleep(float(os.environ.get("TOY_PRELOAD_SECONDS", "0")))
        if os.environ.get("TOY_PRELOAD") == "raise":
            raise ImportError("a library that cannot be imported")
        if os.environ.get("TOY_PRELOAD") == "thread":
            threading.Thread(target=time.sleep, args=(3600,), daemon=True).start()
