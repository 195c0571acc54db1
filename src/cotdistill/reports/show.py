"""Any artifact in readable form: a run folder, a stage folder, or a file of records."""

from __future__ import annotations

import json
from itertools import islice
from pathlib import Path
from typing import Any

from cotdistill.artifacts import MANIFEST
from cotdistill.errors import DataError
from cotdistill.records import read_rows


def read_artifact(path: Path, limit: int) -> dict[str, Any]:
    """What lies at ``path``: its summary and manifest where it has them, and the first ``limit`` rows of each file.

    Raises DataError for a path that holds nothing of ours.
    """
    if path.is_file():
        return {"path": str(path), "records": {path.name: list(islice(read_rows(path), limit))}}
    found: dict[str, Any] = {"path": str(path)}
    for name in ("summary.json", MANIFEST):
        if (path / name).is_file():
            found[name.removesuffix(".json")] = json.loads((path / name).read_text(encoding="utf-8"))
    records = {file.name: list(islice(read_rows(file), limit)) for file in sorted(path.glob("*.jsonl*"))}
    if not records and len(found) == 1:
        raise DataError("no artifact here", where=path, remedy="give a folder below runs/, or a JSON Lines file")
    return found | ({"records": records} if records else {})


def describe(artifact: dict[str, Any]) -> str:
    """The artifact as indented lines; model text is printed with its control characters escaped."""
    return "\n".join(_lines(artifact, 0))


def _lines(value: Any, depth: int) -> list[str]:
    indent = "  " * depth
    if isinstance(value, dict):
        pairs = value.items()
    elif isinstance(value, list) and any(isinstance(item, dict | list) for item in value):
        pairs = [(str(number), item) for number, item in enumerate(value, 1)]
    else:
        return [indent + line for line in _printable(value).split("\n")]
    lines = []
    for key, item in pairs:
        inner = _lines(item, depth + 1)
        lines += [f"{indent}{key}: {inner[0].strip()}"] if len(inner) == 1 else [f"{indent}{key}:", *inner]
    return lines or [f"{indent}none"]


def _printable(value: Any) -> str:
    text = value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
    return "".join(c if c.isprintable() or c == "\n" else c.encode("unicode_escape").decode() for c in text)
