"""Folders on disk: one per stage, named by a hash of everything that can change its content.

A stage is *finished* when its ``manifest.json`` exists; that file is written last and holds the size and SHA-256 of
every other file. Until then a stage may hold partial records, from which a later process resumes. One process works in
a stage folder at a time.
"""

from __future__ import annotations

import contextlib
import itertools
from collections.abc import Callable, Iterator
from contextvars import ContextVar
from dataclasses import dataclass, field
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

from cotdistill.errors import ArtifactError
from cotdistill.storage.atomic import disk_errors, write_json_atomically
from cotdistill.storage.clock import Clock
from cotdistill.storage.finished import MANIFEST, SUMMARY, FinishedStage, is_finished, open_finished
from cotdistill.storage.hashes import content_key, file_sha256
from cotdistill.storage.locks import LOCK_FILES, attendant, hold
from cotdistill.storage.machine import machine, versions

CLOCK = "clock.tmp"
"""The seconds that processes have worked on an unfinished stage."""
_UNCHECKED = (*LOCK_FILES, MANIFEST, "README.md")
"""Files that are not content: the lock, and the model card, which gets its scores after the stage is done. Nor is
anything whose name, or folder's name, ends in .tmp: it is needed only until the stage is done."""


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
        return is_finished(self.path)

    def finish(
        self,
        summary: dict[str, Any],
        *,
        seeds: dict[str, int],
        dropped: dict[str, int],
        notes: dict[str, Any] | None = None,
    ) -> None:
        """Write ``summary.json`` and then the manifest, with ``notes`` in it, which marks the stage as done."""
        write_json_atomically(self.path / SUMMARY, summary)
        manifest = {
            "stage": self.noun,
            "identity": self.identity,
            "versions": versions(),
            "machine": machine(),
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

    def read(self) -> FinishedStage:
        """The stage, once it is finished."""
        return open_finished(self.path)


def stage_path(runs: Path, noun: str, identity: dict[str, Any]) -> Path:
    return runs / noun / content_key(identity)


_noted: ContextVar[Callable[[Path], None] | None] = ContextVar("noted", default=None)


@contextlib.contextmanager
def noting_stages(note: Callable[[Path], None]) -> Iterator[None]:
    """Have ``note`` told the folder of each stage that is opened, before anything is done in it."""
    token = _noted.set(note)
    try:
        yield
    finally:
        _noted.reset(token)


def note(stage: Path) -> None:
    """Say that a stage is used."""
    if (noted := _noted.get()) is not None:
        noted(stage)


@contextlib.contextmanager
def open_stage(runs: Path, noun: str, identity: dict[str, Any]) -> Iterator[Stage]:
    """Hold the folder of the stage with this identity; a finished one is checked first, and begun again if some of its
    files were removed.

    Raises ArtifactError if another process holds the folder, a finished file is corrupted (but see
    :func:`unattended` for both), or the disk is full.
    """
    path = stage_path(runs, noun, identity)
    note(path)
    with disk_errors(path), hold(path):
        stage = Stage(noun, path, identity)
        if stage.finished:
            _verify_or_set_aside(stage)
        if stage.finished and stage.read().removed:
            (path / MANIFEST).unlink()
        if stage.finished:
            yield stage
            return
        write_json_atomically(path / "identity.json", identity)
        with stage.clock.running(lambda: stage.finished):
            yield stage


def _verify_or_set_aside(stage: Stage) -> None:
    try:
        stage.read().check()
    except ArtifactError as error:
        say = attendant()
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
        if file.name not in LOCK_FILES:
            file.rename(aside / file.name)
    return aside


def _content_files(folder: Path) -> list[Path]:
    return sorted(
        file
        for file in folder.rglob("*")
        if file.is_file()
        and file.name not in _UNCHECKED
        and not any(name.endswith(".tmp") for name in file.relative_to(folder).parts)
    )
