"""Any artifact in readable form: an experiment's folder, a stage folder, or a file of records."""

from __future__ import annotations

import json
from fnmatch import fnmatch
from itertools import islice
from pathlib import Path
from typing import Any

from cotdistill.errors import DataError, printable
from cotdistill.storage.finished import MANIFEST, is_finished, open_finished
from cotdistill.storage.jsonl import read_rows
from cotdistill.storage.texts import WRONG_SHAPE


def read_artifact(path: Path, limit: int) -> dict[str, Any]:
    """What is at ``path``: its summary and manifest if it has them, and the first ``limit`` rows of each file.

    For an experiment also the state of each cell, for an unfinished stage what it is going to be, and for a folder of
    runs its contents. Raises DataError for a path without any artifact, ArtifactError for a file of a finished stage
    that was changed.
    """
    if path.is_file():
        return {"path": str(path), "records": {path.name: list(islice(read_rows(path), limit))}}
    found = _finished_stage(path, limit) if is_finished(path) else _experiment_or_begun(path, limit)
    found = found or _folder_of_runs(path)
    if not found:
        raise DataError("no artifact here", where=path, remedy="give a folder below runs/, or a JSON Lines file")
    return {"path": str(path)} | found


def _finished_stage(path: Path, limit: int) -> dict[str, Any]:
    stage = open_finished(path)
    files = [name for name in sorted(stage.manifest["files"]) if fnmatch(name, "*.jsonl*") and "/" not in name]
    records = {name: list(islice(stage.rows(name), limit)) for name in files}
    return {"summary": stage.summary, "manifest": stage.manifest} | ({"records": records} if records else {})


def _experiment_or_begun(path: Path, limit: int) -> dict[str, Any]:
    """For an experiment its summary and cells, for an unfinished stage what it is going to be."""
    files = {name: path / f"{name}.json" for name in ("summary", "identity")}
    found = {name: _read(file) for name, file in files.items() if file.is_file()}
    if "identity" in found:
        found = {"state": "not finished"} | found
    parts = {
        "cells": {file.stem: _read(file) for file in sorted((path / "cells").glob("*.json"))},
        "records": {file.name: list(islice(read_rows(file), limit)) for file in sorted(path.glob("*.jsonl*"))},
    }
    return found | {name: part for name, part in parts.items() if part}


def _folder_of_runs(path: Path) -> dict[str, Any]:
    """The experiments of a folder by name, and how many stages of each kind are finished."""
    experiments = [file.parent.name for file in sorted(path.glob("*/experiment.yaml"))]
    stages = {noun: len(list(path.glob(f"{noun}/*/{MANIFEST}"))) for noun in ("annotation", "training", "evaluation")}
    return {"experiments": experiments, "finished stages": stages} if experiments or any(stages.values()) else {}


def _read(path: Path) -> Any:
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except WRONG_SHAPE:
        raise DataError(
            "malformed JSON", where=path, remedy="delete it and run the command that made it again"
        ) from None


def describe(artifact: dict[str, Any]) -> list[str]:
    """The artifact as indented lines, with what a terminal would act on escaped.

    Only the sizes of a manifest's files are shown: checksums are for programs.
    """
    if files := artifact.get("manifest", {}).get("files"):
        sizes = {name: f"{file['bytes']:,} bytes" for name, file in files.items()}
        artifact = artifact | {"manifest": artifact["manifest"] | {"files": sizes}}
    return _lines(artifact, 0)


def _lines(value: Any, depth: int) -> list[str]:
    indent = "  " * depth
    if isinstance(value, dict):
        pairs = value.items()
    elif isinstance(value, list) and any(isinstance(item, dict | list) for item in value):
        pairs = [(str(number), item) for number, item in enumerate(value, 1)]
    else:
        text = value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
        return [indent + printable(line) for line in text.split("\n")]
    lines = []
    for key, item in pairs:
        inner = _lines(item, depth + 1)
        name = f"{indent}{printable(str(key))}:"
        lines += [f"{name} {inner[0].strip()}"] if len(inner) == 1 else [name, *inner]
    return lines or [f"{indent}none"]
