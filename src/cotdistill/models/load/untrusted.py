"""A model's folder is anybody's: what it may make transformers read, run or ask memory for is checked before.

Nothing here loads torch, so that plans can check models too.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from cotdistill.config import ModelConfig
from cotdistill.errors import ModelError

SAFE, GGUF, PICKLES = ".safetensors", ".gguf", (".bin", ".pt", ".pth")
"""The endings of files of weights; unpickling can run code."""
MOST_LAYERS = 10_000
"""More than any model has, and few enough that their settings can be listed."""
_INDEX = ".index.json"


def check_folder(config: ModelConfig, folder: Path) -> None:
    """Raise ModelError for a folder that names weights of another kind than ``config`` allows, or elsewhere, code that
    it does not allow, or more layers than any model has."""
    readable = (SAFE, *(PICKLES if config.allow_pickle else ()))
    for file in sorted(folder.glob(f"*{_INDEX}")):
        if config.allow_pickle or file.name.endswith(SAFE + _INDEX):  # the others are not read
            for name in _shards(file):
                _check_weights(folder, name, readable, where=file)
    for file in folder.iterdir():
        if file.name.endswith((*readable, GGUF)):
            _check_link(folder, file)
    file = folder / "config.json"
    if not file.is_file():
        return
    for key, value in _settings(read_object(file)):
        if key == "transformers_weights":
            _check_weights(folder, value, (SAFE, SAFE + _INDEX), where=file)
        if key.endswith("_implementation") and "/" in str(value) and not config.trust_remote_code:
            remedy = "set trust_remote_code: true if you trust it"
            raise ModelError(f"{key} names code from elsewhere, {value!r}", where=file, remedy=remedy)
        if key.endswith(("layer", "layers", "depth")) and isinstance(value, int) and value > MOST_LAYERS:
            raise ModelError(f"{key} is more than {MOST_LAYERS:,}", where=file, remedy="get the model again")


def read_object(file: Path) -> dict[str, Any]:
    """The object of a JSON file. Raises ModelError for anything else."""
    try:
        value = json.loads(file.read_text(encoding="utf-8"))
    except (ValueError, RecursionError) as error:
        problem = f"not JSON ({str(error)[:200] or type(error).__name__})"
    else:
        if isinstance(value, dict):
            return value
        problem = f"expected a JSON object, found {type(value).__name__}"
    raise ModelError(problem, where=file, remedy="get the model again")


def _shards(index: Path) -> list[Any]:
    named = read_object(index).get("weight_map")
    if not isinstance(named, dict) or not named:
        raise ModelError("it has no weight_map", where=index, remedy="get the model again")
    return sorted(named.values(), key=repr)


def _check_weights(folder: Path, name: Any, endings: tuple[str, ...], *, where: Path) -> None:
    """Only what is in the folder itself is hashed, and only these endings keep transformers from unpickling."""
    if not isinstance(name, str) or not name or Path(name).name != name or name == ".." or "\\" in name or "\0" in name:
        problem, remedy = f"it names weights outside its folder, {name!r}", "move them into it"
    elif not name.endswith(endings):
        problem = f"it names weights that are no safetensors, {name!r}"
        remedy = "convert them to safetensors, or set allow_pickle: true if you trust their source"
    elif not (folder / name).is_file():
        problem, remedy = f"it names weights that are missing, {name!r}", "get the model again"
    else:
        return
    raise ModelError(problem, where=where, remedy=remedy)


def _check_link(folder: Path, file: Path) -> None:
    """Links stay in the folder, or in the hub's cache: snapshots/COMMIT/FILE is a link to blobs/HASH."""
    if file.is_symlink():
        target = file.resolve().parent
        if target not in (folder.resolve(), (folder / "../../blobs").resolve()):
            problem = f"its weights are a link to another folder, {target}"
            raise ModelError(problem, where=file, remedy="copy the file here")


def _settings(value: Any) -> Iterator[tuple[str, Any]]:
    """All keys with their values, at any depth."""
    if isinstance(value, dict):
        for key, item in value.items():
            yield key, item
            yield from _settings(item)
    elif isinstance(value, list):
        for item in value:
            yield from _settings(item)
