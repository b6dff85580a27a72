"""``halfway list``: the suites that come with Halfway."""

from __future__ import annotations

from typing import Any

import typer

from harness.cli.options import AsJson, print_json


def list_suites(as_json: AsJson = False) -> None:
    """Show the suites that come with Halfway."""
    from harness.suite.reader import load_suite
    from harness.suite.suite import plan, shipped_suites

    found: list[dict[str, Any]] = []
    for path in shipped_suites():
        suite = load_suite(path)
        found.append({
            "name": path.stem, "description": suite.description, "combinations": suite.combinations,
            "strategies": suite.labels, "seeds": len(suite.seeds), "runs": len(plan(suite)),
        })  # fmt: skip
    if as_json:
        print_json(found)
        return
    for row in found:
        typer.echo(f"{row['name']}: {row['description']}")
        counts = f"{len(row['combinations'])} combinations x {len(row['strategies'])} strategies x {row['seeds']} seeds"
        typer.echo(f"  {row['runs']} runs ({counts})")
        typer.echo(f"  combinations  {', '.join(row['combinations'])}")
        typer.echo(f"  strategies    {', '.join(row['strategies'])}")
