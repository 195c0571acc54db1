"""YAML files of settings, read strictly and written plainly."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import yaml

from cotdistill.errors import ConfigError


def written_yaml(values: Any) -> str:
    """Plain values as YAML, keys in their order."""
    return yaml.safe_dump(values, sort_keys=False, allow_unicode=True)


def read_yaml(path: Path) -> dict[str, Any]:
    """The settings in a YAML file. Raises ConfigError for one that is missing, malformed or names a key twice."""
    if not path.is_file():
        remedy = "it is a folder; name the file in it" if path.is_dir() else "check the path"
        raise ConfigError("no such file", where=path, remedy=remedy)
    try:
        values = yaml.load(path.read_text(encoding="utf-8"), _UniqueKeys)
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        mark = getattr(error, "problem_mark", None)
        where = f"{path}, line {mark.line + 1}" if mark else str(path)
        reason = " ".join(str(getattr(error, "problem", error)).split())
        problem = f"not valid YAML ({reason})"
        raise ConfigError(problem, where=where, remedy="mend that line or the one above it") from None
    try:
        json.dumps(values, default=str)
    except (ValueError, RecursionError, TypeError) as error:
        raise ConfigError(f"not usable as settings ({error})", where=path, remedy="write keys as words") from None
    if not isinstance(values, dict):
        found = "nothing" if values is None else type(values).__name__
        raise ConfigError(
            f"expected a mapping of settings (KEY: VALUE), found {found}", where=path, remedy="begin with a recipe"
        )
    return values


class _UniqueKeys(yaml.SafeLoader):
    """Refuses a key that is written twice: YAML would let the last one win, and half a section disappear."""

    def compose_mapping_node(self, anchor: Any) -> yaml.MappingNode:
        node = super().compose_mapping_node(anchor)
        seen: set[str] = set()
        for key, _ in node.value:
            if isinstance(key, yaml.ScalarNode) and key.value != "<<":
                if key.value in seen:
                    raise yaml.MarkedYAMLError(
                        problem=f"key {key.value!r} for the second time", problem_mark=key.start_mark
                    )
                seen.add(key.value)
        return node
