"""One's own questions: a JSONL, JSON, CSV, TSV or Parquet file beside the suite, or a data set of the hub.

The pool is drawn from ``file``. Accuracy is measured on the files that ``evaluation`` names, or else on questions that the seed takes out
of the same file. ``reward`` says how an answer is scored, ``prompt`` how a question is put. An embedded model knows nothing of these
questions: it needs a file of further ones, ``warm_up``, and is refused without.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ConfigDict, Field, field_validator, model_validator

from harness.data.overlap import normalised
from harness.reward.spec import RewardSpec
from harness.task import WARM_UP, TaskData, TaskError, WarmUp
from harness.types import Question
from suites.tasks.columns import Columns, Comparison, read_columns
from suites.tasks.config import parse_config
from suites.tasks.own_sources import OwnSource, file_digest, set_names
from suites.tasks.pools import Item, alphabet, draw_order
from suites.tasks.record_files import Row

NAME = "jsonl"
VERSION = 1
#: Names in a suite → rewards (``harness.reward.spec``) and what they need of a gold answer.
REWARDS: dict[str, tuple[str, Comparison]] = {
    "math": ("math-verify", "value"),
    "number": ("number", "number"),
    "exact": ("exact", "text"),
}
#: Without an evaluation file: a fifth of the questions, but no more than this.
MOST_TEST = 512
_PLACE = "{question}"

Drawn = list[tuple[Item, Row]]


class OwnDataConfig(BaseModel):
    """Settings of ``jsonl``. Paths are relative to the suite file."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    file: str = Field(min_length=1, description="questions of the pool: a .jsonl, .json, .csv, .tsv or .parquet file, or hub:OWNER/NAME")
    question: str | None = Field(None, description="column of the question, a.b for a field in a column; null: found by its usual names")
    answer: str | None = Field(None, description="column of the gold answer; null: found by its usual names")
    evaluation: str | tuple[str, ...] | dict[str, str] | None = Field(
        None, description="one file (the set test), several (sets named after the files), or a table of set and file; null: split off"
    )
    reward: str = Field(min_length=1, description="math, number, exact, or module:function of your own")
    right_completion: str | None = Field(
        None,
        description="a completion that gives the answer, with {answer} in it, for `validate`; null: the answer alone, in math a box",
    )
    box_required: bool = Field(False, description="for math: only an answer in \\boxed{} counts; false: an announced one does too")
    prompt: str | None = Field(None, description="template of what the model reads, with {question} in it; null: the question alone")
    system_prompt: str | None = Field(None, description="system prompt in the model's chat template, may be empty; null: no chat template")
    train: int | None = Field(None, ge=1, description="questions of the pool; null for all that the other splits leave")
    test: int | None = Field(None, ge=1, description="without evaluation: questions to split off; null for a fifth, at most 512")
    validation: int = Field(0, ge=0, description="questions of the file kept for tuning")
    adapter: int = Field(0, ge=0, description="questions of the file kept for an embedded model's difficulty predictor")
    seed: int = Field(0, ge=0, description="draws the splits; runs with other seeds share them")
    longest: int | None = Field(None, ge=1, description="characters of the longest question of the pool; null for no limit")
    warm_up: str | None = Field(
        None, description="further questions, from which an embedded model is built; null: embedded models are refused"
    )
    warm_up_steps: int = Field(600, ge=1, description="supervised steps with which an embedded model is built")
    noise_slope: float = Field(0.04, ge=0, description="corruption of warm-up targets per character beyond noise_offset")
    noise_offset: float = Field(2.0, description="length up to which warm-up targets are not corrupted")

    @field_validator("reward")
    @classmethod
    def _known_reward(cls, reward: str) -> str:
        module, _, function = reward.partition(":")
        if reward not in REWARDS and not (module and function):
            raise ValueError(f"{reward!r} is none of {', '.join(REWARDS)} and not of the form module:function")
        if module.endswith(".py") or "/" in module:
            raise ValueError(f"{reward!r} names a file; name the module, as in {Path(module).stem}:{function}")
        return reward

    @field_validator("prompt")
    @classmethod
    def _has_a_place(cls, prompt: str | None) -> str | None:
        if prompt is not None and _PLACE not in prompt:
            raise ValueError(
                f"{prompt[:60]!r} has no {_PLACE}, where the question goes; an instruction for every question may be system_prompt"
            )
        return prompt

    @field_validator("right_completion")
    @classmethod
    def _has_an_answer(cls, form: str | None) -> str | None:
        if form is not None and "{answer}" not in form:
            raise ValueError(f"{form[:60]!r} has no {{answer}}, where the gold answer goes")
        return form

    @model_validator(mode="after")
    def _one_test_set(self) -> OwnDataConfig:
        if self.evaluation is not None and self.test is not None:
            raise ValueError("give evaluation, or test to split questions off, not both")
        if self.evaluation is not None:
            set_names(self.evaluation)
        return self


