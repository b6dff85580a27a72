"""A made-up suite whose runs reach 50 % at known steps, so that every ratio can be worked out by hand.

A step of the baseline generates and trains 640 tokens in .5 s, and each of its runs reaches the target at step 40. Half of the groups of
``rr`` are replayed: 320 generated, 640 trained tokens, in .4 s. ``history`` and ``oracle`` need half of the steps; ``dots`` needs as many
as the baseline, one seed fewer and one more; ``dots-rr`` never gets there.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path

from harness.records.ledger import line_of
from harness.records.ledger_records import RunStart
from harness.records.run_folder import run_paths
from harness.suite.reader import load_suite
from harness.suite.suite import plan
from tests.reports.ledgers import write_run

STEPS, EVERY = 48, 4

SUITE = """
name = "{name}"
description = "Made up, to be worked out by hand."
seeds = [1, 2, 3, 4, 5]
baseline = "grpo"

[algorithm]
groups_per_step = 8
group_size = 8
max_steps = 48
learning_rate = 1e-3
max_completion_tokens = 12

[evaluation]
every_steps = 4
diagnostic_questions = 0

[target]
accuracy = 0.5
crossing = "first"

[[combinations]]
name = "words"
{engine}

[[strategies]]
name = "grpo"

[[strategies]]
name = "dots"
config = {{ references = 8 }}

[[strategies]]
name = "rr"
config = {{ capacity = 16 }}

[[strategies]]
name = "dots-rr"
config = {{ references = 8, capacity = 16 }}

[[strategies]]
name = "history"

[[strategies]]
name = "oracle"
"""

ENGINES = {
    "trl": 'backend = "trl"\nmodel = "embedded:llama-64x2"\ntask = { name = "spell-backward" }',
    "simulator": 'backend = "simulator"\nmodel = "simulated"\ntask = { name = "latent-skills" }',
}

#: Step of the evaluation that reaches the target, per seed; 0 for never.
REACHED: dict[str, tuple[int, ...]] = {
    "grpo": (40, 40, 40, 40, 40),
    "dots": (36, 40, 40, 40, 44),
    "rr": (40, 40, 40, 40, 40),
    "dots-rr": (0, 0, 0, 0, 0),
    "history": (20, 20, 20, 20, 20),
    "oracle": (20, 20, 20, 20, 20),
}


def accuracies(reached: int) -> list[float]:
    """One per evaluation: .2 until the target is reached, .5 from there on."""
    return [0.5 if reached and step >= reached else 0.2 for step in range(0, STEPS + 1, EVERY)]


def made_runs(
    folder: Path,
    name: str = "made",
    engine: str = "trl",
    reached: Mapping[str, tuple[int, ...]] = REACHED,
    *,
    missing: int = 1,
    suite: str = SUITE,
) -> Path:
    """Write the suite's file and its runs below ``folder``; the last ``missing`` runs of the plan never began. Returns the suite's file.

    suite: its text, with places for name and engine.
    """
    path = folder / f"{name}.toml"
    path.write_text(suite.format(name=name, engine=ENGINES[engine]), encoding="utf-8")
    specs = plan(load_suite(path))
    for place, spec in enumerate(specs[: len(specs) - missing]):
        label = spec.strategy.label
        replays = label in ("rr", "dots-rr")
        made = write_run(
            folder / "made", label, spec.seed, steps=STEPS, accuracies=accuracies(reached[label][spec.seed - 1]),
            replayed=4 if replays else 0, pace=0.4 if replays else 0.5, oracle=label == "oracle", backend=engine,
        )  # fmt: skip
        run = run_paths(folder / "runs", spec)
        (run.attempts / "1").mkdir(parents=True)
        rest = made.read_bytes().partition(b"\n")[2]
        run.ledger.write_bytes(line_of(RunStart(spec.run_id, spec.model_dump(mode="json"))) + rest)
        made.unlink()
        spec.save(run.spec)
        begin = run.attempts / "1" / "env.json"
        begin.write_text("{}", encoding="utf-8")
        os.utime(begin, (1e9 + 1000 * place, 1e9 + 1000 * place))
        os.utime(run.ledger, (1e9 + 1000 * place + 60, 1e9 + 1000 * place + 60))
    return path
