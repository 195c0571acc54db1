"""Trackers are fed with what a training records: all of it, nothing twice, and never at the training's cost."""

from __future__ import annotations

import importlib.util
import json
import os
import signal
import sqlite3
import struct
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from tests.command import new_process

from cotdistill.config import Tracker, TrainingConfig, identity
from cotdistill.errors import ConfigError
from cotdistill.storage.jsonl import RowAppender, write_rows
from cotdistill.training.tracking import check_trackers, followed

TRACKERS: tuple[Tracker, ...] = ("tensorboard", "wandb", "trackio")
LOSS, SPEED, CHECKED = "train/loss", "train/tokens_per_second", "validation/terms/answer"


def row(step: int) -> dict[str, Any]:
    return {"step": step, "loss": step / 8, "terms": {"rationale": 0.5}, "num_tokens": 100 * step, "seconds": 0.5}


def of_tensorboard(place: Path) -> list[tuple[int, dict[str, float]]]:
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    events = EventAccumulator(str(place / "trackers" / "tensorboard" / "key"))
    events.Reload()
    return [(event.step, {name: event.value}) for name in events.Tags()["scalars"] for event in events.Scalars(name)]


def of_wandb(place: Path) -> list[tuple[int, dict[str, float]]]:
    """The rows of its offline files: a LevelDB log of protobuf records, behind a header of seven bytes."""
    from wandb.proto.wandb_internal_pb2 import Record

    found = []
    for file in sorted((place / "trackers" / "wandb").glob("offline-run-*/*.wandb")):
        data, parts, at = file.read_bytes(), b"", 7
        while at + 7 <= len(data):
            _, length, kind = struct.unpack("<IHB", data[at : at + 7])
            if (left := -at % 32768) and (left < 7 or not kind):  # what is left of a block of 32 KB
                at += left
                continue
            parts, at = parts + data[at + 7 : at + 7 + length], at + 7 + length
            if kind in (1, 4):  # a whole record, or the last part of one
                record, parts = Record.FromString(parts), b""
                if record.WhichOneof("record_type") == "history":
                    items = {item.key or "/".join(item.nested_key): item.value_json for item in record.history.item}
                    values = {name: json.loads(text) for name, text in items.items() if not name.startswith("_")}
                    found.append((int(items["_step"]), values))
    return found


def of_trackio(place: Path) -> list[tuple[int, dict[str, float]]]:
    with sqlite3.connect(place / "trackio" / "cotdistill.db") as store:
        rows = store.execute("SELECT step, metrics FROM metrics WHERE run_name = 'key' ORDER BY step").fetchall()
    return [(step, json.loads(values)) for step, values in rows]


READ: dict[Tracker, Callable[[Path], list[tuple[int, dict[str, float]]]]] = {
    "tensorboard": of_tensorboard,
    "wandb": of_wandb,
    "trackio": of_trackio,
}


def shown(tracker: Tracker, place: Path, name: str = LOSS) -> dict[int, float]:
    """What the tracker shows of a number by step; no step has it twice."""
    values = [(step, numbers[name]) for step, numbers in READ[tracker](place) if name in numbers]
    assert max(Counter(step for step, _ in values).values(), default=1) == 1
    return dict(values)


@pytest.fixture
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    for name, value in local(tmp_path).items():
        monkeypatch.setenv(name, value)
    (tmp_path / "training" / "key").mkdir(parents=True)
    return tmp_path


def local(place: Path) -> dict[str, str]:
    return {"WANDB_MODE": "offline", "TRACKIO_DIR": str(place / "trackio")}


def record(place: Path, steps: range, trackers: tuple[Tracker, ...], dies: bool = False) -> None:
    """What a training does that was at step ``steps.start - 1``: it forgets later rows, and goes on."""
    os.environ.update(local(place) if dies else {})
    folder = place / "training" / "key"
    write_rows(folder / "metrics.jsonl", map(row, range(1, steps.start)))
    with (
        RowAppender(folder / "metrics.jsonl") as metrics,
        RowAppender(folder / "validation.jsonl") as validation,
        followed(trackers, folder, place, {"learning_rate": 0.5}),
    ):
        for step in steps:
            metrics.append(row(step))
            if step % 4 == 0 and step > steps.start:
                validation.append({"step": step, "terms": {"answer": step / 4}})
        if dies:
            os.kill(os.getpid(), signal.SIGKILL)


def installed(tracker: Tracker) -> Tracker:
    if importlib.util.find_spec(tracker) is None:
        pytest.skip(f"{tracker} is not installed")
    return tracker


@pytest.mark.parametrize("tracker", TRACKERS)
def test_what_was_recorded_is_shown_once_also_after_a_kill(tracker: Tracker, place: Path) -> None:
    """Four steps untracked; four more, killed at once; the last two of these undone; and then to the twelfth."""
    installed(tracker)
    record(place, range(1, 5), ())
    process = new_process(record, place, range(5, 9), (tracker,), True)
    process.join(60)
    assert process.exitcode == -signal.SIGKILL
    fed = place / "trackers" / "fed" / f"key.{tracker}.json"
    until = time.monotonic() + 120
    while not fed.is_file():
        assert time.monotonic() < until, "the killed training's records were not fed"
        time.sleep(0.1)
    assert json.loads(fed.read_text()) == {"last_step": 8}
    record(place, range(7, 13), (tracker,))
    wait_for(lambda: json.loads(fed.read_text()) == {"last_step": 12})
    wait_for(lambda: len(shown(tracker, place)) == 12)
    assert shown(tracker, place) == {step: step / 8 for step in range(1, 13)}
    assert shown(tracker, place, SPEED) == {step: 200.0 * step for step in range(1, 13)}
    assert shown(tracker, place, CHECKED) == {4: 1.0, 8: 2.0, 12: 3.0}


def wait_for(done: Callable[[], bool]) -> None:
    """A busy machine may take longer than a training waits for."""
    until = time.monotonic() + 120
    while not done():
        assert time.monotonic() < until
        time.sleep(0.2)


def test_a_tracker_that_fails_is_said_once_and_costs_nothing(
    place: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    installed("trackio")
    monkeypatch.setenv("TRACKIO_SERVER_URL", "ftp://nowhere")
    record(place, range(1, 30), ("trackio",))
    err = ""

    def said() -> bool:
        nonlocal err
        err += capfd.readouterr().err
        return "trackio is not fed any more" in err

    wait_for(said)
    assert err.count("\n") == 1, err
    assert "metrics.jsonl" in {file.name for file in (place / "training" / "key").iterdir()}


def test_tracking_changes_no_key() -> None:
    assert identity(TrainingConfig(track=TRACKERS)) == identity(TrainingConfig())


def test_a_tracker_that_is_not_installed_is_one_clear_line(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    with pytest.raises(ConfigError, match=r"training\.track: the package wandb is not installed; pip install"):
        check_trackers(["wandb"])
