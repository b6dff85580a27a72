"""Which TRL versions are supported, and whether the installed one has the methods that this adapter overrides or calls.

Importing this module does not import TRL: versions come from package metadata, so ``halfway doctor`` stays instant.
"""

from __future__ import annotations

import inspect
from typing import Any

from packaging.specifiers import SpecifierSet
from packaging.version import Version

from backends.common.installed import lacking_methods
from backends.common.vllm_engine import DISTRIBUTIONS
from harness.errors import UserError

SUPPORTED = "trl >=1.14.2, !=1.15.0, <1.17"  # 1.15.0 computes no log-probs where Triton is missing (CPU)
#: Tested together; shown by ``halfway doctor``.
PACKAGES = ("trl", "torch", "transformers", "accelerate", "datasets", "peft", *DISTRIBUTIONS)
#: TRL 1.16 takes 0.22 – 0.31 (1.14: up to 0.30); those from 0.27 on are built for torch 2.13.
SUPPORTED_VLLM = ">=0.27,<0.32"


def unsupported_reason(versions: dict[str, str]) -> str:
    """Why this environment cannot run the TRL backend, as a sentence; empty if it can."""
    missing = [p for p in ("trl", "torch", "transformers", "accelerate", "datasets") if p not in versions]
    if missing:
        return f"{', '.join(missing)} not installed; pip install 'halfway[trl]'"
    version = Version(versions["trl"])
    if version not in SpecifierSet(SUPPORTED.removeprefix("trl ")):
        return f"trl {version} is not supported (supported: {SUPPORTED}); pip install 'halfway[trl]'"
    return ""


#: Private or experimental names that the adapter overrides or calls, with the parameters it relies on.
SEAMS: dict[str, tuple[str, ...]] = {
    "_generate_and_score_completions": ("inputs",),
    "_prepare_inputs": ("generation_batch",),
    "_generate_single_turn": ("prompt_ids", "images", "multimodal_fields", "num_generations"),
    "_get_per_token_logps_and_entropies": ("model", "input_ids", "attention_mask", "logits_to_keep"),
    "compute_loss": ("model", "inputs"),
    "training_step": ("model", "inputs", "num_items_in_batch"),
    "_save_checkpoint": ("model", "trial"),
    "log": ("logs",),
}


def check_seams(trainer_class: Any) -> None:
    """Raise UserError naming every method or parameter that the installed ``GRPOTrainer`` lacks."""
    lacking = lacking_methods(trainer_class, SEAMS)
    if "rollout_func" not in inspect.signature(trainer_class.__init__).parameters:
        lacking.append("rollout_func")
    if lacking:
        raise UserError(f"this TRL lacks {', '.join(lacking)}, which Halfway builds on; supported: {SUPPORTED}")
