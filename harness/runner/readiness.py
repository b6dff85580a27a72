"""What keeps runs from starting, found before anything starts: a model's folder, a backend, a plugin in the Python that runs it."""

from __future__ import annotations

import json
import sys
from collections.abc import Sequence
from dataclasses import replace

from harness.data.provenance import built_here, model_folder, names_a_folder
from harness.data.sizes import misfits_by_settings
from harness.errors import UserError
from harness.machine.interpreters import ask, interpreter, status_elsewhere
from harness.registry import load_backend
from harness.spec import RunSpec

_LOOK = """
import json, os, sys
from harness.errors import UserError
from harness.files import import_from
from harness.registry import load_backend, load_task, strategy_entry
def reason(look, *arguments):
    try:
        look(*arguments)
    except UserError as error:
        return str(error)
def backend(name):
    status = load_backend(name).status()
    if not status.usable:
        raise UserError(status.reason)
asked = json.loads(sys.argv[1])
for folder in (os.getcwd(), *asked["folders"]):  # where a worker also looks for plugins
    import_from(folder)
print(json.dumps([
    *((f"cannot run backend {asked['backend']!r}", reason(backend, asked["backend"])),),
    *((f"cannot run strategy {name!r}", reason(strategy_entry, name, plugins)) for name, plugins in asked["strategies"]),
    *((f"cannot build task {name!r}", reason(load_task, name)) for name in asked["tasks"]),
]))
"""


def missing_models(runs: Sequence[RunSpec]) -> list[str]:
    """A sentence for every model that is given as a folder which is not there."""
    found: dict[str, str] = {}
    for run in runs:
        name = run.combination.model.name
        if not built_here(name) and names_a_folder(name) and model_folder(name, run.combination.task.folder) is None:
            sentence = f"combination {run.combination.name!r} names the model folder {name}, which is not there"
            found.setdefault(name, f"{sentence}; 'halfway import-model SOURCE {name}' makes one of a GGUF file, or of the source smollm2")
    return list(found.values())


def unfit_settings(runs: Sequence[RunSpec]) -> list[str]:
    """A sentence for everything that the runs' settings name or ask for and cannot have; no backend is asked."""
    return [*missing_models(runs), *misfits_by_settings(runs)]


def unready_backends(runs: Sequence[RunSpec]) -> list[str]:
    """A sentence for everything that the Python of a backend lacks: the backend itself, a strategy or a task of somebody's own."""
    grouped: dict[tuple[str, str], list[RunSpec]] = {}
    found: list[str] = []
    for run in runs:
        try:
            grouped.setdefault((interpreter(run), run.combination.backend), []).append(run)
        except UserError as error:
            found.append(str(error))
    for (python, backend), some in grouped.items():
        found += _unready_here(backend) if python == sys.executable else _unready_elsewhere(python, backend, some)
    return list(dict.fromkeys(found))


def refuse_unready(runs: Sequence[RunSpec]) -> None:
    """Raise UserError with the first thing that keeps one of the runs from starting on this machine."""
    for sentence in (*unfit_settings(runs), *unready_backends(runs)):
        raise UserError(sentence)


def _unready_here(backend: str) -> list[str]:
    status = load_backend(backend).status()
    if status.usable:
        return []
    return [f"backend {backend!r} cannot run here: {status_elsewhere(replace(status, name=backend)).reason}"]


def _unready_elsewhere(python: str, backend: str, runs: Sequence[RunSpec]) -> list[str]:
    strategies = {run.strategy.name: [run.strategy.plugin] if run.strategy.plugin else [] for run in runs}
    tasks = sorted({run.combination.task.name for run in runs})
    folders = sorted({run.combination.task.folder for run in runs})
    asked = {"backend": backend, "strategies": list(strategies.items()), "tasks": tasks, "folders": folders}
    try:
        answers = ask(python, _LOOK, json.dumps(asked))
    except UserError as error:
        return [str(error)]
    return [f"{python}, the Python of backend {backend!r}, {what}: {reason}" for what, reason in answers if reason]
