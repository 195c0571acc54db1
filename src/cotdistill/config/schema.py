"""The JSON schema of experiment files, for editors, from the settings themselves."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

from cotdistill.config.experiment import CellConfig, Experiment
from cotdistill.config.shorthand import Node

__all__ = ["file_schema"]

_DEFINED = "#/$defs/"
_ARM = "Arm"
_NOT_WRITTEN = ("settings",)
"""A field that is no key of a file: it holds all others at the top of the file."""


def file_schema() -> Node:
    """What an experiment file may hold: settings at the top, by dotted keys in ``arms``, with several values in
    ``grid``. Shorthands are allowed; what one setting forbids another is not told."""
    cell, file = (_without_titles(model.model_json_schema()) for model in (CellConfig, Experiment))
    definitions = {**file.pop("$defs"), **cell.pop("$defs")}
    definitions[_ARM] = _by_dotted_keys(cell, definitions)
    definitions["Grid"] = _as_axes(definitions[_ARM])
    of_the_file = {name: node for name, node in file["properties"].items() if name not in _NOT_WRITTEN}
    arm = {"anyOf": [{"$ref": f"{_DEFINED}{_ARM}"}, {"type": "null"}]}
    of_the_file["arms"] = {**of_the_file["arms"], "type": ["object", "null"], "additionalProperties": arm}
    of_the_file["grid"] = {"$ref": f"{_DEFINED}Grid", "description": of_the_file["grid"]["description"]}
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": "An experiment of cotdistill",
        "type": "object",
        "properties": {**cell["properties"], **of_the_file},
        "additionalProperties": False,
        "$defs": definitions,
    }


def _without_titles(node: Any, of_names: bool = False) -> Any:
    """The schema without titles, which only repeat names; variants may be any that fit, and those that pydantic tells
    apart by their kind need one. ``of_names``: the keys of ``node`` are names of properties."""
    if isinstance(node, list):
        return [_without_titles(each) for each in node]
    if not isinstance(node, dict):
        return node
    row = {
        key: value if key in ("default", "examples", "const", "enum") and not of_names else _without_titles(
            value, of_names=key in ("properties", "$defs") and not of_names
        )
        for key, value in node.items()
        if of_names or key not in ("title", "discriminator", "oneOf")
    }  # fmt: skip
    if not of_names and "oneOf" in node:
        needs = {"required": ["kind"]} if "discriminator" in node else {}
        row["anyOf"] = [{**each, **needs} for each in _without_titles(node["oneOf"])]
    return row


def _by_dotted_keys(cell: Node, definitions: Node) -> Node:
    """What an arm may set: each setting at any depth, ``training.epochs``, and whatever mappings of free names hold."""
    keys: dict[str, dict[str, Node]] = {}
    free: set[str] = set()
    for key, pointer, node in _dotted(cell, "#", "", definitions, ()):
        if pointer is None:
            free.add(key)
        elif node not in keys.setdefault(key, {}).values():
            keys[key][pointer] = node
    references = {key: [{"$ref": pointer} for pointer in nodes] for key, nodes in keys.items()}
    return {
        "type": "object",
        "properties": {key: each[0] if len(each) == 1 else {"anyOf": each} for key, each in references.items()},
        "patternProperties": {rf"^{re.escape(key)}\.": {} for key in sorted(free)},
        "additionalProperties": False,
    }


def _dotted(
    section: Node, place: str, above: str, definitions: Node, within: tuple[Node, ...]
) -> Iterator[tuple[str, str | None, Node]]:
    """Each setting below a section by its dotted key, with where it is declared in the schema: nowhere for what is in a
    mapping of free names, or in a section that is in itself."""
    for name, node in section["properties"].items():
        key, pointer = f"{above}{name}", f"{place}/properties/{name}"
        yield key, pointer, node
        for where, inner in _sections(pointer, node, definitions):
            if inner in within or inner.get("additionalProperties") is not False:
                yield key, None, inner
            else:
                yield from _dotted(inner, where, f"{key}.", definitions, (*within, inner))


def _sections(place: str, node: Node, definitions: Node) -> Iterator[tuple[str, Node]]:
    """The mappings that a setting may hold, and where they are declared."""
    if "$ref" in node:
        name = node["$ref"].removeprefix(_DEFINED)
        yield from _sections(node["$ref"], definitions[name], definitions)
    for number, each in enumerate(node.get("anyOf", ())):
        yield from _sections(f"{place}/anyOf/{number}", each, definitions)
    if node.get("type") == "object":
        yield place, node


def _as_axes(arm: Node) -> Node:
    def axis(value: Node) -> Node:
        several = {
            "anyOf": [
                {"type": "array", "items": value, "minItems": 1},
                {"type": "object", "additionalProperties": value},
            ]
        }
        restricted = {
            "type": "object",
            "properties": {"of": {"type": ["array", "string"]}, "values": several},
            "required": ["values"],
            "additionalProperties": False,
        }
        return {"anyOf": [restricted, *several["anyOf"]]}

    return {
        "type": ["object", "null"],
        "properties": {key: axis({"$ref": f"{_DEFINED}{_ARM}/properties/{key}"}) for key in arm["properties"]},
        "patternProperties": {pattern: axis({}) for pattern in arm["patternProperties"]},
        "additionalProperties": False,
    }
