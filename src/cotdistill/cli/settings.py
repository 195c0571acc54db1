"""The command that shows what an experiment file may contain, from the settings themselves."""

from __future__ import annotations

import inspect
import json
import textwrap
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from functools import cache
from typing import TYPE_CHECKING, Annotated, Any, get_args, get_origin

import typer
import yaml

from cotdistill.cli.common import BEGIN, AsJson, app, put, put_json
from cotdistill.config.shorthand import PART

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
    schema: Annotated[
        bool, typer.Option("--schema", help="print the JSON schema of experiment files, for editors")
    ] = False,
    as_json: AsJson = False,
) -> None:
    """Show what an experiment file may contain: every key of a section, or one key, with type, default, meaning and
    example."""
    if schema:
        from cotdistill.config.schema import file_schema

        put(*json.dumps(file_schema(), indent=1, ensure_ascii=False).splitlines())
    elif as_json:
        put_json(rows(key))
    else:
        put(*described(key).splitlines())


def described(key: str) -> str:
    """What is said of a section or of one key. Raises ConfigError for a key that no section has."""
    sections, holders = _find(key)
    name = key.rpartition(".")[2]
    own = dict.fromkeys("\n".join(_describe_key(Setting.of(model, name), key, key)) for model in holders)
    return "\n\n".join([*(["\n".join(own)] if own else []), *("\n".join(_describe(one, key)) for one in sections)])


def rows(key: str) -> list[dict[str, Any]]:
    """The same for programs: one row a key, with the section that holds it."""
    sections, holders = _find(key)
    of_holders = [(model, key.rpartition(".")[2], key) for model in holders]
    inner = [(model, name, f"{key}.{name}" if key else name) for model in sections for name in _names(model)]
    return [
        {"key": shown, "section": model.__name__, **asdict(Setting.of(model, name))}
        for model, name, shown in (*of_holders, *inner)
    ]


@dataclass(frozen=True, slots=True)
class Setting:
    """One key of a section. ``default`` is as it is printed; an ``example`` is a value that is not the default, where
    there is one."""

    type: str
    required: bool
    default: str
    meaning: str
    example: Any
    section: bool
    """Whether it holds settings of its own."""

    @classmethod
    def of(cls, model: type[Settings], name: str) -> Setting:
        field = model.model_fields[name]
        schema = _schema(model)
        node = schema["properties"][name]
        of_file = model.__name__ == "Experiment" and name in _OF_THE_FILE
        return cls(
            type=words(node, schema.get("$defs", {})),
            required=field.is_required() and not of_file,
            default="(of the file)" if of_file else _default(field),
            meaning=field.description or (_meaning(model).partition(". ")[0].rstrip(".") if name == "kind" else ""),
            example=example_of(field, node),
            section=any(True for _ in _sections(field.annotation)),
        )


def example_of(field: FieldInfo, node: dict[str, Any]) -> Any:
    """A value of a setting: the declared one, else another than the default of what it may be, else the default."""
    if field.examples:
        return field.examples[0]
    default = None if field.is_required() else field.get_default(call_default_factory=True)
    others = [value for value in _choices(node) if value != default]
    if isinstance(default, bool):
        others = [not default]
    return others[0] if others else _plain(default)


def _plain(default: Any) -> Any:
    """A default as it would be written: of a section only its kind and what makes it another than an empty one."""
    from cotdistill.config.base import Settings

    if isinstance(default, tuple):
        return [_plain(each) for each in default]
    if not isinstance(default, Settings):
        return default
    kind = {"kind": kind} if (kind := getattr(default, "kind", None)) else {}
    return kind | default.model_dump(mode="json", exclude_defaults=True)


def _choices(node: dict[str, Any]) -> list[Any]:
    inner = [value for each in (*node.get("anyOf", ()), *node.get("oneOf", ())) for value in _choices(each)]
    return [*node.get("enum", ()), *([node["const"]] if "const" in node else ()), *inner]


_WORDS = {
    "integer": "whole number", "number": "number", "string": "text", "boolean": "true or false", "null": "null",
    "object": "mapping",
}  # fmt: skip
_BOUNDS = {"minimum": "from", "exclusiveMinimum": "above", "maximum": "to", "exclusiveMaximum": "below"}


def words(node: dict[str, Any], definitions: dict[str, Any]) -> str:
    """What values a part of a JSON schema allows, in a few words."""
    return " or ".join(dict.fromkeys(_alternatives(node, definitions)))


