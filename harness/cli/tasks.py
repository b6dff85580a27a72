"""``halfway tasks``: the tasks that a suite can name, with their settings."""

from __future__ import annotations

import inspect
import sys
import typing
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer

from harness.cli.options import AsJson, print_json
from harness.cli.tables import print_table
from harness.errors import UserError

if TYPE_CHECKING:
    from pydantic import BaseModel


def tasks(
    name: Annotated[str | None, typer.Argument(help="Show this one with all its settings; module:attr for one of your own.")] = None,
    as_json: AsJson = False,
) -> None:
    """Show the tasks that a suite can name: where questions come from, and their settings with defaults."""
    rows = task_rows(None if name is None else [name])
    if as_json:
        print_json(rows)
    elif name is not None:
        _print_one(rows[0])
    else:
        table = [[row["name"], row["summary"], _needed(row["settings"])] for row in rows]
        print_table(["task", "what it is", "settings that must be given"], table)
        typer.echo(f"{len(rows)} tasks; 'halfway tasks NAME' shows the settings of one")


def task_rows(names: Sequence[str] | None = None) -> list[dict[str, Any]]:
    """Every registered task (or these): name, one line, settings as :func:`settings_of` gives them. Raises UserError for an unknown one."""
    from harness.registry import TASKS, load_task

    rows = []
    for name in TASKS if names is None else names:
        builder = load_task(name)
        model = _config_of(builder)
        rows.append({"name": name, "summary": _summary(builder), "settings": settings_of(model) if model is not None else {}})
    return rows


def settings_of(model: type[BaseModel]) -> dict[str, dict[str, Any]]:
    """Setting → ``default`` (None where it is ``required``), ``description``, and ``choices`` where only some values are allowed."""
    found: dict[str, dict[str, Any]] = {}
    defaults = model.model_construct().model_dump(mode="json", warnings=False)
    for key, field in model.model_fields.items():
        found[key] = {
            "required": field.is_required(),
            "default": defaults.get(key),
            "description": field.description or "",
            "choices": _choices(field.annotation),
        }
    return found


def print_settings(settings: Mapping[str, Mapping[str, Any]]) -> None:
    """One line per setting: its default, its description, and what it may be."""
    for key, setting in settings.items():
        value = setting["default"]
        default = "(must be given)" if setting["required"] else "(not set)" if value is None else f"= {_toml(value)}"
        choices = f"  [one of {', '.join(map(str, setting['choices']))}]" if setting["choices"] else ""
        typer.echo(f"  {key} {default}  {setting['description']}{choices}")


def _config_of(builder: Any) -> type[BaseModel] | None:
    """A builder's settings: its attribute ``Config``, or the class of its module named after it, ``MathsConfig`` of ``Maths``."""
    from pydantic import BaseModel

    module = sys.modules.get(getattr(builder, "__module__", ""))
    found = getattr(builder, "Config", None) or getattr(module, f"{builder.__name__}Config", None)
    return found if isinstance(found, type) and issubclass(found, BaseModel) else None


def _summary(builder: Any) -> str:
    """The first sentence of the module's documentation, or of the class's where the module has none."""
    module = sys.modules.get(getattr(builder, "__module__", ""))
    text = inspect.getdoc(module) or inspect.getdoc(builder) or ""
    return text.partition("\n\n")[0].replace("\n", " ").replace("``", "").removesuffix(".")


def _choices(annotation: Any) -> list[Any]:
    if typing.get_origin(annotation) is Literal:
        return list(typing.get_args(annotation))
    return [choice for part in typing.get_args(annotation) for choice in _choices(part)]


def _needed(settings: Mapping[str, Mapping[str, Any]]) -> str:
    return ", ".join(key for key, setting in settings.items() if setting["required"])


def _print_one(row: Mapping[str, Any]) -> None:
    typer.secho(row["name"], bold=True, nl=False)
    typer.echo(f": {row['summary']}\n")
    if not row["settings"]:
        raise UserError(f"task {row['name']!r} does not say what settings it has (a pydantic class in its attribute Config)")
    print_settings(row["settings"])


def _toml(value: Any) -> str:
    if isinstance(value, bool):
        return "true" if value else "false"
    return f'"{value}"' if isinstance(value, str) else str(value)
