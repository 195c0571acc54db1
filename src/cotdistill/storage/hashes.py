"""How content is named: canonical JSON and SHA-256."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable
from pathlib import Path
from typing import Any


def canonical_json(value: Any) -> str:
    """JSON with sorted keys and no spaces: equal values give equal text."""
    return json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=True, allow_nan=False, default=str)


def content_key(value: Any) -> str:
    """The first 16 hexadecimal digits of the SHA-256 of ``value`` as canonical JSON."""
    return hashlib.sha256(canonical_json(value).encode()).hexdigest()[:16]


def content_key_of(values: Iterable[Any]) -> str:
    """:func:`content_key` of a list of ``values``, which are hashed one by one and never held together."""
    digest = hashlib.sha256(b"[")
    for place, value in enumerate(values):
        digest.update(f"{',' if place else ''}{canonical_json(value)}".encode())
    digest.update(b"]")
    return digest.hexdigest()[:16]


def file_sha256(path: Path) -> str:
    digest = hashlib.sha256()
    with path.open("rb") as file:
        while block := file.read(1 << 20):
            digest.update(block)
    return digest.hexdigest()
