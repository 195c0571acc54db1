"""How content is named: canonical JSON and SHA-256."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any


def canonical_json(value: Any) -> str:
    """JSON with sorted keys and no spaces: equal values give equal text."""
    return json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=True, allow_nan=False, default=str)


def content_key(value: Any) -> str:
    """The first 16 hexadecimal digits of the SHA-256 of ``value`` as canonical JSON."""
    return hashlib.sha256(canonical_json(value).encode()).hexdigest()[:16]


class ListKey:
    """:func:`content_key` of a list whose ``number`` of values are hashed one by one and never held together."""

    def __init__(self) -> None:
        self.number, self._hash = 0, hashlib.sha256(b"[")

    def add(self, value: Any) -> None:
        self._hash.update(f"{',' if self.number else ''}{canonical_json(value)}".encode())
        self.number += 1

    @property
    def digest(self) -> str:
        whole = self._hash.copy()
        whole.update(b"]")
        return whole.hexdigest()[:16]


def content_key_of(values: Iterable[Any]) -> str:
    """:func:`content_key` of the list of ``values``."""
    key = ListKey()
    for value in values:
        key.add(value)
    return key.digest


def file_sha256(path: Path, each: Callable[[memoryview], None] | None = None) -> str:
    """The SHA-256 of a file, read once: ``each`` is given its blocks in turn, which it must not keep."""
    digest, block = hashlib.sha256(), memoryview(bytearray(_BLOCK))
    with path.open("rb", buffering=0) as file:
        while number := file.readinto(block):
            digest.update(block[:number])
            if each is not None:
                each(block[:number])
    return digest.hexdigest()


_BLOCK = 1 << 17
"""Bytes: they stay in the cache of a processor while they are used twice."""
