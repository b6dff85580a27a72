"""What tuning found, frozen: ``runs/SUITE/lock.toml``, or, published with a suite, ``SUITE.lock.toml`` beside its file.

``halfway tune`` writes the first, because a suite's own folder may be read-only or shared and its trials lie in the runs folder
too; copying it beside the suite file publishes the settings, so that others need not tune. The runs folder's wins.

The file holds, for every combination, the target that trials were measured against (resolved once, from the baseline's
first trial alone) and, for every arm, its settings, its trials and hashes of what it was tuned for. Where the suite
has changed in one of these since, the lock is *stale* and refused with the reason; so are arms tuned with unequal budgets.
"""

from __future__ import annotations

import json
import tomllib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Literal

from pydantic import Field, JsonValue, ValidationError

from harness.errors import UserError
from harness.files import write_text
from harness.records.run_folder import suite_folder
from harness.spec import Settings
from harness.suite.suite import Suite
from harness.suite.tuning_table import with_nulls
from harness.validation import explain

VERSION = 1
NAME = "lock.toml"


class LockedTrial(Settings):
    """One trial. value: objective in budgets of the baseline; for a pruned trial a bound from what it had shown."""

    number: int
    state: Literal["complete", "pruned"]
    value: float
    reached: int
    settings: dict[str, JsonValue]
    runs: tuple[str, ...] = Field(strict=False)


class LockedParameter(Settings):
    """One dimension searched; ``range`` as in a suite file; importance in [0, 1], or None where the trials are too few."""

    name: str
    part: Literal["algorithm", "strategy"]
    range: dict[str, JsonValue]
    importance: float | None


class LockedRepeat(Settings):
    """The best trial of one of several searches: its objective, how many seeds reached the target, its number and settings."""

    value: float
    reached: int
    best: int
    settings: dict[str, JsonValue]


class LockedStudy(Settings):
    """One arm on one combination. depends_on: hashes of the settings that it was tuned for.

    repeats: of several searches, each; then all else but the costs is that of search ``median``.
    """

    combination: str
    strategy: str
    best: int
    settings: dict[str, dict[str, JsonValue]]
    training_seconds: float
    generated_tokens: int
    cost: float = Field(description="all trials together, in budgets of the baseline")
    depends_on: dict[str, str]
    parameters: tuple[LockedParameter, ...] = Field(strict=False)
    trials: tuple[LockedTrial, ...] = Field(strict=False)
    repeats: tuple[LockedRepeat, ...] = Field(default=(), strict=False)
    median: int = 0

    @property
    def own(self) -> LockedTrial:
        """The trial with the suite's own settings."""
        return self.trials[0]

    @property
    def winner(self) -> LockedTrial:
        """The trial whose settings are used."""
        return self.trials[self.best]


class LockedTarget(Settings):
    """Target of a combination on validation questions. budget: the baseline's, on the ledger ``cost`` of the lock."""

    combination: str
    accuracy: float
    start: float
    final: float
    budget: float
    plateau: bool
    runs: tuple[str, ...] = Field(strict=False)


class TuningLock(Settings):
    """The whole file."""

    version: Literal[1] = 1
    suite: str
    cost: str
    seeds: tuple[int, ...] = Field(strict=False)
    evaluation: str
    target: str
    targets: tuple[LockedTarget, ...] = Field(default=(), strict=False)
    studies: tuple[LockedStudy, ...] = Field(default=(), strict=False)

    def study(self, combination: str, strategy: str) -> LockedStudy | None:
        """The study of an arm, or None."""
        return next((s for s in self.studies if (s.combination, s.strategy) == (combination, strategy)), None)

    def write(self, path: Path) -> None:
        """The whole file or nothing. Raises UserError if it cannot be written."""
        try:
            write_text(path, _text(self))
        except OSError as error:
            raise UserError(f"cannot write {path}: {error.strerror}") from error

    @classmethod
    def read(cls, path: Path) -> TuningLock:
        """Read a lock file. Raises UserError if it is unreadable, was edited by hand, or was written by a newer version."""
        mend = f"tune again ('halfway tune'), remove {path.name}, or run with --untuned"
        try:
            data = with_nulls(tomllib.loads(path.read_text(encoding="utf-8-sig")))
        except (OSError, UnicodeDecodeError) as error:
            raise UserError(f"cannot read {path}: {getattr(error, 'strerror', None) or error}") from error
        except tomllib.TOMLDecodeError as error:
            raise UserError(f"{path}: not valid TOML ({error}); {mend}") from error
        if data.get("version", 0) != VERSION:
            raise UserError(f"{path} is a lock of version {data.get('version', '?')}, this halfway knows version {VERSION}; {mend}")
        try:
            return cls.model_validate(data)
        except ValidationError as error:
            where, words = explain(error.errors()[0], cls)
            raise UserError(f"{path}: {'.'.join(map(str, where))}: {words}; {mend}") from error


def lock_path(suite: str, runs_dir: Path) -> Path:
    """Where tuning writes the lock of a suite."""
    return suite_folder(runs_dir, suite) / NAME


def find_tuning_lock(suite: Suite, runs_dir: Path) -> Path | None:
    """The lock that counts for a suite: the runs folder's, or the published one, or None."""
    places = (lock_path(suite.name, runs_dir), suite.path.with_name(f"{suite.path.stem}.lock.toml"))
    return next((path for path in places if path.is_file()), None)


_HEAD = """\
# Settings that 'halfway tune' found, and what they were chosen from. 'halfway run', plan, status and report use them while
# this file is here; --untuned leaves them aside. Written by the command; to change it, tune again.
"""


def _text(lock: TuningLock) -> str:
    data = lock.model_dump(mode="json")
    lines = [_HEAD, *(f"{key} = {_toml(value)}" for key, value in data.items() if key not in ("targets", "studies"))]
    for target in data["targets"]:
        lines += ["", "[[targets]]", *(f"{key} = {_toml(value)}" for key, value in target.items())]
    for study in data["studies"]:
        lines += ["", "[[studies]]"]
        for key, value in study.items():
            rows = key in ("parameters", "trials", "repeats")
            lines.append(f"{key} = [\n{''.join(f'    {_toml(row)},{chr(10)}' for row in value)}]" if rows else f"{key} = {_toml(value)}")
    return "\n".join(lines) + "\n"


def _toml(value: Any) -> str:
    """A JSON value as TOML, which has no null: that is written as ``{ none = true }``."""
    if value is None:
        return "{ none = true }"
    if isinstance(value, Mapping):
        return "{ " + ", ".join(f"{_key(k)} = {_toml(v)}" for k, v in value.items()) + " }" if value else "{}"
    if isinstance(value, Sequence) and not isinstance(value, str):
        return "[" + ", ".join(_toml(item) for item in value) + "]"
    if isinstance(value, str):
        return json.dumps(value, ensure_ascii=False).replace("\x7f", "\\u007f")
    return json.dumps(value, allow_nan=False)


def _key(key: str) -> str:
    return key if key.replace("_", "").replace("-", "").isalnum() and key.isascii() else json.dumps(key)
