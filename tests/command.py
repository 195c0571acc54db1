"""The command line in processes of its own: started in an instant, watched, killed."""

from __future__ import annotations

import multiprocessing
import os
import runpy
import signal
import sys
from collections.abc import Callable
from dataclasses import dataclass
from multiprocessing.process import BaseProcess
from pathlib import Path
from typing import Any

_forking = multiprocessing.get_context("forkserver")
_forking.set_forkserver_preload(
    [
        "cotdistill.cli",
        "cotdistill.evaluation.evaluate",
        "cotdistill.reports.result",
        "cotdistill.experiments.run",
        "cotdistill.training.card",
        "cotdistill.training.stage",
        "matplotlib.figure",
        "scipy.stats",
        "transformers.models.auto.modeling_auto",
        "transformers.models.llama.modeling_llama",
    ]
)
"""These are loaded once, by a process that all others are forked from. It computes nothing, so it has no threads."""


def new_process(target: Callable[..., None], *arguments: Any) -> BaseProcess:
    """A started process with a Python of its own but the slow imports done; ``target`` is a module's own function.

    Started by such a process, it inherits what that one made of its surroundings.
    """
    inside = multiprocessing.parent_process() is not None
    process = (multiprocessing.get_context("fork") if inside else _forking).Process(target=target, args=arguments)
    process.start()
    return process


def die_before_change(number: int) -> None:
    """Let SIGKILL come when this process is about to make its change ``number`` (from 0) to any file or folder.

    Opening a file for writing, making a folder, renaming and deleting count. Seeing to it inside the process makes the
    moment exact and the same in every test run.
    """

    def watch(event: str, arguments: tuple[Any, ...]) -> None:
        nonlocal number
        changes = event in ("os.mkdir", "os.rename", "os.remove", "os.rmdir")
        if changes or (event == "open" and isinstance(arguments[1], str) and set(arguments[1]) & set("wax+")):
            number -= 1
            if number < 0:
                os.kill(os.getpid(), signal.SIGKILL)

    sys.addaudithook(watch)


@dataclass(frozen=True, slots=True)
class Outcome:
    """How a command ended: its exit status (negative for a signal) and what it wrote."""

    status: int
    out: str
    err: str


class Command:
    """``python -m cotdistill ARGUMENTS`` with ``folder`` as its working folder, as a process."""

    def __init__(
        self,
        folder: Path,
        *arguments: object,
        environment: dict[str, str] | None = None,
        dies_before: int | None = None,
    ):
        self._outputs = [folder / f".{id(self)}.{name}" for name in ("out", "err")]
        words = [str(argument) for argument in arguments]
        self.process = new_process(_run, folder, words, environment or {}, dies_before, *self._outputs)

    def wait(self, seconds: float = 240) -> Outcome:
        """Its outcome; it is killed, and the test fails, where it takes longer than ``seconds``."""
        self.process.join(seconds)
        if self.process.exitcode is None:
            self.kill()
            raise AssertionError(f"no end after {seconds} seconds")
        out, err = (path.read_text(encoding="utf-8") for path in self._outputs)
        return Outcome(self.process.exitcode, out, err)

    def kill(self) -> None:
        """SIGKILL, as from a machine that goes down."""
        self.process.kill()
        self.process.join()


def run_command(
    folder: Path, *arguments: object, environment: dict[str, str] | None = None, seconds: float = 240
) -> Outcome:
    return Command(folder, *arguments, environment=environment).wait(seconds)


def _run(
    folder: Path, arguments: list[str], environment: dict[str, str], dies_before: int | None, out: Path, err: Path
) -> None:
    """In the forked process: what ``python -m cotdistill`` does."""
    for stream, path in ((1, out), (2, err)):
        os.dup2(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC), stream)
    os.chdir(folder)
    os.environ.update(environment)
    sys.argv = ["cotdistill", *arguments]
    if dies_before is not None:
        die_before_change(dies_before)
    runpy.run_module("cotdistill", run_name="__main__", alter_sys=True)
