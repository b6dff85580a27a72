"""Run folders of a suite that belong to none of its present runs, and why: another backend, an earlier identity, other settings."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

from harness.records.ledger import LEDGER_NAME
from harness.records.run_folder import RunPaths, suite_folder
from harness.spec import IDENTITY_VERSION, RunSpec, SpecError


@dataclass(slots=True)
class OtherRuns:
    """Folders with a ledger below ``runs/SUITE`` whose name is the id of no run of the suite as it is read now.

    by_backend: runs of a backend that the suite does not use now. by_identity: runs whose id was computed by an earlier version of
    the identity (:data:`harness.spec.IDENTITY_VERSION`). other_settings: runs of an earlier state of the suite file, or unreadable.
    """

    by_backend: dict[str, list[Path]] = field(default_factory=dict)
    by_identity: dict[int, list[Path]] = field(default_factory=dict)
    other_settings: list[Path] = field(default_factory=list)

    def sentences(self) -> list[str]:
        """One sentence per kind for ``halfway status``: how many there are and what to do about them."""
        found = [
            f"{_folders(folders)} made by backend {backend}, which this suite does not use now; "
            f"'--backend {backend}' shows {'them' if len(folders) > 1 else 'it'}"
            for backend, folders in sorted(self.by_backend.items())
        ]
        found += [
            f"{_folders(folders)} made under an earlier identity (version {version}; this Halfway computes version {IDENTITY_VERSION}): "
            f"'halfway run' starts the suite's runs anew; keep the old folders for the version of Halfway that made them, or remove them"
            for version, folders in sorted(self.by_identity.items())
        ]
        if self.other_settings:
            found.append(f"{_folders(self.other_settings)} made with other settings of this suite file; they are left alone")
        return found


def other_runs(runs_dir: Path, runs: Sequence[RunSpec]) -> OtherRuns:
    """Sort every run folder of the suite that none of ``runs`` owns; never raises for what is in a folder."""
    found = OtherRuns()
    if not runs:
        return found
    folder, known = suite_folder(runs_dir, runs[0].suite), {run.run_id for run in runs}
    backends = {run.combination.backend for run in runs}
    if not folder.is_dir():
        return found
    for path in sorted(p for p in folder.iterdir() if p.name not in known and (p / LEDGER_NAME).is_file()):
        try:
            spec = RunSpec.load(RunPaths(path).spec)
        except SpecError:
            spec = None
        version = IDENTITY_VERSION if spec is not None and spec.run_id == path.name else _identity_version(path / LEDGER_NAME)
        if version < IDENTITY_VERSION:
            found.by_identity.setdefault(version, []).append(path)
        elif spec is not None and spec.combination.backend not in backends:
            found.by_backend.setdefault(spec.combination.backend, []).append(path)
        else:
            found.other_settings.append(path)
    return found


def _identity_version(ledger: Path) -> int:
    """The identity version in a ledger's first record, which ledgers of version 1 did not name."""
    try:
        with open(ledger, "rb") as file:
            return int(json.loads(file.readline()).get("identity", 1))
    except (OSError, ValueError, TypeError, AttributeError):
        return IDENTITY_VERSION


def _folders(folders: Sequence[Path]) -> str:
    return f"{len(folders)} run folders in {folders[0].parent} were" if len(folders) > 1 else f"the run folder {folders[0]} was"
