"""What must not hold a key: settings are written into files and shown in errors, so a key pasted into one is refused,
and the refusal does not repeat it."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Annotated, Any
from urllib.parse import urlsplit

from pydantic import AfterValidator, BeforeValidator, JsonValue

__all__ = ["RequestFields", "ServerAddress", "VariableName", "refuse_secrets"]

_VARIABLE = re.compile(r"(?=.{1,64}$)[A-Z][A-Z0-9_]*")
_RANDOM = re.compile(r"(?=[A-Z]*[0-9])[A-Z0-9]{16}")
"""Sixteen capitals and digits in a row are a key rather than a word."""
_KEY_FIELD = re.compile(r"api.?key|authorization|credential|passw|secret", re.IGNORECASE)


def _variable_name(name: Any) -> str:
    if not isinstance(name, str) or not _VARIABLE.fullmatch(name) or _RANDOM.search(name):
        raise ValueError(
            "is not the name of an environment variable in capitals; export the key as one, for example "
            "OPENAI_API_KEY, and write its name here, never the key"
        )
    return name


def _address(address: Any) -> str:
    problem = "is not the address of a server"
    if isinstance(address, str) and set("@?#;\\") & set(address):
        problem = "would put a password or query into keys and files"
    elif isinstance(address, str) and address.isascii() and address.isprintable() and " " not in address:
        try:
            parts = urlsplit(address)
            if parts.scheme in ("http", "https") and parts.hostname and parts.port != 0:
                return address
        except ValueError:  # a port that is no number, half an IPv6 address
            pass
    raise ValueError(f"{problem}; write http://HOST:PORT/v1, and use api_key_variable for the key")


def _without_keys(fields: dict[str, JsonValue]) -> dict[str, JsonValue]:
    for name in fields:
        if _KEY_FIELD.search(name):
            raise ValueError(f"would put {name!r} into keys and files; use api_key_variable for the key")
    return fields


VariableName = Annotated[str, BeforeValidator(_variable_name)]
"""The name of the environment variable that holds a key."""
ServerAddress = Annotated[str, BeforeValidator(_address)]
"""A server's address. A password, a query or a fragment in it is refused."""
RequestFields = Annotated[dict[str, JsonValue], AfterValidator(_without_keys)]
"""More fields of a request by the server's names; none that is called a key or a password."""

_CHECKS = {"api_key_variable": _variable_name, "base_url": _address}


def refuse_secrets(values: Any, place: str = "", check: Callable[[Any], Any] | None = None) -> None:
    """Raise ValueError for a key in the content of an experiment file, wherever it sets a name or an address: an axis
    or an arm would be repeated in errors before it is checked."""
    if isinstance(values, dict):
        for name, value in values.items():
            below = _CHECKS.get(str(name).rpartition(".")[2], None if name == "of" else check)
            refuse_secrets(value, f"{place}.{name}" if place else str(name), below)
    elif isinstance(values, list):
        for value in values:
            refuse_secrets(value, place, check)
    elif check and values is not None:
        try:
            check(values)
        except ValueError as error:
            raise ValueError(f"{place} {error}") from None
