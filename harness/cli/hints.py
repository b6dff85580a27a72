"""Commands that a message tells a person to type: the options that were given are repeated."""

from __future__ import annotations

import shlex
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

#: The folder of runs that no command needs to be given.
USUAL_RUNS = Path("runs")

#: Options of :class:`Given` that a command does not have.
_UNKNOWN = {"tune": {"--untuned"}, "report": {"--data-dir", "--executor", "--max-parallel"}}


@dataclass(frozen=True, slots=True)
class Given:
    """The options of a command that others share, as they were given."""

    suite: str
    runs_dir: Path = USUAL_RUNS
    only: Sequence[str] = ()
    plugin: Sequence[str] = ()
    backend: str | None = None
    untuned: bool = False
    data_dir: Path | None = None
    executor: str = "local"
    max_parallel: int | None = None

    def command(self, name: str = "run", *more: str) -> str:
        """``halfway run quick --runs-dir /data/runs --only seed=1``, quoted for a shell; what the command does not have is left out."""
        options: list[tuple[str, str | None]] = []
        if self.runs_dir != USUAL_RUNS:
            options.append(("--runs-dir", str(self.runs_dir)))
        options += [("--only", item) for item in self.only]
        options += [("--plugin", item) for item in self.plugin]
        if self.backend is not None:
            options.append(("--backend", self.backend))
        if self.untuned:
            options.append(("--untuned", None))
        if self.data_dir is not None:
            options.append(("--data-dir", str(self.data_dir)))
        if self.executor != "local":
            options.append(("--executor", self.executor))
        if self.max_parallel is not None:
            options.append(("--max-parallel", str(self.max_parallel)))
        known = [(option, value) for option, value in options if option not in _UNKNOWN.get(name, ())]
        words = [word for option, value in known for word in (option, value) if word is not None]
        return shlex.join(["halfway", name, self.suite, *words, *more])
