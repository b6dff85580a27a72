"""Science: a pool like the paper's SCP-25K, evaluated on the physics, chemistry and biology questions of MMLU (its section 5.4).

The authors describe SCP-25K (SCP-116K, filtered as in ProRL, arXiv 2505.24864, with a judge model) but do not say where to get it. A
local file ``scp_25k`` is used as it is; from the hub's SCP-116K the questions with a boxed or a short answer are used. MMLU's choices
become part of the question, and the gold answer is a letter.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from pydantic import BaseModel, ConfigDict, Field

from harness.reward.spec import RewardSpec
from harness.task import TaskData, TaskError
from suites.tasks.config import parse_config
from suites.tasks.maths import SYSTEM_PROMPT
from suites.tasks.pools import Item, alphabet, as_questions, draw, left_out, plain_item, read_items, without_long
from suites.tasks.record_files import Row
from suites.tasks.rows import solution_answer
from suites.tasks.sources import Source, pins

NAME = "science"
VERSION = 2

POOL = Source("scp", ("scp_25k", "scp"), "EricLu/SCP-116K", ("train",))
MMLU = Source("mmlu", ("mmlu", "mmlu_test"), "cais/mmlu", config="all", revision="c30699e8356da336a370243923dbaf21066bb9fe")
#: Questions of the paper's pool.
POOL_SIZE = 25_000
#: A solution on one line of at most this many characters is used as the answer.
SHORT_ANSWER = 60
#: MMLU's subjects in physics, chemistry and biology.
SUBJECTS = frozenset(
    {
        "conceptual_physics", "high_school_physics", "college_physics", "high_school_chemistry", "college_chemistry",
        "high_school_biology", "college_biology",
    }
)  # fmt: skip
LETTERS = "ABCDEFGHIJ"


class ScienceConfig(BaseModel):
    """Settings of ``science``."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    train: int | None = Field(None, ge=1, description="training questions; null for all, 25,000 at most")
    validation: int = Field(0, ge=0, description="questions of the same source, outside the pool, for tuning")
    seed: int = Field(0, ge=0, description="draws the pool; runs with other seeds share it")
    longest: int | None = Field(None, ge=1, description="characters of the longest question of the pool; null for no limit")
    box_required: bool = Field(True, description="only an answer in \\boxed{} counts, as the prompt asks; false: an announced one does too")


class Science:
    """Builder of ``science``: splits ``train`` and ``validation`` from the pool, ``test`` from MMLU."""

    version = f"{VERSION}+{pins((POOL, MMLU))}"

    def __init__(self, config: Mapping[str, Any]) -> None:
        self.config = parse_config(ScienceConfig, config, NAME)

    def unpinned(self) -> list[str]:
        """The data sets whose revision is not pinned, as texts for the user."""
        return [f"data set {source.hub}" for source in (POOL, MMLU) if source.revision is None]

    def build(self) -> TaskData:
        """Read pool and evaluation questions. Raises TaskError with one sentence if they are unavailable."""
        items, facts = read_items(POOL, _scp_item)
        items, facts = without_long(items, facts, self.config.longest)
        size = self.config.train or min(POOL_SIZE, len(items) - self.config.validation)
        pool, validation = draw(items, self.config.seed, size, self.config.validation, f"task {NAME!r}")
        test, test_facts = read_items(MMLU, _mmlu_item)
        of_subjects = [item for item in test if item.metadata.get("subject", "") in SUBJECTS]
        if not of_subjects:
            raise TaskError(f"task {NAME!r}: no record of MMLU has a subject in physics, chemistry or biology")
        splits = {
            "train": as_questions(pool, f"{NAME}/scp"),
            "validation": as_questions(validation, f"{NAME}/scp"),
            "test": as_questions(of_subjects, f"{NAME}/mmlu"),
        }
        test_facts = left_out(test_facts, "other subject", len(test) - len(of_subjects))
        sources = {"train": facts, "validation": facts, "test": test_facts}
        reward = RewardSpec("math-verify", box_required=self.config.box_required)
        return TaskData(NAME, splits, reward, alphabet(splits), system_prompt=SYSTEM_PROMPT, sources=sources)


def _scp_item(row: Row) -> Item:
    item = plain_item(row)
    solution = str(row.get("matched_solution") or "").strip()
    if item.answer or not solution:
        return item
    short = solution if len(solution) <= SHORT_ANSWER and "\n" not in solution else ""
    return Item(item.prompt, solution_answer(solution) or short, item.metadata)


def _mmlu_item(row: Row) -> Item:
    """The choices under the question; the answer, given as an index or a letter, as a letter. Empty where there is none."""
    choices, answer = row.get("choices") or (), row.get("answer")
    letter = LETTERS[answer] if isinstance(answer, int) and 0 <= answer < len(choices) <= len(LETTERS) else str(answer or "").strip()
    if letter not in LETTERS[: len(choices)] or not letter:
        return Item("", "", {})
    lines = [f"{name}. {choice}" for name, choice in zip(LETTERS, choices, strict=False)]
    prompt = "\n".join([str(row.get("question") or "").strip(), *lines, "Answer with the letter of the right choice."])
    return Item(prompt, letter, {"subject": row.get("subject", "")})
