"""``halfway doctor``: what is installed here, which backends it can run, and on what hardware."""

from __future__ import annotations

from dataclasses import asdict
from typing import Any

from harness.backend import BackendStatus
from harness.errors import UserError
from harness.machine.environment import cache_folder, describe
from harness.machine.interpreters import status_elsewhere
from harness.registry import BACKENDS, load_backend


def examine() -> dict[str, Any]:
    """The environment and the status of every registered backend, here or in the interpreter configured for it; plain JSON values."""
    backends = [asdict(status_elsewhere(_status(name))) for name in sorted(BACKENDS)]
    return {**describe(threads=1), "cache": str(cache_folder()), "backends": backends}


def _status(name: str) -> BackendStatus:
    try:
        status: BackendStatus = load_backend(name).status()
    except UserError as error:
        return BackendStatus(name=name, usable=False, reason=str(error))
    except ImportError as error:
        return BackendStatus(name=name, usable=False, reason=f"cannot be imported: {error}; pip install 'halfway[{name}]'")
    return status


def report(found: dict[str, Any]) -> str:
    """What ``examine`` found, for a person."""
    gpus = ", ".join(found["gpus"]) or "none (runs use the CPU)"
    lines = [
        f"Python     {found['python']} on {found['platform']}",
        f"CPU        {found['cpu']}, {found['cores']} cores, {found['memory_gib']:g} GiB memory",
        f"GPU        {gpus}",
        f"cache      {found['cache']}",
        f"packages   {', '.join(f'{name} {version}' for name, version in found['versions'].items())}",
        "",
    ]
    for backend in found["backends"]:
        state = f"ready {backend['reason']}".strip() if backend["usable"] else f"cannot run here: {backend['reason']}"
        lines.append(f"backend {backend['name']}: {state}")
        if backend["versions"]:
            lines.append(f"  found      {', '.join(f'{name} {version}' for name, version in backend['versions'].items())}")
        if backend["supported"]:
            lines.append(f"  supported  {backend['supported']}")
    return "\n".join(lines)
