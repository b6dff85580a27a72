"""``halfway strategies``, ``check`` and ``new-strategy``: what there is, whether it keeps its promises, and how to add one."""

from __future__ import annotations

import inspect
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from textwrap import indent
from typing import TYPE_CHECKING, Annotated, Any

import typer

from harness.cli.tables import print_table

if TYPE_CHECKING:
    from harness.strategy import Part

Plugins = Annotated[list[str] | None, typer.Option("--plugin", metavar="MODULE:CLASS", help="A strategy from your own code; repeatable.")]
AsJson = Annotated[bool, typer.Option("--json", help="Print JSON for a script.")]


def strategies(
    name: Annotated[str | None, typer.Argument(help="Show this one with all its settings; selector+replay is a name, too.")] = None,
    plugin: Plugins = None,
    as_json: AsJson = False,
) -> None:
    """Show the strategies that can be named in a suite: what each observes, where it acts, what it costs, where it runs."""
    rows = strategy_rows(plugin or [], [name] if name is not None else None)
    if as_json:
        typer.echo(json.dumps(rows, indent=2))
    elif name is not None:
        _print_one(rows[0])
    else:
        _print_all(rows)


def check(name: Annotated[str, typer.Argument(help="A strategy.")], plugin: Plugins = None, as_json: AsJson = False) -> None:
    """Run the contract suite on a strategy. Exit code 1 if it breaks a promise."""
    from harness.testing.strategy_contract import check_strategy

    results = check_strategy(name, plugin or [])
    if as_json:
        rows = [{"check": r.name, "passed": r.passed, "message": r.message} for r in results]
        typer.echo(json.dumps(rows, indent=2))
    else:
        print_table(["promise", "kept", "what was seen"], [[r.name, "yes" if r.passed else "NO", r.message] for r in results])
        broken = sum(not r.passed for r in results)
        typer.echo(f"{name} keeps {len(results) - broken} of {len(results)} promises")
    if not all(r.passed for r in results):
        raise typer.Exit(1)


def new_strategy(
    name: Annotated[str, typer.Argument(help="Its name: lower-case words joined by '-'.")],
    into: Annotated[Path, typer.Option(metavar="DIR", help="Folder in which the package's folder is made.")] = Path(),
) -> None:
    """Write a minimal installable package with a strategy that works, and a test that runs the contract."""
    from harness.cli.strategy_template import write_package

    folder = write_package(name, into)
    for file in sorted(folder.iterdir()):
        typer.echo(f"wrote {file}")
    typer.echo(f"next: pip install -e {folder}, then halfway check {name}")


def strategy_rows(plugins: Sequence[str], names: Sequence[str] | None = None) -> list[dict[str, Any]]:
    """Every known strategy (or these): name, origin, words, requirements, backends, settings with defaults and tuning ranges."""
    from harness.registry import BACKENDS, refusal, strategy_entry, strategy_references

    rows = []
    for name in strategy_references(plugins) if names is None else names:
        entry = strategy_entry(name, plugins)
        words, defaults = entry.composition, entry.resolve_config({})
        rows.append({
            "name": name, "origin": entry.origin, "summary": words.summary, "source": words.source, "observes": words.observes,
            "acts": words.acts, "costs": words.costs, "rule": _rule((words.selector, words.replay)), "requires": sorted(entry.requires),
            "uncharged_oracle": entry.uncharged_oracle,
            "backends": {backend: refusal(entry, backend) for backend in BACKENDS},
            "settings": {
                key: {"default": defaults[key], "description": text, "tune": _tuned(part, key)}
                for key, (part, text) in entry.fields.items()
            },
        })  # fmt: skip
    return rows


def _rule(parts: Sequence[type[Part[Any]]]) -> str:
    """The docstrings of a strategy's parts: the formula, what was assumed, and what differs from the paper or its code."""
    from harness.strategies.uniform import Uniform
    from harness.strategy import Replay

    shown = [part for part in parts if part.__doc__ and part not in (Uniform, Replay)]
    return "\n\n".join(inspect.cleandoc(str(part.__doc__)) for part in shown or parts[:1])


def _tuned(part: type[Part[Any]], key: str) -> dict[str, Any] | None:
    """The range in which ``halfway tune`` looks for a setting, as the strategy declares it; None for one it leaves alone."""
    extra = part.Config.model_fields[key].json_schema_extra
    found = extra.get("tune") if isinstance(extra, dict) else None
    return found if isinstance(found, dict) else None


def _range_in_words(tune: Mapping[str, Any] | None) -> str:
    """A declared range, whatever a plugin has written there; `halfway tune` is what checks it."""
    if not tune:
        return ""
    if "choices" in tune:
        return f"  [tuned: one of {tune['choices']}]"
    if "factor" in tune:
        return f"  [tuned: within a factor of {tune['factor']}]"
    return f"  [tuned: {tune.get('low')} to {tune.get('high')}{', log scale' if tune.get('log') else ''}]"


def _print_all(rows: Sequence[dict[str, Any]]) -> None:
    table = [[row["name"], row["observes"], row["acts"], row["costs"], _where(row)] for row in rows]
    print_table(["strategy", "observes", "acts", "costs beyond its batch", "backends"], table)
    for row in rows:
        for words in sorted(filter(None, row["backends"].values())):
            typer.echo(words)
    typer.echo(
        f"{len(rows)} strategies; 'halfway strategies NAME' shows the settings of one; NAME may be selector+replay, such as mopps+rr"
    )


def _where(row: dict[str, Any]) -> str:
    return ", ".join(backend for backend, reason in row["backends"].items() if not reason) or "none"


def _print_one(row: dict[str, Any]) -> None:
    typer.secho(row["name"], bold=True, nl=False)
    typer.echo(f" ({row['origin']}): {row['summary']}")
    free = " (not charged: an upper bound)" if row["uncharged_oracle"] else ""
    shown = {
        "source": row["source"], "observes": row["observes"], "acts": row["acts"], "costs": row["costs"],
        "requires": ", ".join(row["requires"]) + free, "backends": _where(row),
    }  # fmt: skip
    for key, value in shown.items():
        if value:
            typer.echo(f"  {key:9} {value}")
    for words in filter(None, row["backends"].values()):
        typer.echo(f"  {words}")
    typer.echo("\n" + indent(row["rule"], "  ") + "\n")
    for key, setting in row["settings"].items():
        words = f"  {setting['description']}" if setting["description"] else ""
        typer.echo(f"  {key} = {setting['default']}{words}{_range_in_words(setting['tune'])}")
