"""What a run was made of, for its record: backend, model with commit, every set of questions with hash and source.

A run's identity says which questions were asked for; where they come from a file or from the hub, only their content hash says
which ones it got. Every attempt writes it down, and an attempt that would go on with other questions refuses.
"""

from __future__ import annotations

import hashlib
import json
import os
import re
import sys
from functools import lru_cache
from pathlib import Path
from typing import Any

from harness.errors import UserError
from harness.records.ledger_records import Provenance
from harness.registry import load_task, make_task_builder, task_builder
from harness.spec import ModelSpec, RunSpec, TaskSpec
from harness.task import TaskData

#: Names the folder in which task builders look for data files before they ask the hub.
DATA_VARIABLE = "HALFWAY_DATA"
EMBEDDED = "embedded:"
#: The simulator's policy.
SIMULATED = "simulated"
#: Seconds for the one question that is asked of the hub.
HUB_SECONDS = 10.0


def use_data_folder(folder: Path | None) -> None:
    """Make ``folder`` the data folder of this process and of the workers it starts; None leaves it as it is."""
    if folder is not None:
        if not folder.is_dir():
            raise UserError(f"--data-dir {folder}: there is no such folder")
        os.environ[DATA_VARIABLE] = str(folder.resolve())


def built_task(task: TaskSpec) -> TaskData:
    """The task of a run from its registered builder; built once per process, version and data folder."""
    return _built(task.name, json.dumps(task.config, sort_keys=True), task.folder, task.version, os.environ.get(DATA_VARIABLE, ""))


@lru_cache(maxsize=4)
def _built(name: str, config: str, folder: str, _version: str, _data: str) -> TaskData:
    task: TaskData = make_task_builder(name, json.loads(config), folder).build()
    return task


def provenance(spec: RunSpec) -> Provenance:
    """What a run is made of; a task whose questions its engine makes up as it goes has none to record."""
    backend, model = spec.combination.backend, model_facts(spec.combination.model, spec.combination.task.folder)
    if not hasattr(load_task(spec.combination.task.name), "build"):
        return Provenance(backend, model, {})
    task = built_task(spec.combination.task)
    questions = {name: {"questions": len(task.split(name)), "hash": task.split_hash(name)} for name in task.splits}
    return Provenance(backend, model, questions, dict(task.sources))


def built_here(model: str) -> bool:
    """Whether a model is made by a backend's preparation, with its difficulty predictor, rather than loaded from a folder or the hub."""
    return model.startswith(EMBEDDED) or model == SIMULATED


def names_a_folder(name: str) -> bool:
    """Whether a model's name can only be a path: a hub id has no dot or slash in front and at most one slash inside."""
    return re.search(r"^[./~]|/.*/|/$", name) is not None


def model_folder(name: str, suite_folder: str) -> Path | None:
    """The folder that a model's name means, beside the suite file or else in the current folder; None for what is no folder."""
    if built_here(name):
        return None
    return next((path for path in (Path(suite_folder, name), Path(name)) if path.is_dir()), None)


def model_facts(model: ModelSpec, suite_folder: str = "") -> dict[str, Any]:
    """Name and revision of a model as asked for; the hub's commit, or a folder's digest, as found (None if it cannot be)."""
    facts: dict[str, Any] = {"name": model.name, "revision": model.revision}
    if built_here(model.name):
        return facts
    folder = model_folder(model.name, suite_folder)
    return {**facts, "digest": _digest(folder)} if folder is not None else {**facts, "commit": _commit(model)}


def check_same_questions(before: Provenance | None, now: Provenance, run: str) -> None:
    """Raise UserError if a run would go on with other questions than it began with."""
    if before is None:
        return
    then, here = before.questions, now.questions
    changed = [name for name in then if name in here and then[name]["hash"] != here[name]["hash"]]
    if changed:
        name = changed[0]
        raise UserError(
            f"run {run} began with other questions: {name} was {_where(before, name)} and is now {_where(now, name)}; give the "
            "--data-dir it began with, or move the run's folder away and run it again"
        )


def unpinned(runs: list[RunSpec]) -> list[str]:
    """Models and data sets of the hub that runs would take at whatever commit is newest; in the order of the suite."""
    found: dict[str, None] = {}
    for run in runs:
        model, task = run.combination.model, run.combination.task
        if model.revision is None and not built_here(model.name) and model_folder(model.name, task.folder) is None:
            found[f"model {model.name}"] = None
        names = getattr(task_builder(task), "unpinned", None)
        found.update(dict.fromkeys(names() if names is not None else ()))
    return list(found)


def _where(record: Provenance, name: str) -> str:
    source = record.sources.get(name, {})
    origin = source.get("file") or (f"{source['hub']}@{source.get('revision') or 'unknown'}" if source.get("hub") else "")
    split = record.questions[name]
    return f"{split['questions']} questions, hash {split['hash'][:8]}{f', from {origin}' if origin else ''}"


def _digest(folder: Path) -> str:
    """Of names and sizes of all files, and of the text of the small ones: weights of many gigabytes are not read twice."""
    digest = hashlib.sha256()
    for path in sorted(p for p in folder.rglob("*") if p.is_file()):
        size = path.stat().st_size
        digest.update(f"{path.relative_to(folder)}\0{size}\0".encode())
        if size <= 1 << 22:
            digest.update(path.read_bytes())
    return digest.hexdigest()[:20]


def _commit(model: ModelSpec) -> str | None:
    """The commit that a hub model's revision stands for: itself, or what the hub, or else its cache on this machine, says."""
    if model.revision and re.fullmatch(r"[0-9a-f]{40}", model.revision):
        return model.revision
    hub: Any = sys.modules.get("huggingface_hub")
    if hub is None:
        return None  # no engine that loads models from the hub is at work
    try:
        found: str | None = hub.HfApi().model_info(model.name, revision=model.revision, timeout=HUB_SECONDS).sha
    except Exception:  # unreachable or unknown: the engine that loads the model says so
        cached = hub.try_to_load_from_cache(model.name, "config.json", revision=model.revision)
        found = Path(cached).parent.name if isinstance(cached, str) else None
    return found
