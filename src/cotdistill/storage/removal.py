"""Removing what can be made again: a folder of a finished stage, or whole stages that nobody names."""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from cotdistill.errors import DataError
from cotdistill.storage.atomic import write_json_atomically
from cotdistill.storage.finished import MANIFEST, is_finished, open_finished
from cotdistill.storage.locks import hold
from cotdistill.storage.texts import WRONG_SHAPE

_OF_COMMANDS = ("effect", "harness", "scoring")


def remove_folder(stage: Path, name: str) -> int:
    """Remove a folder of a finished stage; returns its size in bytes, 0 if it is not there.

    The manifest names the files as removed before they are: the stage stays finished, however this ends. Raises
    ArtifactError if another process works in the stage.
    """
    folder = stage / name
    if not folder.is_dir():
        return 0
    with hold(stage):
        manifest = open_finished(stage).manifest
        files = manifest["files"]
        gone = {file: entry for file, entry in files.items() if file.startswith(f"{name}/")}
        left = {file: entry for file, entry in files.items() if file not in gone}
        removed = manifest.get("removed", {}) | gone
        write_json_atomically(stage / MANIFEST, manifest | {"files": left, "removed": removed})
        size = size_of(folder)
        shutil.rmtree(folder)
    return size


def size_of(folder: Path) -> int:
    """The size of all files in a folder, in bytes."""
    return sum(file.stat().st_size for file in folder.rglob("*") if file.is_file())


@dataclass(frozen=True, slots=True)
class Unnamed:
    """A stage that no experiment names; ``place`` is NOUN/KEY, ``size`` in bytes."""

    place: str
    size: int
    finished: bool


def unnamed_stages(runs: Path) -> Iterator[Unnamed]:
    """Stages below ``runs`` that no cell of an experiment there has used, or has asked for before it failed.

    Answers of teachers are not among them, nor what single commands make (an effect, lm-eval's tasks). Raises DataError
    for a damaged cell, whose stages are unknown.
    """
    named = {place for file in runs.glob("*/cells/*.json") for place in _named(file)}
    for file in sorted(runs.glob("*/*/identity.json")):
        folder, noun = file.parent, file.parts[-3]
        if noun not in _OF_COMMANDS and (place := f"{noun}/{folder.name}") not in named:
            yield Unnamed(place, size_of(folder), is_finished(folder))


def _named(file: Path) -> list[str]:
    try:
        state = json.loads(file.read_text(encoding="utf-8"))
        return [*state["stages"].values(), *state["asked"]]
    except (OSError, *WRONG_SHAPE):
        remedy = f"run the experiment {file.parts[-3]} again, or delete its folder"
        raise DataError("the cell's state is damaged", where=file, remedy=remedy) from None


def remove_stage(folder: Path) -> None:
    """Remove a whole stage. Raises ArtifactError if another process works in it."""
    with hold(folder):
        shutil.rmtree(folder)
