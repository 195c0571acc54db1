"""Settings made from plain values, and one clear line for the first thing that is wrong with them."""

from __future__ import annotations

from functools import cache
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from cotdistill.config.base import Settings
from cotdistill.config.elsewhere import called_here, kind_elsewhere, known_elsewhere
from cotdistill.errors import ConfigError, nearest

__all__ = [
    "validated",
]

_LONGEST_SHOWN = 100  # characters


def validated(model: type[Settings], values: dict[str, Any], *, where: str, folder: Path | None = None) -> Any:
    """``model`` made from ``values``; pydantic's first complaint becomes one ConfigError line.

    Relative paths in ``values`` are taken from ``folder``, by default from the working folder.
    """
    try:
        return model.model_validate(values, context={"folder": folder or Path()})
    except ValidationError as error:
        raise _config_error(model, error, where) from None


def _config_error(model: type[Settings], error: ValidationError, where: str) -> ConfigError:
    """One line from pydantic's first complaint: the key, the value, and the nearest right name or the type wanted."""
    complaints = error.errors(include_url=False)
    unknown = [complaint for complaint in complaints if complaint["type"] == "extra_forbidden"]
    # What is missing may only be misspelt, and the misspelt key says more.
    first = unknown[0] if unknown and complaints[0]["type"] == "missing" else complaints[0]
    key = ".".join(str(part) for part in first["loc"])
    if first["type"] == "extra_forbidden":
        *_, last = first["loc"]
        return ConfigError(
            f"unknown key {key!r}",
            where=where,
            remedy=misplaced(model, key) or _instead_of(str(last), model, first["loc"][:-1]),
        )
    if first["type"] == "missing":
        return ConfigError(f"{key!r} is missing", where=where, remedy="add it")
    message = first["msg"].removeprefix("Value error, ")
    if first["type"] == "value_error":
        return ConfigError(message, where=f"{where}, {key}" if key else where)
    value = first["input"]
    if first["type"] == "union_tag_invalid":
        context = first.get("ctx", {})
        tag, kinds = context["tag"], context["expected_tags"].replace("'", "").split(", ")
        return ConfigError(f"unknown kind {tag!r}", where=f"{where}, {key}", remedy=_kind(tag, key, kinds))
    if first["type"] in ("model_type", "dict_type"):
        remedy = "write {a: ARM, b: ARM}" if key.startswith("comparisons") else "write {KEY: VALUE}"
        return ConfigError(f"{_shown(value)} for {key!r} is no section", where=where, remedy=remedy)
    return ConfigError(f"{_shown(value)} for {key!r}: {message[:1].lower()}{message[1:]}", where=where)


def _instead_of(name: str, model: type[Settings], section: tuple[Any, ...]) -> str:
    """The remedy for an unknown key of a section: one of a section in it, of the top, or what it is here."""
    siblings = _sibling_keys(model, section)
    ours = (called_here(name) or name).rpartition(".")[2]
    inside = [each for each in siblings if ours in _sibling_keys(model, (*section, each))]
    if len(inside) == 1 and section[:1] != ("training",):  # whose losses are a list, and may be meant
        return f"did you mean '{inside[0]}.{ours}'?"
    if section and name in model.model_fields:
        return f"write {name} at the top of the file"
    return close_or_elsewhere(name, siblings)


def close_or_elsewhere(name: str, known: list[str]) -> str:
    """The remedy for an unknown key: what it is here if another tool has it, else the nearest of ours."""
    return known_elsewhere(name) or nearest(name, known)


def _kind(tag: str, key: str, kinds: list[str]) -> str:
    if (remedy := kind_elsewhere(tag, kinds)) or (remedy := nearest(tag, kinds)).startswith("did"):
        return remedy
    if key.endswith("teacher"):
        server = f"{{kind: openai, model: {tag}, base_url: http://HOST:PORT/v1}}"
        return f"for a model write {server}, or {{kind: transformers, model: {tag}}} for this process; {remedy}"
    return remedy


def _shown(value: Any) -> str:
    """A wrong value, short: what is in a section is not repeated, for it may be long or secret."""
    text = repr(value)
    if isinstance(value, dict):
        text = f"a mapping of {', '.join(map(repr, value))}" if value else "an empty mapping"
    elif isinstance(value, list | tuple):
        text = f"a list of {len(value)}"
    return text if len(text) <= _LONGEST_SHOWN else f"{text[:_LONGEST_SHOWN]}..."


def misplaced(model: type[Settings], key: str) -> str | None:
    """The remedy for a key that belongs in a section: ``granularity`` is ``annotation.granularity``."""
    places = [name for name in model.model_fields if key in _sibling_keys(model, (name,))]
    return f"did you mean {places[0] + '.' + key!r}?" if len(places) == 1 else None


def _sibling_keys(model: Any, location: tuple[Any, ...]) -> list[str]:
    """The keys that are known where ``location`` points to, found by walking the model's schema."""
    schema = _schema(model)
    definitions = schema.get("$defs", {})
    nodes = [schema]
    for part in location:
        nodes = [child for node in nodes for child in _child_nodes(node, part, definitions)]
    return sorted({key for node in nodes for key in node.get("properties", {})})


@cache
def _schema(model: type[Settings]) -> dict[str, Any]:
    return model.model_json_schema()


def _child_nodes(node: dict[str, Any], part: Any, definitions: dict[str, Any]) -> list[dict[str, Any]]:
    if isinstance(part, int):
        children = _variants(node.get("items", {}), definitions)
    elif part in node.get("properties", {}):
        children = _variants(node["properties"][part], definitions)
    else:  # a discriminator's value, which pydantic puts into the location: keep the variant of that kind
        kind = node.get("properties", {}).get("kind", {})
        children = [node] if kind.get("const") == part else []
    return children


def _variants(node: dict[str, Any], definitions: dict[str, Any]) -> list[dict[str, Any]]:
    if "$ref" in node:
        return _variants(definitions[node["$ref"].rsplit("/", 1)[-1]], definitions)
    options = node.get("anyOf", []) + node.get("oneOf", [])
    return [leaf for option in options for leaf in _variants(option, definitions)] if options else [node]
