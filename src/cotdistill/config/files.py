"""YAML files of settings, read strictly and written plainly."""

from __future__ import annotations

import difflib
import json
from pathlib import Path
from typing import Any

import yaml

from cotdistill.errors import ConfigError

_MAX_VALUES = 100_000
_DATA = (".csv", ".tsv", ".jsonl", ".ndjson", ".parquet", ".xlsx")
"""What questions lie in, and no experiment file."""


def written_yaml(values: Any) -> str:
    """Plain values as YAML, keys in their order."""
    return yaml.safe_dump(values, sort_keys=False, allow_unicode=True)


def read_yaml(path: Path) -> dict[str, Any]:
    """The settings in a YAML file. Raises ConfigError for one that is missing, malformed or names a key twice."""
    if not path.is_file():
        raise ConfigError("no such file", where=path, remedy=_instead_of(path))
    if path.name.lower().removesuffix(".gz").endswith(_DATA):
        remedy = f"cotdistill init {path} writes one on it"
        raise ConfigError("questions, not an experiment file", where=path, remedy=remedy)
    try:
        values = parse_yaml(path.read_text(encoding="utf-8"))
        json.dumps(values, default=str)
    except yaml.MarkedYAMLError as error:
        where = f"{path}, line {error.problem_mark.line + 1}" if error.problem_mark else path
        if error.problem and "'\\t'" in error.problem:
            raise ConfigError("not valid YAML (a tab)", where=where, remedy="indent it with spaces") from None
        raise _refused(f"not valid YAML ({error.problem})", where) from None
    except UnicodeDecodeError:
        raise ConfigError("not UTF-8 text", where=path, remedy="save it as UTF-8") from None
    except yaml.YAMLError as error:
        raise _refused(f"not valid YAML ({error})", path) from None
    except RecursionError:
        raise _refused("settings are nested too deeply", path) from None
    except OSError as error:
        raise ConfigError(f"cannot be read ({error.strerror})", where=path, remedy="check the file") from None
    except Exception as error:  # what a value with an explicit tag (!!int x) ends in
        raise _refused(f"not usable as settings ({error})", path) from None
    if not isinstance(values, dict):
        found = "nothing" if values is None else type(values).__name__
        raise ConfigError(
            f"expected a mapping of settings (KEY: VALUE), found {found}", where=path, remedy="start from a recipe"
        )
    return values


def _instead_of(path: Path) -> str:
    """The remedy for an experiment file that is not there: the one of nearly that name, or those that are."""
    if path.is_dir():
        return f"it is a folder; name the file in it{_yaml_files(path, ': ')}"
    close = difflib.get_close_matches(path.stem, [file.stem for file in path.parent.glob("*.yaml")], n=1)
    if close:
        return f"did you mean '{path.with_name(close[0])}.yaml'?"
    if path.suffix not in (".yaml", ".yml"):
        return f"name an experiment file; cotdistill init {path} writes one"
    return f"check the path{_yaml_files(path.parent, '; here there are ')}, or write one with cotdistill init"


def _yaml_files(folder: Path, before: str) -> str:
    names = sorted(file.name for file in folder.glob("*.yaml")) if folder.is_dir() else []
    return f"{before}{', '.join(names[:3])}{', ...' if names[3:] else ''}" if names else ""


def _refused(problem: str, where: object) -> ConfigError:
    return ConfigError(" ".join(problem.split()), where=where, remedy="fix that line or the one above it")


def parse_yaml(text: str) -> Any:
    """The value of a YAML text: dates stay texts, no key stands twice, and aliases do not multiply without limit.

    Raises what yaml raises, RecursionError, and ValueError for a number of thousands of digits.
    """
    loader = _UniqueKeys(text)
    try:
        node = loader.get_single_node()
        if node is None:
            return None
        if _num_values(node, {}) > _MAX_VALUES:
            raise yaml.YAMLError(f"more than {_MAX_VALUES:,} values once its aliases are followed")
        return loader.construct_document(node)
    finally:
        loader.dispose()


def _num_values(node: yaml.Node, known: dict[int, int]) -> int:
    """How many values a node stands for where each alias is a copy; a node within itself counts once."""
    if id(node) not in known:
        known[id(node)] = 0
        below = node.value if isinstance(node, yaml.CollectionNode) else ()
        children = [child for item in below for child in (item if isinstance(item, tuple) else (item,))]
        known[id(node)] = 1 + sum(_num_values(child, known) for child in children)
    return known[id(node)]


class _UniqueKeys(yaml.SafeLoader):
    """Refuses a key that is written twice: YAML would let the last one win, and half a section disappear."""

    def compose_mapping_node(self, anchor: Any) -> yaml.MappingNode:
        node = super().compose_mapping_node(anchor)
        seen: set[str] = set()
        for key, _ in node.value:
            if isinstance(key, yaml.ScalarNode) and key.value != "<<":
                if key.value in seen:
                    raise yaml.MarkedYAMLError(problem=f"key {key.value!r} appears twice", problem_mark=key.start_mark)
                seen.add(key.value)
        return node


_UniqueKeys.yaml_implicit_resolvers = {
    first: [(tag, pattern) for tag, pattern in resolvers if tag != "tag:yaml.org,2002:timestamp"]
    for first, resolvers in yaml.SafeLoader.yaml_implicit_resolvers.items()
}
