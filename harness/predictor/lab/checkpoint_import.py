"""Reading a checkpoint of the authors' difficulty network (ASTRAL-Group/data-efficient-llm-rl) as a predictor artifact.

Their file holds a state dict, bare or under ``model_state_dict`` beside the settings of its training. Only tensors and plain values
are read (``torch.load(weights_only=True)``), so nothing that a file contains is executed; widths are taken from the tensors' shapes.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch

from harness.errors import UserError
from harness.predictor.artifact import Arrays, save_artifact
from harness.predictor.attention import AttentionPredictor
from harness.predictor.lab.language_model import folder_fingerprint
from harness.predictor.network import check_network

#: The frozen model whose hidden states the authors' released predictor takes, and its width.
AUTHORS_MODEL, AUTHORS_WIDTH = "Qwen/Qwen2.5-Math-1.5B-Instruct", 1536
AUTHORS_REVISION = "aafeb0fc6f22cbf0eaeed126eff8be45b0360a35"
_PREFIXES = ("regressor.", "")
_ADAPTERS = {"sim_head.query_proj": "query", "sim_head.ref_proj": "reference"}
_HEAD = {"mlp.0": "calibration.0", "mlp.2": "calibration.1"}
_LAYER = re.compile(r"\.(\d+)\.weight$")


def import_checkpoint(file: Path, out: Path, embedder: str | None = None, revision: str | None = None) -> dict[str, Any]:
    """Make an artifact in folder ``out`` from a checkpoint and return its description.

    embedder: ``hf:MODEL`` (a hub name or a folder) whose embeddings the network was trained on; None takes the one that the file names, or
    the authors' for a network of their width. revision: its commit on the hub; None takes the pinned one of the authors' model. Raises
    UserError for a file that is not such a checkpoint, and for an embedder that cannot be known.
    """
    loaded = _load(file)
    arrays = _arrays(_state(loaded, file), file)
    units, width = arrays["query.layers.0.weight"].shape
    description = {
        "kind": AttentionPredictor.kind,
        "embedder": _embedder_id(embedder or _embedder_of(loaded, width, file), revision),
        "width": width,
        "units": units,
        "shared": False,
        "head": "code",
        "imported": {"file": file.name, "sha256": _digest(file)},
    }
    check_network(arrays, description)
    save_artifact(out, description, arrays)
    return description


def _digest(file: Path) -> str:
    with open(file, "rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


def _load(file: Path) -> Mapping[str, Any]:
    if not file.is_file():
        raise UserError(f"there is no file {file}")
    try:
        loaded = torch.load(file, map_location="cpu", weights_only=True)
    except Exception as error:  # torch, zipfile and pickle raise a dozen kinds for a file that is something else
        first = (str(error).strip().splitlines() or [type(error).__name__])[0]
        raise UserError(f"{file} is not a checkpoint of tensors and plain values, and nothing in it was executed ({first})") from None
    if not isinstance(loaded, Mapping):
        raise UserError(f"{file} holds a {type(loaded).__name__}, not a state dict of the authors' difficulty network")
    return loaded


def _state(loaded: Mapping[str, Any], file: Path) -> dict[str, torch.Tensor]:
    """The network's tensors under their names, whatever the module around it was called."""
    found = loaded.get("model_state_dict", loaded)
    state = {str(name): value for name, value in found.items() if isinstance(value, torch.Tensor)} if isinstance(found, Mapping) else {}
    for prefix in _PREFIXES:
        if any(name.startswith(f"{prefix}sim_head.") for name in state):
            return {name.removeprefix(prefix): tensor for name, tensor in state.items() if name.startswith(prefix)}
    raise UserError(
        f"{file} holds no adapters sim_head.query_proj and sim_head.ref_proj; it is no checkpoint of the authors' difficulty network"
    )


def _arrays(state: dict[str, torch.Tensor], file: Path) -> Arrays:
    """The tensors under the names of our artifacts."""
    modules = {module: name for theirs, ours in _ADAPTERS.items() for module, name in _adapter_modules(state, theirs, ours, file).items()}
    arrays: Arrays = {}
    for module, ours in (modules | _HEAD).items():
        for kind in ("weight", "bias"):
            if f"{module}.{kind}" not in state:
                what = "the calibration head that is computed from the references" if module in _HEAD else "a layer of its adapters"
                raise UserError(f"{file} lacks {module}.{kind}, {what}; only networks with scaling 'group_logit_temp' can be imported")
            tensor = state[f"{module}.{kind}"]
            arrays[f"{ours}.{kind}"] = (tensor if tensor.dtype == torch.float64 else tensor.float()).numpy()
    if arrays["calibration.0.weight"].shape[1:] != (2,):
        raise UserError(f"{file}: mlp.0.weight has shape {arrays['calibration.0.weight'].shape}, expected (units, 2)")
    return arrays


def _adapter_modules(state: dict[str, torch.Tensor], theirs: str, ours: str, file: Path) -> dict[str, str]:
    """Their module of each layer → our name: a norm, linear layers (their weights have two dimensions), a norm."""
    positions = sorted(int(m[1]) for name in state if name.startswith(f"{theirs}.") and (m := _LAYER.search(name)))
    linear = [i for i in positions if state[f"{theirs}.{i}.weight"].ndim == 2]
    if len(positions) < 3 or linear != positions[1:-1]:
        raise UserError(f"{file}: {theirs} is not a norm, linear layers and a norm")
    names = ["input_norm", *(f"layers.{i}" for i in range(len(linear))), "output_norm"]
    return {f"{theirs}.{i}": f"{ours}.{name}" for i, name in zip(positions, names, strict=True)}


def _embedder_of(loaded: Mapping[str, Any], width: int, file: Path) -> str:
    config = loaded.get("config")
    name = config.get("model_name") if isinstance(config, Mapping) else None
    if not name and width != AUTHORS_WIDTH:
        raise UserError(f"{file} does not say whose embeddings it takes ({width} wide); name the model with --embedder hf:MODEL")
    return f"hf:{name or AUTHORS_MODEL}"


def _embedder_id(name: str, revision: str | None) -> str:
    """Id under which the embedder will be found again (``embedders.embedder_of``)."""
    family, _, model = name.partition(":")
    if family != "hf" or not model:
        raise UserError(f"the embedder of an imported checkpoint is a language model, hf:MODEL, not {name!r}")
    if Path(model).is_dir():
        return f"hf:{model}@{folder_fingerprint(Path(model))}"
    found = revision or (AUTHORS_REVISION if model == AUTHORS_MODEL else None)
    if found is None:
        raise UserError(f"name the commit of {model} with --revision, so that its embeddings are always the same")
    return f"hf:{model}@{found}"
