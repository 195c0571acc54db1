"""Files written whole or not at all, and one clear error for a full disk."""

from __future__ import annotations

import contextlib
import errno
import json
import os
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

from cotdistill.errors import ArtifactError

FULL = (errno.ENOSPC, errno.EDQUOT)
"""What the system says of a full disk or quota."""


def write_text_atomically(path: Path, text: str) -> None:
    """Write the whole of ``text``, as UTF-8, or nothing. Raises ArtifactError on a full disk."""
    write_bytes_atomically(path, text.encode("utf-8"))


def write_bytes_atomically(path: Path, data: bytes) -> None:
    """Write all of ``data`` or nothing: a reader never sees a torn file. Raises ArtifactError on a full disk."""
    write_parts_atomically(path, [data])


def write_parts_atomically(path: Path, parts: Iterable[bytes]) -> None:
    """As :func:`write_bytes_atomically`, of data that comes part by part and is never held as a whole."""
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    try:
        with disk_errors(path), temporary.open("wb") as file:
            file.writelines(parts)
            file.flush()
            os.fsync(file.fileno())
        temporary.replace(path)
    finally:
        temporary.unlink(missing_ok=True)


def write_json_atomically(path: Path, value: Any) -> None:
    write_text_atomically(path, json.dumps(value, indent=2, ensure_ascii=False) + "\n")


@contextlib.contextmanager
def disk_errors(path: Path) -> Iterator[None]:
    """Turn a full disk, whichever library reports it, into one clear error."""
    try:
        yield
    except Exception as error:
        full = isinstance(error, OSError) and error.errno in FULL
        if not full and "No space left on device" not in str(error):
            raise
        raise ArtifactError(
            "no space left on the device", where=path, remedy="free some space and run again; what is done is kept"
        ) from error
