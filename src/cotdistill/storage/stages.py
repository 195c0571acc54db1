"""Folders on disk: one a stage, named by a hash of everything that can change its content.

A stage is *finished* when its ``manifest.json`` exists; that file is written last and holds size and SHA-256 of every
other file. Until then a stage may hold partial records, which a later process resumes. One process works in a stage
folder at a time.
"""

from __future__ import annotations

import contextlib
import errno
import hashlib
import importlib.metadata
import itertools
import json
import os
import platform
import socket
from collections.abc import Callable, Iterable, Iterator
from contextvars import ContextVar
from dataclasses import dataclass, field
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

from filelock import FileLock, Timeout

from cotdistill import __version__
from cotdistill.errors import ArtifactError
from cotdistill.records import dump_row, read_rows
from cotdistill.storage.clock import Clock

MANIFEST = "manifest.json"
CLOCK = "clock.tmp"
"""The seconds that processes have worked on an unfinished stage."""
_FULL = (errno.ENOSPC, errno.EDQUOT)
_UNCHECKED = (".lock", ".owner", "README.md")
"""Files that are not content: the lock, and the model card, which gets its scores after the stage is done. Nor is
anything with a name, or in a folder with a name, that ends in .tmp: it is of use only until the stage is done."""


def canonical_json(value: Any) -> str:
    """JSON with sorted keys and no spaces: equal values give equal text."""
    return json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=True, allow_nan=False, default=str)


def content_key(value: Any) -> str:
    """The first 16 hexadecimal digits of the SHA-256 of ``value`` as canonical JSON."""
    return hashlib.sha256(canonical_json(value).encode()).hexdigest()[:16]


def file_sha256(path: Path) -> str:
    digest = hashlib.sha256()
    with path.open("rb") as file:
        while block := file.read(1 << 20):
            digest.update(block)
    return digest.hexdigest()


def write_text_atomically(path: Path, text: str) -> None:
    """Write the whole of ``text`` or nothing: a reader never sees a torn file. Raises ArtifactError on a full disk."""
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    try:
        with disk_errors(path), temporary.open("w", encoding="utf-8") as file:
            file.write(text)
            file.flush()
            os.fsync(file.fileno())
        temporary.replace(path)
    finally:
        temporary.unlink(missing_ok=True)


def write_json_atomically(path: Path, value: Any) -> None:
    write_text_atomically(path, json.dumps(value, indent=2, ensure_ascii=False) + "\n")


class RowAppender:
    """Appends rows to a JSON Lines file, each durable once :meth:`append` has returned to a killed process's reader.

    Opening it drops a last line that a kill left torn. ``rows`` are those already there.
    """

    def __init__(self, path: Path):
        self.path = path
        _drop_torn_line(path)
        self.rows: list[dict[str, Any]] = list(read_rows(path)) if path.exists() else []
        self._file = path.open("a", encoding="utf-8")

    def append(self, row: dict[str, Any]) -> None:
        self.append_all([row])

    def append_all(self, rows: Iterable[dict[str, Any]]) -> None:
        """Append rows together: a kill leaves all of them or, but for the shortest of moments, none."""
        self._file.write("".join(dump_row(row) + "\n" for row in rows))
        self._file.flush()

    def close(self) -> None:
        self._file.flush()
        os.fsync(self._file.fileno())
        self._file.close()

    def __enter__(self) -> RowAppender:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


def _drop_torn_line(path: Path) -> None:
    if not path.exists():
        return
    data = path.read_bytes()
    if data and not data.endswith(b"\n"):
        with path.open("r+b") as file:
            file.truncate(data.rfind(b"\n") + 1)


def write_rows(path: Path, rows: Iterable[dict[str, Any]]) -> None:
    write_text_atomically(path, "".join(dump_row(row) + "\n" for row in rows))


@dataclass
class Stage:
    """A stage folder that this process holds. ``identity`` is what its name is the hash of."""

    noun: str
    path: Path
    identity: dict[str, Any]
    clock: Clock = field(init=False)

    def __post_init__(self) -> None:
        self.clock = Clock(self.path / CLOCK)

    @property
    def finished(self) -> bool:
        return (self.path / MANIFEST).is_file()

    def finish(
        self,
        summary: dict[str, Any],
        *,
        seeds: dict[str, int],
        dropped: dict[str, int],
        notes: dict[str, Any] | None = None,
    ) -> None:
        """Write ``summary.json`` and then the manifest, with ``notes`` in it, which marks the stage as done."""
        write_json_atomically(self.path / "summary.json", summary)
        manifest = {
            "stage": self.noun,
            "identity": self.identity,
            "versions": versions(),
            "seeds": seeds,
            "finished": datetime.now(timezone.utc).isoformat(timespec="seconds"),
            "seconds": round(self.clock.seconds, 3),
            "dropped": dropped,
            **(notes or {}),
            "files": {
                str(file.relative_to(self.path)): {"bytes": file.stat().st_size, "sha256": file_sha256(file)}
                for file in _content_files(self.path)
            },
        }
        write_json_atomically(self.path / MANIFEST, manifest)

    def manifest(self) -> dict[str, Any]:
        return json.loads((self.path / MANIFEST).read_text(encoding="utf-8"))

    def summary(self) -> dict[str, Any]:
        return json.loads((self.path / "summary.json").read_text(encoding="utf-8"))

    def verify(self) -> None:
        """Raise ArtifactError if a file of the finished stage is missing or is not what was written."""
        remedy = f"delete {self.path} and run again; only this stage and what depends on it is made anew"
        try:
            files = self.manifest()["files"]
        except (ValueError, KeyError, TypeError):
            raise ArtifactError("the manifest is corrupted", where=self.path / MANIFEST, remedy=remedy) from None
        for name, expected in files.items():
            file = self.path / name
            if not file.is_file():
                raise ArtifactError("the file is missing from a finished stage", where=file, remedy=remedy)
            if file.stat().st_size != expected["bytes"] or file_sha256(file) != expected["sha256"]:
                raise ArtifactError("the checksum differs from the manifest's", where=file, remedy=remedy)