def _alternatives(node: dict[str, Any], definitions: dict[str, Any]) -> Iterator[str]:
    if variants := [*node.get("anyOf", ()), *node.get("oneOf", ())]:
        single = [each for each in variants if {"type": "array", "items": each} in variants]
        for each in (*single, *(each for each in variants if each not in single)):
            lists = each.get("items") in single and each.get("type") == "array"
            yield from ["a list of these"] if lists else _alternatives(each, definitions)
    elif "$ref" in node or "properties" in node:
        yield "section"
    elif choices := _choices(node):
        yield " | ".join(map(_written, choices))
    elif node.get("type") == "array":
        yield f"list of {words(node['items'], definitions)}" if "items" in node else "list"
    elif node.get("format") in ("path", "date"):
        yield node["format"]
    elif node.get("pattern") == PART["pattern"]:
        yield "file.py:NAME"
    else:
        kinds = node.get("type", "any value")
        said = " or ".join(_WORDS.get(each, each) for each in ([kinds] if isinstance(kinds, str) else kinds))
        yield " ".join([said, *(f"{word} {node[bound]:g}" for bound, word in _BOUNDS.items() if bound in node)])


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
    from cotdistill.errors import ConfigError

    sections: list[type[Settings]] = [CellConfig, Experiment]
    holders: list[type[Settings]] = []
    for part in _parts(key):
        holders = [model for model in sections if part in model.model_fields]
        if not holders:
            remedy = _nearest_key(part, sections)
            raise ConfigError(f"unknown setting {key!r}", where="settings", remedy=remedy)
        found = [section for model in holders for section in _sections(model.model_fields[part].annotation)]
        sections = list(dict.fromkeys(found))
    return sections, holders


def _parts(key: str) -> list[str]:
    """The keys on the way to a setting, also as an arm, an axis or an item of a list has it."""
    from cotdistill.config import Axis

    first, *others = [part for part in key.split(".") if not part.isdigit()]
    if first == "arms" and len(others) > 1:
        return others[1:]
    if first == "grid" and others and others[0] not in Axis.model_fields:
        return others
    return [first, *others] if key else []


def _nearest_key(part: str, sections: list[type[Settings]]) -> str:
    from cotdistill.config import CellConfig
    from cotdistill.config.validation import close_or_elsewhere, misplaced

    if not sections:
        return "the key above it holds a value, not settings"
    known = {name for model in sections for name in _names(model)}
    return (misplaced(CellConfig, part) if CellConfig in sections else None) or close_or_elsewhere(part, list(known))


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
    for name in _names(model):
        yield from _describe_key(Setting.of(model, name), name, f"{key}.{name}" if key else name, indent="  ")


def _names(model: type[Settings]) -> list[str]:
    of_file = model.__name__ == "Experiment"
    return [name for name in model.model_fields if not (of_file and name in _NOT_WRITTEN)]


def _describe_key(setting: Setting, shown: str, key: str, *, indent: str = "") -> Iterator[str]:
    """The lines of one key of a section: its default, what it may be, what it means, and an example."""
    said = [setting.type, setting.meaning]
    if setting.example is not None and not shown.endswith("kind"):
        said.append(f"e.g. {_written(setting.example)}")
    if setting.section and indent:
        said.append(f"see: cotdistill settings {key}")
    yield from _wrapped(f"{shown}: {setting.default}  # {'; '.join(filter(None, said))}", indent)


def _meaning(model: type[Settings]) -> str:
    return " ".join((inspect.getdoc(model) or "").replace("``", "`").split())


def _wrapped(text: str, indent: str) -> list[str]:
    return textwrap.wrap(text, _WIDTH, initial_indent=indent, subsequent_indent=indent + "    ", break_on_hyphens=False)


def _default(field: FieldInfo) -> str:
    if field.is_required():
        return "(required)"
    value = field.get_default(call_default_factory=True)
    return value if isinstance(value, str) and value else _written(_plain(value))


def _written(value: Any) -> str:
    """A value as YAML on one line."""
    text = yaml.safe_dump(value, default_flow_style=True, width=10_000, allow_unicode=True, sort_keys=False)
    if "\n\n" in text:  # YAML would write a line break as an empty line
        return json.dumps(value, ensure_ascii=False)
    return text.removesuffix("\n").removesuffix("\n...")


@cache
def _schema(model: type[Settings]) -> dict[str, Any]:
    return model.model_json_schema()
