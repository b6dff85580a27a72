"""Which verl is supported, and whether the installed one has the methods that this adapter overrides or calls.

Importing this module imports neither verl nor Ray: versions come from package metadata, so ``halfway doctor`` stays instant.
"""

from __future__ import annotations

import importlib.util
from typing import Any

from packaging.specifiers import SpecifierSet
from packaging.version import Version

from backends.common.installed import lacking_methods
from backends.common.vllm_engine import DISTRIBUTIONS
from harness.errors import UserError

SUPPORTED = "verl ==0.9.1"
#: Tested together; shown by ``halfway doctor``.
PACKAGES = ("verl", "TransferQueue", "ray", "tensordict", "torch", "transformers", "cachetools", *DISTRIBUTIONS, "sglang")
#: verl's own extra pins 0.24; its stock rollout was run on the CPU build of 0.32.
SUPPORTED_VLLM = ">=0.24,<0.33"
_OWN_ENVIRONMENT = (
    "install 'halfway[verl]' in an environment of its own (nox -s verl_env) and name its Python in HALFWAY_PYTHON_VERL or execution.python"
)
_REQUIRED = ("verl", "TransferQueue", "ray", "torch", "transformers", "cachetools")


def unsupported_reason(versions: dict[str, str], has_trl: bool | None = None) -> str:
    """Why this environment cannot run the verl backend, as a sentence; empty if it can."""
    missing = [p for p in _REQUIRED if p not in versions]
    if missing:
        return f"{', '.join(missing)} not installed; {_OWN_ENVIRONMENT}"
    version = Version(versions["verl"])
    if version not in SpecifierSet(SUPPORTED.removeprefix("verl ")):
        return f"verl {version} is not supported (supported: {SUPPORTED}); pip install 'halfway[verl]'"
    if importlib.util.find_spec("trl") is not None if has_trl is None else has_trl:
        return f"trl is installed beside it, and verl 0.9.1 does not start then; {_OWN_ENVIRONMENT}"
    return ""


#: What the trainer subclass overrides or calls, with the parameters it relies on.
TRAINER_SEAMS: dict[str, tuple[str, ...]] = {
    "prepare_step": (),
    "on_step_begin": (),
    "on_step_end": (),
    "_validate": (),
    "_save_checkpoint": (),
    "_init_dataloader": (),
    "_compute_metrics": ("batch", "metrics"),
    "step": ("metrics", "timing_raw"),
    "_balance_batch": ("batch", "metrics"),
    "_compute_old_log_prob": ("batch", "metrics"),
    "_compute_ref_log_prob": ("batch", "metrics"),
    "_compute_advantage": ("batch", "metrics"),
    "_update_actor": ("batch", "metrics"),
    "_get_required_batch_multiple": ("dp_size",),
    "init": (),
    "fit": ("agent_loop_manager",),
}
BUFFER_SEAMS: dict[str, tuple[str, ...]] = {
    "sample": ("global_steps", "partition_id", "batch_size"),
    "_sync_metadata_from_transfer_queue": (),
}


def check_seams(trainer: Any, buffer: Any) -> None:
    """Raise UserError naming every method or parameter that the installed trainer or replay buffer lacks."""
    lacking = [f"{owner.__name__}.{name}" for owner, seams in ((trainer, TRAINER_SEAMS), (buffer, BUFFER_SEAMS))
               for name in lacking_methods(owner, seams)]  # fmt: skip
    if lacking:
        raise UserError(f"this verl lacks {', '.join(lacking)}, which Halfway builds on; supported: {SUPPORTED}")
