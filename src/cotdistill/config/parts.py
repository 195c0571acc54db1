"""The user's own parts, named by where they are: ``module:name``, or ``file.py:name`` beside the experiment file.

Naming a part never runs it: its source is searched for the name, and it is imported where it is used. What is made with
it is keyed by its name and its source: its own file, and the modules beside it that this file imports.
"""

from __future__ import annotations

import ast
import hashlib
import importlib
import importlib.util
import inspect
import sys
import traceback
from collections.abc import Iterator, Mapping
from functools import cache
from pathlib import Path
from typing import Any

from pydantic import ValidationInfo
from pydantic_core import CoreSchema, core_schema

from cotdistill.config.base import Keyed, from_folder, kind_shorthand
from cotdistill.config.shorthand import PART
from cotdistill.errors import ConfigError, nearest

__all__ = ["Part", "is_part", "own_shorthand"]


class Part(str, Keyed):
    """The name of a part; a file's path in it is absolute."""

    @property
    def name(self) -> str:
        return self.rpartition(":")[2]

    @property
    def identity(self) -> dict[str, Any]:
        """What stands for the part in keys: its name, and a hash of the source behind it. It moves with its folder."""
        return {"name": self.name, "source": _source_key(self._file, self._root)}

    def load(self) -> Any:
        """The part itself. Raises ConfigError if its module cannot be imported."""
        return _load(self)

    def call(self, *values: Any, **settings: Any) -> Any:
        """What the function returns, an iterator as a list.

        Raises ConfigError naming the function's own line if the function raises.
        """
        function = self.load()
        try:
            given = function(*values, **settings)
            return list(given) if isinstance(given, Iterator) else given
        except Exception as error:  # whatever a user's function does
            frames = traceback.extract_tb(error.__traceback__)[1:]
            line = f"{frames[-1].filename}, line {frames[-1].lineno}" if frames else str(self)
            reason = " ".join(f"{type(error).__name__}: {error}".split())
            raise ConfigError(f"{self.name} raised {reason}", where=line, remedy="fix it and run again") from error

    def check(self, *parameters: str, settings: Mapping[str, Any]) -> None:
        """Raise ConfigError unless the part is a function that takes these ``parameters``, and ``settings`` as
        keywords. It is imported for this. Only the number of ``parameters`` counts; their names are for the error.
        """
        function = self.load()
        wanted = f"a function of ({', '.join((*parameters, *settings))})"
        if not callable(function):
            raise ConfigError(f"{self.name!r} is not a function", where=self, remedy=f"write {wanted}")
        try:
            inspect.signature(function).bind(*parameters, **settings)
        except TypeError as error:
            raise ConfigError(
                f"{self.name!r} cannot be called ({error})", where=self, remedy=f"write {wanted}"
            ) from None

    @classmethod
    def __get_pydantic_json_schema__(cls, core_schema: CoreSchema, handler: Any) -> dict[str, Any]:
        return dict(PART)

    @classmethod
    def __get_pydantic_core_schema__(cls, source: Any, handler: Any) -> CoreSchema:
        return core_schema.with_info_after_validator_function(_part, core_schema.str_schema())

    @property
    def _place(self) -> str:
        return self.rpartition(":")[0]

    @property
    def _file(self) -> Path:
        return Path(self._place) if self._place.endswith(".py") else _file_of_module(self._place)

    @property
    def _root(self) -> Path:
        """The folder from which the part's own imports are followed."""
        depth = 0 if self._place.endswith(".py") else self._place.count(".") + (self._file.name == "__init__.py")
        return self._file.parents[depth]


def is_part(value: Any) -> bool:
    """Whether a setting's value names a part and not one of ours: it has a colon and looks like a module or a file."""
    place, colon, name = value.rpartition(":") if isinstance(value, str) else ("", "", "")
    module = all(word.isidentifier() for word in place.split("."))
    return bool(colon) and name.isidentifier() and (module or place.endswith(".py"))


def own_shorthand(value: Any) -> Any:
    """Like ``kind_shorthand``; a part instead of a kind stands for ``{kind: own, function: PART}``."""
    value = kind_shorthand(value)
    if isinstance(value, dict) and is_part(value.get("kind")):
        return {**value, "kind": "own", "function": value["kind"]}
    return value


