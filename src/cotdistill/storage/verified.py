"""Which files were found to be what was written, told by size, times and inode: they need not be read again for it.

What this machine has verified is kept in ``runs/.verified/<host>/<noun>/<key>.json``. A file that was written within
the last seconds is not kept: it could change once more within a tick of its clock.
"""

from __future__ import annotations

import contextlib
import json
import shutil
import socket
import time
from collections.abc import Iterable
from pathlib import Path

from cotdistill.errors import DataError
from cotdistill.storage.atomic import write_json_atomically
from cotdistill.storage.hashes import content_key, file_sha256
from cotdistill.storage.texts import WRONG_SHAPE

_SETTLED_SECONDS = 2
"""The coarsest clock of a file system that is in use."""

Stamp = list[int]
"""Size in bytes, times of content and of inode in nanoseconds, inode."""


VERIFIED = ".verified"


def stamp(file: Path) -> Stamp:
    """Raises OSError for a file that is not there."""
    found = file.stat()
    return [found.st_size, found.st_mtime_ns, found.st_ctime_ns, found.st_ino]


def is_settled(found: Stamp) -> bool:
    """Whether any later change of the file would show in its stamp."""
    return time.time_ns() - max(found[1:3]) > _SETTLED_SECONDS * 1_000_000_000


def remember(stage: Path, files: Iterable[str]) -> None:
    """Keep that these files of a stage's folder were verified. What cannot be kept is verified again."""
    with contextlib.suppress(OSError):
        stamps = {name: stamp(stage / name) for name in files}
        if all(map(is_settled, stamps.values())):
            write_json_atomically(_record(stage), stamps)


def is_unchanged(stage: Path, files: Iterable[str]) -> bool:
    """Whether these files of a stage's folder are still those that this machine has verified."""
    try:
        known = json.loads(_record(stage).read_text(encoding="utf-8"))
        return known == {name: stamp(stage / name) for name in files}
    except (OSError, ValueError):
        return False


def checksum(file: Path, runs: Path) -> str:
    """The SHA-256 of any file, which is read only if this machine has not read it since its stamp changed.

    Raises DataError for a file that is not there.
    """
    if not file.is_file():
        raise DataError("no such file", where=file, remedy="check the path")
    record = _folder(runs) / "files" / f"{content_key(str(file.absolute()))}.json"
    found = stamp(file)
    with contextlib.suppress(OSError, *WRONG_SHAPE):
        known = json.loads(record.read_text(encoding="utf-8"))
        if known["stamp"] == found:
            return known["sha256"]
    sha256 = file_sha256(file)
    if is_settled(found) and runs.is_dir():  # what only looks at a file makes no folder
        with contextlib.suppress(OSError):
            write_json_atomically(record, {"stamp": found, "sha256": sha256})
    return sha256


def forget(runs: Path) -> None:
    """Have everything below ``runs`` verified again."""
    shutil.rmtree(_folder(runs), ignore_errors=True)


def _record(stage: Path) -> Path:
    return _folder(stage.parents[1]) / stage.parent.name / f"{stage.name}.json"


def _folder(runs: Path) -> Path:
    return runs / VERIFIED / (socket.gethostname().replace("/", "-") or "unnamed")