def read_stage(path: Path) -> tuple[dict[str, Any], dict[str, Any]]:
    """Summary and manifest of the finished stage in ``path``."""
    stage = Stage(path.parent.name, path, {})
    return stage.summary(), stage.manifest()


def stage_path(runs: Path, noun: str, identity: dict[str, Any]) -> Path:
    return runs / noun / content_key(identity)


_unattended: ContextVar[Callable[[str], None] | None] = ContextVar("unattended", default=None)


@contextlib.contextmanager
def unattended(say: Callable[[str], None]) -> Iterator[None]:
    """Let work go on with nobody watching: wait for a folder that is held, set a damaged stage aside, ``say`` so."""
    token = _unattended.set(say)
    try:
        yield
    finally:
        _unattended.reset(token)


@contextlib.contextmanager
def open_stage(runs: Path, noun: str, identity: dict[str, Any]) -> Iterator[Stage]:
    """Hold the folder of the stage with this identity; a finished one is verified first.

    Raises ArtifactError where another process holds the folder, a finished file is corrupted (but see
    :func:`unattended` for both), or the disk is full.
    """
    path = stage_path(runs, noun, identity)
    with disk_errors(path), hold(path):
        stage = Stage(noun, path, identity)
        if stage.finished:
            _verify_or_set_aside(stage)
        if stage.finished:
            yield stage
            return
        write_json_atomically(path / "identity.json", identity)
        with stage.clock.running(lambda: stage.finished):
            yield stage


def _verify_or_set_aside(stage: Stage) -> None:
    try:
        stage.verify()
    except ArtifactError as error:
        say = _unattended.get()
        if say is None:
            raise
        say(f"{error.where}: {error.problem}; set aside as {_set_aside(stage.path)} and made again")


def _set_aside(path: Path) -> Path:
    """Move what is in a folder that this process holds into a new one beside it, which is returned.

    The lock stays, for those who wait for it. The manifest goes last: a stage half moved is still seen to be damaged.
    """
    places = (path.with_name(f"{path.name}.damaged-{number}") for number in itertools.count(1))
    aside = next(place for place in places if not place.exists())
    aside.mkdir()
    for file in sorted(path.iterdir(), key=lambda file: file.name == MANIFEST):
        if file.name not in (".lock", ".owner"):
            file.rename(aside / file.name)
    return aside


@contextlib.contextmanager
def hold(path: Path) -> Iterator[None]:
    """Be the only process in a folder, which is made if need be. The lock goes with the process, however it ends."""
    lock = FileLock(path / ".lock")
    try:
        path.mkdir(parents=True, exist_ok=True)
        lock.acquire(timeout=0)
    except Timeout:
        owner = path / ".owner"
        who = owner.read_text(encoding="utf-8") if owner.exists() else "unknown"
        say = _unattended.get()
        if say is None:
            raise ArtifactError(
                f"another process ({who}) is working in this folder",
                where=path,
                remedy="wait until it ends, or choose another --runs",
            ) from None
        say(f"{path}: waits for another process ({who})")
        lock.acquire()
    except OSError as error:
        if error.errno in _FULL:
            raise
        raise ArtifactError(
            f"cannot work in the folder ({error.strerror})", where=path, remedy="choose another --runs"
        ) from None
    try:
        (path / ".owner").write_text(f"pid {os.getpid()} on {socket.gethostname()}", encoding="utf-8")
        yield
    finally:
        lock.release()


@contextlib.contextmanager
def disk_errors(path: Path) -> Iterator[None]:
    """Turn a full disk, in whatever library it shows, into one clear error."""
    try:
        yield
    except Exception as error:
        full = isinstance(error, OSError) and error.errno in _FULL
        if not full and "No space left on device" not in str(error):
            raise
        raise ArtifactError(
            "no space left on the device", where=path, remedy="free some and run again: what is done is kept"
        ) from error


def versions() -> dict[str, str]:
    """Versions that can matter for a result; of libraries only those that are installed."""
    found = {"cotdistill": __version__, "python": platform.python_version()}
    for name in ("torch", "transformers", "tokenizers", "accelerate", "numpy", "scipy"):
        with contextlib.suppress(importlib.metadata.PackageNotFoundError):
            found[name] = importlib.metadata.version(name)
    return found


def _content_files(folder: Path) -> list[Path]:
    return sorted(
        file
        for file in folder.rglob("*")
        if file.is_file()
        and file.name not in (*_UNCHECKED, MANIFEST)
        and not any(name.endswith(".tmp") for name in file.relative_to(folder).parts)
    )