def _part(value: str, info: ValidationInfo) -> Part:
    if not is_part(value):
        raise ValueError(f"{value!r} does not name a function; write file.py:NAME or module:NAME")
    place, _, name = value.rpartition(":")
    part = Part(f"{from_folder(Path(place), info)}:{name}" if place.endswith(".py") else value)
    if not part._file.is_file():
        raise ValueError(f"no such file: {part._file}")
    known = set(_names(_tree(part._file)))
    if name not in known:
        raise ValueError(f"{part._file} has no {name!r}; {nearest(name, known)}" if known else f"{part._file} is empty")
    return part


def _file_of_module(module: str) -> Path:
    """Found without importing the module itself, though its packages may be. Raises ValueError if there is none."""
    sys.path.insert(0, "")  # as in ``python -m``: what lies in the working folder counts
    try:
        found = importlib.util.find_spec(module)
    except (ImportError, ValueError, AttributeError):
        found = None
    finally:
        sys.path.remove("")
    if found is None or not found.origin or not found.origin.endswith(".py"):
        raise ValueError(f"module {module!r} cannot be found; name its file instead: path/to/file.py:NAME")
    return Path(found.origin).resolve()


@cache
def _load(part: Part) -> Any:
    place = part._place
    try:
        if place.endswith(".py"):
            sys.path.insert(0, str(part._root))
            try:
                spec = importlib.util.spec_from_file_location(f"own_{part._file.stem}", part._file)
                assert spec is not None
                assert spec.loader is not None
                module = importlib.util.module_from_spec(spec)
                spec.loader.exec_module(module)
            finally:
                sys.path.remove(str(part._root))
        else:
            module = importlib.import_module(place)
        return getattr(module, part.name)
    except Exception as error:  # whatever a user's module does while it is imported
        reason = " ".join(f"{type(error).__name__}: {error}".split())
        raise ConfigError(f"cannot be imported ({reason})", where=part, remedy="fix the file") from error


def _tree(file: Path) -> ast.Module:
    try:
        return ast.parse(file.read_bytes())
    except (SyntaxError, ValueError) as error:
        line = getattr(error, "lineno", None)
        raise ValueError(f"{file}{f', line {line}' if line else ''}: not valid Python ({error.args[0]})") from None


def _names(tree: ast.Module) -> Iterator[str]:
    """What a module defines or imports at its top."""
    for node in tree.body:
        if isinstance(node, ast.FunctionDef | ast.ClassDef):
            yield node.name
        elif isinstance(node, ast.Assign):
            yield from (target.id for target in node.targets if isinstance(target, ast.Name))
        elif isinstance(node, ast.AnnAssign) and isinstance(node.target, ast.Name):
            yield node.target.id
        elif isinstance(node, ast.ImportFrom | ast.Import):
            yield from (alias.asname or alias.name for alias in node.names)


def _source_key(file: Path, root: Path) -> str:
    """A hash of a file and of all that it imports, directly or not, from below ``root``; places do not count."""
    digest, waiting, seen = hashlib.sha256(), [file], set[Path]()
    while waiting:
        here = waiting.pop()
        if here not in seen:
            seen.add(here)
            waiting += _imported(here, root)
    for each in sorted(seen):
        digest.update(f"{each.relative_to(root)}\0".encode() + hashlib.sha256(each.read_bytes()).digest())
    return digest.hexdigest()[:16]


def _imported(file: Path, root: Path) -> Iterator[Path]:
    """The files below ``root`` that a file imports; of one that is not valid Python none, since it cannot run."""
    try:
        nodes = list(ast.walk(_tree(file)))
    except ValueError:
        return
    for node in nodes:
        if isinstance(node, ast.Import):
            names, base = [alias.name for alias in node.names], root
        elif isinstance(node, ast.ImportFrom):
            base = file.parents[min(node.level, len(file.parents)) - 1] if node.level else root
            module = node.module or ""
            names = [module, *(f"{module}.{alias.name}".strip(".") for alias in node.names)]
        else:
            continue
        for name in filter(None, names):
            path = base.joinpath(*name.split("."))
            for each in (path.with_suffix(".py"), path / "__init__.py"):
                if each.is_file() and each.is_relative_to(root):
                    yield each
