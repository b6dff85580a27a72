"""``halfway version``."""

from __future__ import annotations

import typer


def version() -> None:
    """Print the version of Halfway."""
    from harness import __version__

    typer.echo(f"halfway {__version__}")
