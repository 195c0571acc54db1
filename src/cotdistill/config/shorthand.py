"""How settings may be written in short, told to the JSON schema that editors and error messages read."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from pydantic import GetJsonSchemaHandler
from pydantic_core import CoreSchema

Node = dict[str, Any]
"""A part of a JSON schema."""

PART: Node = {"type": "string", "pattern": r"^(.+\.py|[A-Za-z_][\w.]*):[A-Za-z_]\w*$"}
"""The name of a part of the user's own: ``file.py:NAME`` or ``module:NAME``."""


@dataclass(frozen=True, eq=False)  # forms cannot be hashed, and unions of types compare what they hold
class Shorthand:
    """Beside a validator that reads it, in ``Annotated``: in which other ways a value may be written.

    ``forms`` are schemas of texts or lists. ``bare``: the kind of a variant that needs nothing else may stand for it.
    ``kindless`` variants are clear without their ``kind``. ``own``: a part may stand in place of a kind.
    ``single``: one item needs no list.
    """

    forms: tuple[Node, ...] = ()
    bare: bool = False
    kindless: tuple[str, ...] = ()
    own: bool = False
    single: bool = False

    def __get_pydantic_json_schema__(self, core_schema: CoreSchema, handler: GetJsonSchemaHandler) -> Node:
        schema = handler(core_schema)
        if "discriminator" not in schema:
            items = (schema["items"],) if self.single else ()
            return {"anyOf": [schema, *items, *self.forms]}
        variants = [(one, handler.resolve_ref_schema(one)) for one in schema["oneOf"]]
        return {"anyOf": [*self._variants(variants), *self._names(variants), *self.forms]}

    def _variants(self, variants: list[tuple[Node, Node]]) -> Iterator[Node]:
        for reference, section in variants:
            yield reference if _kind(section) in self.kindless else {**reference, "required": ["kind"]}
            if self.own and _kind(section) == "own":
                properties = {name: value for name, value in section["properties"].items() if name != "function"}
                kind = {**section["properties"]["kind"], **PART}
                kind.pop("const")
                yield {
                    "type": "object",
                    "properties": {**properties, "kind": kind},
                    "required": ["kind"],
                    "additionalProperties": False,
                }

    def _names(self, variants: list[tuple[Node, Node]]) -> Iterator[Node]:
        if self.bare:
            yield {"enum": [_kind(section) for _, section in variants if not section.get("required")]}
        if self.own:
            yield PART


def _kind(section: Node) -> str:
    return section["properties"]["kind"]["const"]
