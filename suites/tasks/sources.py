"""Sources of real data: a file in the user's data folder, or a data set of the hub at a pinned commit.

The folder is the environment variable ``HALFWAY_DATA`` (``--data-dir`` sets it). A file there has precedence; the hub is asked only
for what the folder lacks. The source is recorded: a file with its SHA-256, or a hub name with its commit.
"""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from harness.data.provenance import DATA_VARIABLE, HUB_SECONDS
from harness.task import TaskError
from suites.tasks.record_files import Row, read_records

#: Endings of the files that are looked for; CSV is for one's own data only.
FORMATS = (".parquet", ".jsonl", ".json")


@dataclass(frozen=True, slots=True)
class Source:
    """One data set.

    stems: names of a local file without the suffix, in the order in which they are tried; none for what is only on the hub. hub,
    config, splits: name, configuration and splits on the hub; several splits are read one after the other. revision: the pinned
    commit, None if unknown.
    """

    name: str
    stems: tuple[str, ...]
    hub: str
    splits: tuple[str, ...] = ("test",)
    config: str | None = None
    revision: str | None = None

    @property
    def files(self) -> list[str]:
        """The file names that are tried, in order."""
        return [stem + ending for stem in self.stems for ending in FORMATS]

    def read(self) -> tuple[list[Row], dict[str, Any]]:
        """(rows in order, facts about their source). Raises TaskError if neither a file nor the hub has the data."""
        folder = os.environ.get(DATA_VARIABLE) if self.stems else None
        if folder and not Path(folder).is_dir():
            raise TaskError(f"the data folder {folder} does not exist; give an existing one with --data-dir or {DATA_VARIABLE}")
        path = next((p for p in (Path(folder) / name for name in self.files) if p.is_file()), None) if folder else None
        return _read_file(path) if path is not None else self._read_hub(folder)

    def _read_hub(self, folder: str | None) -> tuple[list[Row], dict[str, Any]]:
        try:
            from datasets import DownloadConfig, load_dataset
            from datasets.utils import disable_progress_bars
        except ModuleNotFoundError as error:
            raise self._missing(folder, "the package datasets is not installed (pip install datasets)") from error
        disable_progress_bars()
        commit, reachable = self._commit()
        if not reachable and not self._cached():  # the library would retry for half a minute
            raise self._missing(folder, f"{self.hub} on the hub cannot be reached and is not in the cache of the package datasets")
        download = DownloadConfig(local_files_only=not reachable)
        rows: list[Row] = []
        try:
            for split in self.splits:
                rows += list(load_dataset(self.hub, self.config, split=split, revision=commit or self.revision, download_config=download))
        except (OSError, ValueError) as error:
            reason = str(error).strip().partition("\n")[0]
            raise self._missing(folder, f"{self.hub} on the hub cannot be read ({reason})") from error
        return rows, {"hub": self.hub, "revision": commit or self.revision, "pinned": self.revision is not None}

    def _cached(self) -> bool:
        """Whether the library finds the data without the hub: in its cache, or in a folder of that name."""
        from datasets.config import HF_DATASETS_CACHE
        from huggingface_hub.constants import HF_HUB_CACHE

        cached = [
            Path(HF_HUB_CACHE) / f"datasets--{self.hub.replace('/', '--')}",
            Path(HF_DATASETS_CACHE) / self.hub.replace("/", "___").lower(),
        ]
        return any(path.is_dir() for path in (Path(self.hub), *cached))

    def _commit(self) -> tuple[str | None, bool]:
        """(the commit that the revision currently refers to, whether the hub answered)."""
        from huggingface_hub import HfApi

        try:
            return HfApi().dataset_info(self.hub, revision=self.revision, timeout=HUB_SECONDS).sha, True
        except Exception:  # its exceptions depend on its HTTP library; the load that follows reports what matters
            return None, False

    def _missing(self, folder: str | None, hub: str) -> TaskError:
        if not self.stems:
            return TaskError(f"data set {self.name!r} is unavailable: {hub}")
        looked = f"{folder} has none of {', '.join(self.files)}" if folder else "no data folder was given (--data-dir)"
        return TaskError(f"data set {self.name!r} is unavailable: {looked}, and {hub}")


def pins(sources: Iterable[Source]) -> str:
    """A short hash of hub names and revisions. It is part of a task's version, so that another pin makes another run."""
    text = json.dumps([[s.name, s.hub, s.config, s.splits, s.revision] for s in sources])
    return hashlib.sha256(text.encode()).hexdigest()[:8]


def _read_file(path: Path) -> tuple[list[Row], dict[str, Any]]:
    try:
        data = path.read_bytes()
    except OSError as error:
        raise TaskError(f"cannot read {path}: {error.strerror}") from error
    return read_records(path, data).rows, {"file": path.name, "sha256": hashlib.sha256(data).hexdigest()}
