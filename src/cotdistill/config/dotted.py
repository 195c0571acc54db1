"""Dotted keys: ``training.epochs`` in nested settings, and ``KEY=VALUE`` on the command line."""

from __future__ import annotations

from typing import Any

from cotdistill.config.files import parse_yaml
from cotdistill.config.task import task_shorthand
from cotdistill.errors import ConfigError

__all__ = [
    "parse_overrides",
    "set_dotted",
]


def set_dotted(values: dict[str, Any], key: str, value: Any) -> None:
    """Set keys like ``training.epochs`` in nested dictionaries, making sections that are missing or in shorthand."""
    *sections, last = key.split(".")
    for section in sections:
        child = values.get(section)
        if isinstance(child, str):
            child = _shorthand_section(section, child)
        if child is None:
            child = {}
        if not isinstance(child, dict):
            raise ConfigError(f"cannot set {key!r}: {section!r} is {child!r}, not a section", where="override")
        values[section] = child
        values = child
    values[last] = value


def _shorthand_section(section: str, name: str) -> dict[str, Any]:
    """The section that a bare name stands for, so that a setting of it can be overridden."""
    if section == "task":
        return task_shorthand(name)
    return {"model": name} if section in ("student", "model") else {"kind": name}


def parse_overrides(settings: list[str]) -> dict[str, Any]:
    """``["training.epochs=1"]`` as ``{"training.epochs": 1}``; values are YAML."""
    parsed: dict[str, Any] = {}
    for setting in settings:
        key, equals, text = setting.partition("=")
        if not equals or not key:
            raise ConfigError(f"expected KEY=VALUE, found {setting!r}", where="--set")
        try:
            parsed[key.strip()] = parse_yaml(text)
        except Exception:  # a value with an explicit tag (!!int x) ends in many ways
            raise ConfigError(f"{text!r} is not a YAML value", where=f"--set {key}") from None
    return parsed