class OwnData:
    """Builder of ``jsonl``: splits ``train``, ``validation`` and ``adapter`` from the file, evaluation sets from their files."""

    reads_own_files = True

    def __init__(self, config: Mapping[str, Any], folder: Path = Path()) -> None:
        self.config = parse_config(OwnDataConfig, config, NAME)
        self.folder = folder
        self.sets = {} if self.config.evaluation is None else set_names(self.config.evaluation)
        self._sources = {
            "file": OwnSource.of(self.config.file, folder, "train", f"task {NAME!r}, setting 'file'"),
            **{name: OwnSource.of(text, folder, "test", f"task {NAME!r}, setting 'evaluation'") for name, text in self.sets.items()},
        }
        if self.config.warm_up is not None:
            self._sources[WARM_UP] = OwnSource.of(self.config.warm_up, folder, "train", f"task {NAME!r}, setting 'warm_up'")

    @property
    def version(self) -> str:
        """Of this builder, of the files' content and of a reward function beside the suite: other content makes another run."""
        code = _module_file(self.config.reward, self.folder)
        parts = {name: source.identity for name, source in self._sources.items()}
        if code is not None:
            parts["reward"] = file_digest(code)
        return f"{VERSION}+{hashlib.sha256(json.dumps(parts, sort_keys=True).encode()).hexdigest()[:8]}"

    def unpinned(self) -> list[str]:
        """The data sets of the hub whose revision is not pinned, as texts for the user."""
        return list(dict.fromkeys(f"data set {s.hub.hub}" for s in self._sources.values() if s.hub is not None and s.hub.revision is None))

    def build(self) -> TaskData:
        """Read and split. Raises TaskError with one sentence: file, line or column, and what to do."""
        name, comparison = REWARDS.get(self.config.reward, (self.config.reward, "text"))
        found, sources = self._pool(comparison)
        for test in self.sets:
            found[test], sources[test] = self._read(test, comparison)
        if WARM_UP in self._sources:
            found[WARM_UP], sources[WARM_UP] = self._read(WARM_UP, comparison)
            self._check_warm_up(found)
        splits = {split: self._questions(items) for split, items in found.items()}
        private = {}
        if self.config.reward not in REWARDS:
            for split, items in found.items():
                private.update({q.key: _plain(row) for q, (_, row) in zip(splits[split], items, strict=True)})
        return TaskData(
            name=f"{NAME}/{self._sources['file'].label}",
            splits=splits,
            reward=RewardSpec(name, box_required=self.config.box_required and name == "math-verify"),
            alphabet=alphabet(splits),
            private=private,
            system_prompt=self.config.system_prompt,
            warm_up=WarmUp(self.config.warm_up_steps, noise_slope=self.config.noise_slope, noise_offset=self.config.noise_offset),
            sources=sources,
            right_completion=self.config.right_completion,
        )

    def _pool(self, comparison: Comparison) -> tuple[dict[str, Drawn], dict[str, Mapping[str, Any]]]:
        """Train first, then what else comes from the same file; and the facts about it under each name."""
        items, facts = self._read("file", comparison)
        longest = self.config.longest
        short = [pair for pair in items if longest is None or len(pair[0].prompt) <= longest]
        sizes = {"test": self.config.test or min(MOST_TEST, max(1, len(short) // 5))} if not self.sets else {}
        sizes |= {"validation": self.config.validation, "adapter": self.config.adapter}
        where = f"task {NAME!r}, {self.config.file}"
        drawn, again = draw_splits(short, self.config.seed, sizes, self.config.train, where)
        left_out = {f"longer than {longest} characters": len(items) - len(short), "question of another split": again}
        facts = {**facts, "left_out": {**facts["left_out"], **{why: n for why, n in left_out.items() if n}}}
        kept = {name: pairs for name, pairs in drawn.items() if pairs}
        return kept, dict.fromkeys(kept, facts)

    def _read(self, name: str, comparison: Comparison) -> tuple[Drawn, dict[str, Any]]:
        source = self._sources[name]
        records, facts = source.read()
        columns = Columns.find(records, self.config.question, self.config.answer, source.text)
        read = read_columns(records, columns, comparison, source.text)
        notes = [f"questions from {columns.question!r}, answers from {columns.answer!r}"]
        if read.numbers:
            notes.append(f"{read.numbers} answers are numbers and are used as texts")
        return read.items, {**facts, "records": len(records.rows), "left_out": read.left_out, "notes": notes}

    def _questions(self, items: Drawn) -> tuple[Question, ...]:
        template = self.config.prompt or _PLACE
        return tuple(
            Question(i, template.replace(_PLACE, item.prompt), item.answer, NAME, item.metadata) for i, (item, _) in enumerate(items)
        )

    def _check_warm_up(self, found: Mapping[str, Drawn]) -> None:
        known = {normalised(item.prompt): split for split, items in found.items() if split != WARM_UP for item, _ in items}
        for item, _ in found[WARM_UP]:
            if split := known.get(normalised(item.prompt)):
                raise TaskError(
                    f"task {NAME!r}: the question {item.prompt[:60]!r} of {self.config.warm_up} is also in {split!r}; an embedded model "
                    "must not be built from questions that it is trained or measured on"
                )


def draw_splits(items: Drawn, seed: int, sizes: Mapping[str, int], train: int | None, where: str) -> tuple[dict[str, Drawn], int]:
    """``train`` and the splits of these sizes, by the seed and the questions' own texts; and how many repeats were left out.

    No question is in two splits, by its normalised text. The small splits are drawn first, so that the size of the pool never moves
    them. train: None for all that is left. Raises TaskError if there are too few.
    """
    waiting = sorted(items, key=lambda pair: draw_order(seed, pair[0]))[::-1]
    asked: dict[str, int | None] = {**sizes, "train": train}
    splits: dict[str, Drawn] = {"train": []}
    taken: set[str] = set()
    again = 0
    for name, size in asked.items():
        chosen: Drawn = []
        while waiting and (size is None or len(chosen) < size):
            pair = waiting.pop()
            if normalised(pair[0].prompt) in taken:
                again += 1
            else:
                chosen.append(pair)
        if len(chosen) < (size or 1) and size != 0:
            total = sum(sizes.values())
            raise TaskError(
                f"{where}: {len(items)} usable questions are too few for train = {train or 'the rest'}, "
                f"{', '.join(f'{key} = {n}' for key, n in sizes.items())} ({total + (train or 1)} at least); make a split smaller"
            )
        taken |= {normalised(item.prompt) for item, _ in chosen}
        splits[name] = chosen
    return splits, again


def _plain(row: Row) -> dict[str, Any]:
    """A record as it goes to the process that scores."""
    loaded: dict[str, Any] = json.loads(json.dumps(row, default=str))
    return loaded


def _module_file(reward: str, folder: Path) -> Path | None:
    """The file of a reward function's module, where it lies beside the suite."""
    if reward in REWARDS:
        return None
    base = folder.joinpath(*reward.partition(":")[0].split("."))
    candidates: Sequence[Path] = (base.with_name(base.name + ".py"), base / "__init__.py")
    return next((path for path in candidates if path.is_file()), None)
