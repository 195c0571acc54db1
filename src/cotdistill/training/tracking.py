"""What a training records, fed to its trackers, each by a process of its own.

The process follows ``metrics.jsonl`` and ``validation.jsonl`` as they grow. So no tracker can stop or slow the training
or write into its output, and none loses what was recorded before a kill of the training: the process goes on until its
standard input has ended and the files are read. It writes down the last step that it fed, from which a resumed training
goes on.
"""

from __future__ import annotations

import importlib.util
import json
import os
import select
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from filelock import FileLock

from cotdistill.config import Tracker
from cotdistill.errors import ConfigError, printable
from cotdistill.storage.atomic import write_json_atomically
from cotdistill.training.trackers import WRITERS, Run

FOLDER = "trackers"
"""Below ``runs``: the files of tensorboard and wandb, how far each tracker was fed, and what it said."""
FILES = {"metrics.jsonl": "train", "validation.jsonl": "validation"}
"""The followed files, and what the names of their numbers begin with. The first has a row for each step."""
_SECONDS = 1.0
_PATIENCE, _MOST_PATIENCE = 10.0, 300
"""Seconds that a finished training waits for its trackers, and after which they give up by themselves."""


def check_trackers(trackers: Iterable[Tracker]) -> None:
    """Raise ConfigError for a tracker that is not installed."""
    for name in trackers:
        if importlib.util.find_spec(name) is None:
            remedy = "pip install 'cotdistill[track]', or leave it out"
            raise ConfigError(f"the package {name} is not installed", where="training.track", remedy=remedy)


@contextmanager
def followed(trackers: Sequence[Tracker], folder: Path, runs: Path, settings: dict[str, Any]) -> Iterator[None]:
    """Have ``trackers`` fed with what a training records in ``folder``; they are told its ``settings``.

    Raises ConfigError for one that is not installed.
    """
    check_trackers(trackers)
    jobs = [[name, str(folder.resolve()), str((runs / FOLDER).resolve()), settings] for name in trackers]
    processes = [_start(json.dumps(job)) for job in jobs]
    try:
        yield
    finally:
        for process in processes:
            with suppress(BrokenPipeError):
                process.stdin.close()  # pyright: ignore[reportOptionalMemberAccess]
        until = time.monotonic() + _PATIENCE
        for process in processes:
            with suppress(subprocess.TimeoutExpired):
                process.wait(max(0.0, until - time.monotonic()))


def _start(job: str) -> subprocess.Popen[str]:
    process = subprocess.Popen([sys.executable, "-m", __name__], stdin=subprocess.PIPE, text=True)
    assert process.stdin is not None
    with suppress(BrokenPipeError):
        process.stdin.write(f"{job}\n")
        process.stdin.flush()
    return process


@dataclass
class _Tail:
    """The rows that a growing file of JSON lines has got since it was last read; one that was replaced is read anew."""

    path: Path
    inode: int = 0
    byte: int = 0

    def rows(self) -> Iterator[dict[str, Any]]:
        with suppress(FileNotFoundError), self.path.open("rb") as file:
            inode = os.fstat(file.fileno()).st_ino
            file.seek(self.byte if inode == self.inode else 0)
            while (line := file.readline()).endswith(b"\n"):
                self.inode, self.byte = inode, file.tell()
                yield json.loads(line)


@dataclass
class Records:
    """What the files in ``folder`` say of each step."""

    folder: Path
    _waiting: dict[int, dict[str, float]] = field(default_factory=dict)
    _newest: int = -1

    def __post_init__(self) -> None:
        self._tails = [(_Tail(self.folder / name), prefix) for name, prefix in FILES.items()]

    def take(self, *, ended: bool) -> dict[int, dict[str, float]]:
        """The numbers of the steps to which nothing can be added: a later one has its metrics, or all has ``ended``."""
        for tail, prefix in self._tails:
            for row in tail.rows():
                step = int(row.pop("step"))
                self._newest = max(self._newest, step) if prefix == "train" else self._newest
                self._waiting.setdefault(step, {}).update(_numbers(_with_speed(row), prefix))
        complete = sorted(step for step in self._waiting if ended or step < self._newest)
        return {step: self._waiting.pop(step) for step in complete}


def _with_speed(row: dict[str, Any]) -> dict[str, Any]:
    tokens, seconds = row.get("num_tokens"), row.get("seconds")
    return row | {"tokens_per_second": tokens / seconds} if tokens and seconds else row


def _numbers(value: Any, name: str) -> dict[str, float]:
    """The numbers of a nested row by their path."""
    if isinstance(value, Mapping):
        return {path: x for key, each in value.items() for path, x in _numbers(each, f"{name}/{key}").items()}
    is_number = isinstance(value, int | float) and not isinstance(value, bool)
    return {name: float(value)} if is_number else {}


def _follow(name: Tracker, folder: Path, run: Run) -> None:
    """Feed the tracker until standard input ends, and then with what is left."""
    note = run.place / "fed" / f"{run.name}.{name}.json"
    last = int(json.loads(note.read_text(encoding="utf-8"))["last_step"]) if note.is_file() else -1
    writer, records, ended = WRITERS[name](run), Records(folder), False
    while not ended:
        ended = bool(select.select([sys.stdin], [], [], _SECONDS)[0])
        if ended:
            signal.alarm(_MOST_PATIENCE)
        new = {step: values for step, values in records.take(ended=ended).items() if step > last}
        for step, values in new.items():
            writer.log(values, step)
        if new:
            writer.flush()
            last = max(new)
            write_json_atomically(note, {"last_step": last})
    writer.close()


def _main() -> None:
    name, folder, place, settings = json.loads(sys.stdin.readline())
    run = Run(Path(folder).name, Path(place), settings)
    own = _keep_quiet(run.place / "logs" / f"{run.name}.{name}.log")
    try:
        with FileLock(run.place / "logs" / f"{run.name}.{name}.lock"):  # that of a killed training may still be at it
            _follow(name, Path(folder), run)
    except Exception as error:  # anybody's code, and the network
        reason = " ".join(str(error).split())[:300] or type(error).__name__
        own(f"cotdistill: {name} is not fed any more ({reason}); the metrics are in {folder}")


def _keep_quiet(log: Path) -> Callable[[str], None]:
    """Have all that libraries print go to ``log``; what is returned prints a line of ours."""
    log.parent.mkdir(parents=True, exist_ok=True)
    stderr = os.fdopen(os.dup(2), "w")
    file = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o644)
    for stream in (1, 2):
        os.dup2(file, stream)
    return lambda line: print(printable(line), file=stderr, flush=True)


def _give_up(*_: object) -> None:
    raise TimeoutError("it takes too long to finish")


if __name__ == "__main__":
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is the training's, whose end is this process's
    signal.signal(signal.SIGALRM, _give_up)
    _main()
    os._exit(0)  # what a library would still wait for at exit has had its time
