"""What this machine has verified is told by size, times and inode; whatever else a file may be is read again."""

from __future__ import annotations

import os
import shutil
import time
from collections.abc import Callable
from itertools import pairwise
from pathlib import Path

import pytest
from tests.stages import alter_a_byte

from cotdistill.errors import ArtifactError
from cotdistill.storage import finished, verified
from cotdistill.storage.finished import FinishedStage, open_finished
from cotdistill.storage.stages import Stage


@pytest.fixture
def stage(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> FinishedStage:
    """A stage that this machine has verified; its files count as settled at once."""
    monkeypatch.setattr(verified, "_SETTLED_SECONDS", 0.02)
    folder = tmp_path / "runs" / "training" / "key"
    folder.mkdir(parents=True)
    (folder / "student.bin").write_bytes(b"weights" * 20)
    Stage("training", folder, {}).finish({}, seeds={}, dropped={})
    time.sleep(0.05)
    open_finished(folder).verify()
    return open_finished(folder)


@pytest.fixture
def reads(monkeypatch: pytest.MonkeyPatch) -> list[Path]:
    """The files whose checksums are computed."""
    read: list[Path] = []
    checksum = finished.file_sha256
    monkeypatch.setattr(finished, "file_sha256", lambda file, each=None: (read.append(file), checksum(file, each))[1])
    monkeypatch.setattr(finished, "_verified", {})  # as in another process
    return read


def test_a_stage_that_was_verified_is_not_read_again(stage: FinishedStage, reads: list[Path]) -> None:
    stage.check()
    assert reads == []
    stage.verify()
    assert {file.name for file in reads} == {"student.bin", "summary.json"}


def _with_old_times(file: Path) -> None:
    before = file.stat()
    alter_a_byte(file)
    os.utime(file, ns=(before.st_atime_ns, before.st_mtime_ns))


def _replaced(file: Path) -> None:
    shutil.copy2(file, file.with_name("other"))
    file.with_name("other").replace(file)
    alter_a_byte(file)


@pytest.mark.parametrize("change", [alter_a_byte, _with_old_times, _replaced, Path.unlink])
def test_a_change_is_found_whatever_it_hides(stage: FinishedStage, change: Callable[[Path], None]) -> None:
    change(stage.path / "student.bin")
    with pytest.raises(ArtifactError, match=r"student.bin"):
        open_finished(stage.path).check()


def test_what_was_just_written_is_not_trusted(stage: FinishedStage, monkeypatch: pytest.MonkeyPatch) -> None:
    """A second change within a tick of the clock would not show."""
    monkeypatch.setattr(verified, "_SETTLED_SECONDS", 3600)
    verified.forget(stage.path.parents[1])
    stage.verify()
    assert not verified.is_unchanged(stage.path, stage.manifest["files"])


def test_what_is_forgotten_is_verified_again(stage: FinishedStage, reads: list[Path]) -> None:
    verified.forget(stage.path.parents[1])
    stage.check()
    assert len(reads) == 2
    stage.check()
    assert len(reads) == 2


def test_a_damaged_record_is_no_record(stage: FinishedStage, reads: list[Path]) -> None:
    (record,) = (stage.path.parents[1] / ".verified").rglob("*.json")
    record.write_text("{", encoding="utf-8")
    stage.check()
    assert len(reads) == 2


@pytest.mark.parametrize("end", [b"", b"\n"], ids=["torn", "whole"])
def test_where_lines_start_is_found_while_their_file_is_checked(tmp_path: Path, reads: list[Path], end: bytes) -> None:
    lines = [b"one\r", b"", "two\u2028three".encode(), b"4" * 300_000, *[b"five"] * 40_000]
    (tmp_path / "rows.jsonl").write_bytes(b"\n".join(lines) + end)
    Stage("evaluation", tmp_path, {}).finish({}, seeds={}, dropped={})
    stage = open_finished(tmp_path)
    starts = stage.line_starts("rows.jsonl").tolist()
    whole = (tmp_path / "rows.jsonl").read_bytes()
    ended = len(lines) if end else len(lines) - 1
    assert [whole[a : b - 1] for a, b in pairwise(starts)] == lines[:ended]
    assert reads == [tmp_path / "rows.jsonl"]
    alter_a_byte(tmp_path / "rows.jsonl", 400_000)
    with pytest.raises(ArtifactError, match="checksum"):
        stage.line_starts("rows.jsonl")
