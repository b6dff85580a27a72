"""``halfway predictor import``."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from harness.errors import UserError


def import_checkpoint(
    file: Annotated[Path, typer.Argument(help="A checkpoint (.pt) of the authors' difficulty network.")],
    out: Annotated[Path, typer.Option("-o", "--out", help="Folder for the predictor.")],
    embedder: Annotated[
        str | None,
        typer.Option(help="hf:MODEL (hub name or folder) whose embeddings it takes; default: what the file names, or the authors'."),
    ] = None,
    revision: Annotated[
        str | None, typer.Option(help="Commit of that model on the hub; default: the pinned one of the authors' model.")
    ] = None,
) -> None:
    """Make a predictor of the authors' trained checkpoint; nothing is trained, and nothing in the file is executed."""
    try:
        from harness.predictor.lab import checkpoint_import
    except ImportError:
        raise UserError("reading a checkpoint needs torch: pip install 'halfway[trl]'") from None

    made = checkpoint_import.import_checkpoint(file, out, embedder, revision)
    typer.echo(f"attention predictor with adapters {made['width']} -> {made['units']} on embeddings of {made['embedder']}: {out}")
    typer.echo(f'in a suite: config = {{ predictor = "{out}", variant = "code" }} for dots or dots-rr')
