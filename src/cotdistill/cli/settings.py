"""The command that shows what an experiment file may contain, from the settings themselves."""

from __future__ import annotations

import inspect
import json
import textwrap
from collections.abc import Iterator
from typing import TYPE_CHECKING, Annotated, Any, Literal, get_args, get_origin

import typer

from cotdistill.cli.common import BEGIN, AsJson, app, put, put_json

if TYPE_CHECKING:
    from pydantic.fields import FieldInfo

    from cotdistill.config.base import Settings

_WIDTH = 100
_OF_THE_FILE = ("name", "folder")
"""What an experiment need not say, because it follows from where its file is."""
_NOT_WRITTEN = ("settings",)
"""A field that is not a key of the file: it holds all others at the top of the file."""


@app.command(rich_help_panel=BEGIN)
def settings(
    key: Annotated[str, typer.Argument(metavar="KEY", help="a section or a key, e.g. training.loss")] = "",
    as_json: AsJson = False,
) -> None:
    """Show what an experiment file may contain: every key of a section, or one key, with default and meaning."""
    if as_json:
        sections, holders = _find(key)
        name = key.rpartition(".")[2]
        schemas = [model.model_json_schema() for model in sections or holders]
        put_json([s if sections else s["properties"][name] for s in schemas])
    else:
        put(*described(key).splitlines())


def described(key: str) -> str:
    """What is said of a section or of one key. Raises ConfigError for a key that no section has."""
    sections, holders = _find(key)
    if sections:
        return "\n\n".join("\n".join(_describe(model, key)) for model in sections)
    return "\n".join(dict.fromkeys("\n".join(_describe_key(model, key, key)) for model in holders))


def section_keys(key: str = "", within: frozenset[type[Settings]] = frozenset()) -> Iterator[str]:
    """The keys of all sections below ``key``, itself first; a section inside itself is not entered again."""
    yield key
    sections, _ = _find(key)
    fields = {name: field for model in sections for name, field in model.model_fields.items()}
    for name, field in fields.items():
        inner = set(_sections(field.annotation))
        if name not in _NOT_WRITTEN and inner - within:
            yield from section_keys(f"{key}.{name}" if key else name, within | inner)


def _find(key: str) -> tuple[list[type[Settings]], list[type[Settings]]]:
    """The sections that ``key`` names (several if it has variants, none if it holds a value), and its holders.

    Raises ConfigError for a key that no section has.
    """
    from cotdistill.config import CellConfig, Experiment
    from cotdistill.errors import ConfigError, nearest

    sections: list[type[Settings]] = [CellConfig, Experiment]
    holders: list[type[Settings]] = []
    for part in key.split(".") if key else []:
        holders = [model for model in sections if part in model.model_fields]
        if not holders:
            known = {name for model in sections for name in model.model_fields}
            remedy = nearest(part, known) if known else "the key above it holds a value, not settings"
            raise ConfigError(f"unknown setting {key!r}", where="settings", remedy=remedy)
        found = [section for model in holders for section in _sections(model.model_fields[part].annotation)]
        sections = list(dict.fromkeys(found))
    return sections, holders


def _sections(hint: Any) -> Iterator[type[Settings]]:
    """The sections within a type: of a union, a list or a mapping, all that it may hold."""
    from cotdistill.config.base import Settings

    if inspect.isclass(hint) and get_origin(hint) is None:
        if issubclass(hint, Settings):
            yield hint
        return
    for part in get_args(hint):
        yield from _sections(part)


def _describe(model: type[Settings], key: str) -> Iterator[str]:
    title = f"{key} ({model.__name__})" if key else {"CellConfig": "of every cell"}.get(model.__name__, "of the file")
    yield from _wrapped(f"{title}: {_meaning(model)}", "")
    for name in model.model_fields:
        if model.__name__ == "Experiment" and name in _NOT_WRITTEN:
            continue
        yield from _describe_key(model, name, f"{key}.{name}" if key else name, indent="  ")


def _describe_key(model: type[Settings], shown: str, key: str, *, indent: str = "") -> Iterator[str]:
    """The lines of one key of a section: its default, what it may be and what it means."""
    name = key.rpartition(".")[2]
    field = model.model_fields[name]
    more = [f"see: cotdistill settings {key}"] if any(True for _ in _sections(field.annotation)) else []
    default = "(of the file)" if model.__name__ == "Experiment" and name in _OF_THE_FILE else _default(field)
    words = [*_choices(field.annotation), *([field.description] if field.description else []), *more]
    yield from _wrapped(f"{shown}: {default}" + (f"  # {'; '.join(words)}" if words else ""), indent)


def _meaning(model: type[Settings]) -> str:
    return " ".join((inspect.getdoc(model) or "").replace("``", "`").split())


def _wrapped(text: str, indent: str) -> list[str]:
    return textwrap.wrap(text, _WIDTH, initial_indent=indent, subsequent_indent=indent + "    ", break_on_hyphens=False)


def _default(field: FieldInfo) -> str:
    from cotdistill.config.base import Settings

    if field.is_required():
        return "(required)"
    value = field.get_default(call_default_factory=True)
    if isinstance(value, Settings):
        kind = getattr(value, "kind", None)
        return f"{{kind: {kind}}}" if kind else "{}"
    if isinstance(value, tuple):
        value = [getattr(one, "kind", one) for one in value]
    return value if isinstance(value, str) and value else "null" if value is None else json.dumps(value, default=str)


def _choices(hint: Any) -> list[str]:
    """The words that a setting may be, if it is one of a few."""
    literals = [part for part in _flat(hint) if get_origin(part) is Literal]
    choices = [str(choice) for literal in literals for choice in get_args(literal)]
    return [" | ".join(choices)] if len(choices) > 1 else []


def _flat(hint: Any) -> Iterator[Any]:
    yield hint
    if get_origin(hint) is not Literal:
        for part in get_args(hint):
            yield from _flat(part)
