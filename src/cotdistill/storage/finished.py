"""Reading finished stages. What is read is first checked against the manifest's checksums; what differs is refused."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pydantic import BaseModel, ConfigDict, Field

from cotdistill.errors import ArtifactError
from cotdistill.storage.hashes import file_sha256
from cotdistill.storage.jsonl import read_rows
from cotdistill.storage.texts import WRONG_SHAPE
from cotdistill.storage.verified import Stamp, is_settled, is_unchanged, remember, stamp

if TYPE_CHECKING:
    import numpy as np

MANIFEST, SUMMARY = "manifest.json", "summary.json"

_verified: dict[Path, tuple[Stamp, str]] = {}
"""Files that this process has read and found to have this checksum: they are not read again for it."""


def is_finished(path: Path) -> bool:
    """Whether the folder holds a finished stage: its manifest is written last."""
    return (path / MANIFEST).is_file()


class _File(BaseModel):
    bytes: int
    sha256: str


class _Lengths(BaseModel):
    """What became of a training's examples."""

    whole: int
    cut: int
    too_long: int


class _Manifest(BaseModel):
    """The parts of a manifest that are read; there are others."""

    model_config = ConfigDict(strict=True, allow_inf_nan=False)

    stage: str
    identity: dict[str, Any]
    seconds: float = Field(ge=0)
    dropped: dict[str, int]
    lengths: _Lengths | None = None
    files: dict[str, _File]


@dataclass(frozen=True, slots=True)
class FinishedStage:
    """The folder of a finished stage; every file that it returns is the one that was written."""

    path: Path
    manifest: dict[str, Any]

    @property
    def noun(self) -> str:
        """What was made: annotation, teacher_signal, training, evaluation ..."""
        return self.manifest["stage"]

    @property
    def identity(self) -> dict[str, Any]:
        return self.manifest["identity"]

    @property
    def seconds(self) -> float:
        """How long it took to make, over all processes that worked on it."""
        return self.manifest["seconds"]

    @property
    def dropped(self) -> dict[str, int]:
        """Counts by reason of what was dropped."""
        return self.manifest["dropped"]

    @property
    def removed(self) -> dict[str, Any]:
        """Files that were removed since, as the manifest described them: they can be made again."""
        return self.manifest.get("removed", {})

    @property
    def summary(self) -> dict[str, Any]:
        return json.loads(self.file(SUMMARY).read_text(encoding="utf-8"))

    def __contains__(self, name: str) -> bool:
        return name in self.manifest["files"]

    def checksum(self, name: str) -> str:
        """The SHA-256 that one of its files had when it was written."""
        return self.manifest["files"][name]["sha256"]

    def file(self, name: str) -> Path:
        """One of its files. Raises ArtifactError if it is missing or is not what was written."""
        return self._sound(name)

    def line_starts(self, name: str) -> np.ndarray:
        """Where each line of one of its files starts, and the last one ends, in bytes.

        The file is read once, for this and to check it as :meth:`file` does.
        """
        import numpy as np

        size, starts = 0, [np.zeros(1, np.int64)]

        def note(block: memoryview) -> None:
            nonlocal size
            starts.append(np.flatnonzero(np.frombuffer(block, np.uint8) == ord("\n")) + (size + 1))
            size += len(block)

        file = self._sound(name, note)
        if not size:  # this process has checked it before
            file_sha256(file, note)
        return np.concatenate(starts)

    def _sound(self, name: str, each: Callable[[memoryview], None] | None = None) -> Path:
        """A file of it that is what was written; ``each`` is given its blocks if it has to be read for that."""
        file, expected = self.path / name, self.manifest["files"].get(name)
        if expected is None or not file.is_file():
            raise ArtifactError("the file is missing from a finished stage", where=file, remedy=_remedy(self.path))
        found = stamp(file)
        if _verified.get(file) == (found, expected["sha256"]):
            return file
        if found[0] != expected["bytes"] or file_sha256(file, each) != expected["sha256"]:
            raise ArtifactError("the checksum differs from the manifest's", where=file, remedy=_remedy(self.path))
        if is_settled(found):
            _verified[file] = found, expected["sha256"]
        return file

    def rows(self, name: str) -> Iterator[dict[str, Any]]:
        """The rows of one of its JSON Lines files."""
        return read_rows(self.file(name))

    def verify(self) -> None:
        """Raise ArtifactError if any file is missing or is not what was written."""
        for name in self.manifest["files"]:
            self.file(name)
        remember(self.path, (MANIFEST, *self.manifest["files"]))

    def check(self) -> None:
        """Verify it, unless this machine has done so before and size, times and inode of no file have changed since."""
        if not is_unchanged(self.path, (MANIFEST, *self.manifest["files"])):
            self.verify()


def open_finished(path: Path) -> FinishedStage:
    """The finished stage in ``path``. Raises ArtifactError if there is none, or its manifest is corrupted."""
    if not is_finished(path):
        remedy = "give the folder of a finished one, runs/NOUN/KEY, or run the command that began it again"
        raise ArtifactError("not the folder of a finished stage", where=path, remedy=remedy)
    try:
        manifest = json.loads((path / MANIFEST).read_text(encoding="utf-8"))
        _Manifest.model_validate(manifest)
    except WRONG_SHAPE:
        raise ArtifactError("the manifest is corrupted", where=path / MANIFEST, remedy=_remedy(path)) from None
    return FinishedStage(path, manifest)


def _remedy(path: Path) -> str:
    return f"delete {path} and run again; only this stage and what depends on it are made again"
