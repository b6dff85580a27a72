"""Code and data beside a suite are found wherever the command is given: here, in workers, and in the processes that score."""

from __future__ import annotations

import json

from toy_place import SUITE, ToyPlace

from tests.edits import edited

STRATEGY = """
from harness.strategy import Selector
from harness.types import Selection
import numpy as np

class Last(Selector):
    \"\"\"The last questions.\"\"\"

    def select(self, num_groups, ctx):
        return Selection(np.arange(len(ctx.pool))[::-1][:num_groups].copy())
"""
OWN = """
name = "own"
seeds = [1]
[algorithm]
groups_per_step = 2
[[combinations]]
name = "own"
backend = "trl"
model = "some/model"
task = { name = "jsonl", file = "data/pool.jsonl", evaluation = "data/test.jsonl", reward = "beside:score" }
[[strategies]]
name = "grpo"
"""


def test_a_plugin_beside_the_suite_trains_in_a_worker(place: ToyPlace) -> None:
    """Without PYTHONPATH and from another folder; the run is the one that the same suite has where the user is in its folder."""
    folder = place.folder / "elsewhere"
    folder.mkdir()
    (folder / "last_questions.py").write_text(STRATEGY)
    (folder / "toy.toml").write_text(SUITE + '\n[[strategies]]\nname = "last"\nplugin = "last_questions:Last"\n')
    done = place.halfway("run", "elsewhere/toy.toml", "--only", "strategy=last")
    assert done.returncode == 0, done.stdout + done.stderr
    (spec,) = [json.loads(path.read_text()) for path in place.runs.glob("*/spec.json")]
    assert spec["strategy"]["plugin"] == "last_questions:Last"
    assert spec["combination"]["task"]["folder"] == str(folder.resolve())


def test_a_reward_beside_the_suite_scores(place: ToyPlace) -> None:
    """In its own processes; a function that is not there is one sentence, and so is one that raises."""
    folder = place.folder / "elsewhere"
    (folder / "data").mkdir(parents=True)
    (folder / "own.toml").write_text(OWN)
    for name, start in (("pool", 0), ("test", 9)):
        (folder / "data" / f"{name}.jsonl").write_text(
            "".join(f'{{"question": "{i}?", "answer": "{i}"}}\n' for i in range(start, start + 4))
        )
    missing = place.halfway("validate", "elsewhere/own.toml")
    assert (missing.returncode, "reward 'beside:score': no module named 'beside'" in missing.stderr) == (2, True)
    (folder / "beside.py").write_text(
        "def score(completion, answer, metadata):\n    return float(metadata['answer'] == completion == answer)\n"
    )
    good = place.halfway("validate", "elsewhere/own.toml", "--json")
    assert good.returncode == 0, good.stdout + good.stderr
    (task,) = json.loads(good.stdout)["tasks"]
    assert [(s["name"], s["questions"], s["not_full_score"]["count"], s["nonsense_scores"]["count"]) for s in task["sets"]] == [
        ("train", 4, 0, 0),
        ("test", 4, 0, 0),
    ]
    (folder / "beside.py").write_text("def score(completion, answer, metadata):\n    return float(completion == f'I say {answer}')\n")
    assert "4 of 4 gold answers do not score 1.0" in place.halfway("validate", "elsewhere/own.toml").stdout
    (folder / "own.toml").write_text(edited(OWN, {'"beside:score"': '"beside:score", right_completion = "I say {answer}"'}))
    assert place.halfway("validate", "elsewhere/own.toml").returncode == 0
    (folder / "beside.py").write_text("def score(completion, answer, metadata):\n    return metadata['unit']\n")
    raised = place.halfway("validate", "elsewhere/own.toml")
    assert "the reward function beside:score raised KeyError: 'unit'" in raised.stderr
