"""Options and arguments that several commands share, defined once."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated, Any

import typer

SuiteName = Annotated[str, typer.Argument(metavar="SUITE", help="A suite's name ('halfway list' shows them) or a path to a .toml file.")]
RunsDir = Annotated[Path, typer.Option(help="Folder that holds all runs.")]
Plugins = Annotated[list[str] | None, typer.Option("--plugin", metavar="MODULE:CLASS", help="A strategy from your own code; repeatable.")]
Only = Annotated[
    list[str] | None,
    typer.Option(metavar="KEY=VALUE", help="Only runs with this combination, strategy, seed, backend or run; repeatable."),
]
OnBackend = Annotated[str | None, typer.Option("--backend", metavar="NAME", help="Run all combinations on this backend instead.")]
AsJson = Annotated[bool, typer.Option("--json", help="Print JSON for a script.")]
Untuned = Annotated[bool, typer.Option("--untuned", help="Leave settings found by 'halfway tune' aside.")]
DataDir = Annotated[
    Path | None,
    typer.Option(metavar="DIR", help="Folder with data files, looked at before the hub; also HALFWAY_DATA.", show_default=False),
]
MaxParallel = Annotated[int | None, typer.Option(min=1, help="Runs at a time; default: as many as cores or GPUs allow.")]
RetryFailed = Annotated[bool, typer.Option("--retry-failed", help="Also go on with runs that failed.")]
Executor = Annotated[str, typer.Option(metavar="local|ray", help="Where runs go: this machine, or a running Ray cluster.")]


def print_json(value: Any) -> None:
    """Print a value as indented JSON, for scripts."""
    typer.echo(json.dumps(value, indent=2))
