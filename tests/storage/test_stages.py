"""Run folders: finished or resumable, never torn, one process at a time."""

from __future__ import annotations

import contextlib
import errno
import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from tests.command import new_process

from cotdistill.errors import ArtifactError
from cotdistill.storage import clock
from cotdistill.storage import stages as artifacts
from cotdistill.storage.atomic import disk_errors, write_text_atomically
from cotdistill.storage.jsonl import RowAppender, read_rows, write_rows
from cotdistill.storage.stages import open_stage, stage_path

IDENTITY = {"model": "m", "settings": {"b": 1, "a": [1, 2.5, None]}}


def finish_one(runs: Path) -> Path:
    with open_stage(runs, "evaluation", IDENTITY) as stage:
        write_rows(stage.path / "rows.jsonl", [{"x": 1}, {"x": 2}])
        stage.finish({"n": 2}, seeds={"training": 1}, dropped={"too_long": 3})
    return stage.path


def test_a_stage_is_found_by_content_whatever_the_order_of_keys(tmp_path: Path) -> None:
    same = {"settings": {"a": [1, 2.5, None], "b": 1}, "model": "m"}
    assert stage_path(tmp_path, "training", IDENTITY) == stage_path(tmp_path, "training", same)
    other = {**IDENTITY, "model": "n"}
    assert stage_path(tmp_path, "training", IDENTITY) != stage_path(tmp_path, "training", other)


def test_a_finished_stage_says_what_it_holds(tmp_path: Path) -> None:
    finish_one(tmp_path)
    with open_stage(tmp_path, "evaluation", IDENTITY) as stage:
        assert stage.finished
        assert stage.read().summary == {"n": 2}
        manifest = stage.read().manifest
    assert manifest["identity"] == IDENTITY
    assert manifest["seeds"] == {"training": 1}
    assert manifest["dropped"] == {"too_long": 3}
    assert manifest["versions"]["cotdistill"]
    assert manifest["machine"]["processor"]
    assert manifest["machine"]["threads"] > 0
    assert set(manifest["files"]) == {"identity.json", "rows.jsonl", "summary.json"}


def work_until_killed(runs: Path) -> None:
    clock.TICK = 0.05
    with open_stage(runs, "evaluation", IDENTITY):
        time.sleep(0.5)
        os.kill(os.getpid(), signal.SIGKILL)


def test_the_seconds_of_a_stage_are_those_of_all_who_worked_on_it(tmp_path: Path) -> None:
    """Of one that failed to its end, of one that was killed to about its end; what lies between counts for nothing."""
    with contextlib.suppress(KeyboardInterrupt), open_stage(tmp_path, "evaluation", IDENTITY):
        time.sleep(0.3)
        raise KeyboardInterrupt
    killed = new_process(work_until_killed, tmp_path)
    killed.join(60)
    assert killed.exitcode == -signal.SIGKILL
    started = time.time()
    path = finish_one(tmp_path)
    manifest = json.loads((path / "manifest.json").read_text())
    assert 0.3 + 0.4 <= manifest["seconds"] <= 0.3 + 0.6 + time.time() - started
    assert not (path / artifacts.CLOCK).exists()
    assert artifacts.CLOCK not in manifest["files"]


@pytest.mark.parametrize("damage", ["one bit", "cut off", "gone", "manifest"])
def test_a_corrupted_stage_is_refused(tmp_path: Path, damage: str) -> None:
    path = finish_one(tmp_path)
    rows = path / "rows.jsonl"
    if damage == "one bit":
        data = bytearray(rows.read_bytes())
        data[3] ^= 1
        rows.write_bytes(data)
    elif damage == "cut off":
        rows.write_bytes(rows.read_bytes()[:-2])
    elif damage == "gone":
        rows.unlink()
    else:
        (path / "manifest.json").write_text("{")
    with pytest.raises(ArtifactError, match=r"delete .* and run again"), open_stage(tmp_path, "evaluation", IDENTITY):
        pass


def test_a_second_process_is_turned_away_and_a_dead_one_holds_nothing(tmp_path: Path) -> None:
    script = (
        "import sys, time; from pathlib import Path; from cotdistill.storage.stages import open_stage\n"
        f"with open_stage(Path({str(tmp_path)!r}), 'evaluation', {IDENTITY!r}):\n"
        "    print('held', flush=True); time.sleep(60)"
    )
    with subprocess.Popen([sys.executable, "-c", script], stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "held\n"
        with pytest.raises(ArtifactError) as raised, open_stage(tmp_path, "evaluation", IDENTITY):
            pass
        assert f"another process (pid {process.pid} on" in str(raised.value)
        process.kill()
    with open_stage(tmp_path, "evaluation", IDENTITY) as stage:
        assert not stage.finished


def test_rows_survive_a_kill_in_the_middle_of_a_line(tmp_path: Path) -> None:
    path = tmp_path / "rows.jsonl"
    with RowAppender(path) as appender:
        appender.append({"n": 1, "text": "line\nbreak \u2028 and \ud83d lone surrogate"})
        appender.append({"n": 2})
    with path.open("a") as file:
        file.write('{"n": 3, "te')
    with RowAppender(path) as appender:
        assert [row["n"] for row in appender.rows()] == [1, 2]
        appender.append({"n": 3})
    assert [row["n"] for row in read_rows(path)] == [1, 2, 3]
    assert next(iter(read_rows(path)))["text"] == "line\nbreak \u2028 and \ud83d lone surrogate"


def test_an_atomic_write_that_fails_leaves_the_old_file(tmp_path: Path) -> None:
    path = tmp_path / "summary.json"
    write_text_atomically(path, "old")
    with pytest.raises(UnicodeEncodeError):
        write_text_atomically(path, "new \ud83d")
    assert path.read_text() == "old"
    assert [file.name for file in tmp_path.iterdir()] == ["summary.json"]


def test_a_full_disk_is_one_clear_error(tmp_path: Path) -> None:
    """/dev/full refuses every write as a full disk does."""
    with pytest.raises(ArtifactError, match="no space left on the device; free some"), disk_errors(tmp_path):
        Path("/dev/full").write_text("x")
    with pytest.raises(OSError, match="other"), disk_errors(tmp_path):
        raise OSError(errno.EACCES, "other")


def test_a_run_folder_that_cannot_be_made_is_one_clear_error(tmp_path: Path) -> None:
    (tmp_path / "runs").write_text("a file")
    with pytest.raises(ArtifactError, match="choose another --runs"), open_stage(tmp_path / "runs", "training", {}):
        pass


def test_manifests_are_json_that_anyone_can_read(tmp_path: Path) -> None:
    path = finish_one(tmp_path)
    assert json.loads((path / "manifest.json").read_text())["stage"] == "evaluation"


@pytest.mark.parametrize("runs", ["/proc/cotdistill", "file/runs"])
def test_a_folder_that_cannot_be_made_is_one_line(tmp_path: Path, runs: str) -> None:
    (tmp_path / "file").write_text("", encoding="utf-8")
    told = pytest.raises(ArtifactError, match=r"cannot write to the folder .*choose another --runs")
    with told, open_stage(tmp_path / runs, "evaluation", IDENTITY):
        pass
