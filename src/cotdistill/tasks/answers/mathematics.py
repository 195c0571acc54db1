"""Answers in LaTeX: read from a statement, and compared as mathematics by math-verify (the ``math`` extra)."""

from __future__ import annotations

import atexit
import contextlib
import importlib.util
import json
import re
import subprocess
import sys
import threading
from collections.abc import Iterator
from functools import lru_cache
from queue import LifoQueue

from cotdistill.errors import ConfigError
from cotdistill.storage.processors import num_processors

MAX_ANSWER = 300
"""Characters of the longest answer; MATH's own have up to 160."""
PATIENCE = 12.0
"""Seconds that one comparison may take; a comparison that takes longer counts as different."""
STARTING = 120.0

_DRESSED = re.compile(r"(?:\$\$?|\\\[|\\\()([^$]{1,400}?)(?:\$\$?|\\\]|\\\))")
_SPACES = re.compile(r"\s+|\\[,;:! ]")


def plain_math(text: str) -> str | None:
    """LaTeX without outer dollars, full stop and line breaks; None if it is empty or too long."""
    bare = " ".join(text.split()).rstrip(". ").strip()
    if len(bare) > 1 and bare.startswith("$") and bare.endswith("$"):
        bare = bare.strip("$").strip()
    return bare if bare and len(bare) <= MAX_ANSWER else None


def read_math(text: str, first_sentence: str) -> str | None:
    """The answer that ``text`` states: between dollars, or its first sentence as it is."""
    dressed = _DRESSED.search(text.strip()[: MAX_ANSWER * 2])
    return plain_math(dressed[1] if dressed and dressed.start() < len(first_sentence) else first_sentence)


@lru_cache(maxsize=65536)
def same_math(stated: str, gold: str) -> bool:
    """Whether two answers are equal as mathematics. Raises ConfigError if math-verify is not installed."""
    if _SPACES.sub("", stated) == _SPACES.sub("", gold):
        return True
    if max(len(stated), len(gold)) > MAX_ANSWER:
        return False
    with _a_judge() as judge:
        return judge.ask(gold, stated)[0]


def read_and_compare(output: str, gold: str) -> tuple[str | None, bool]:
    """The answer that math-verify finds in ``output``, or None, and whether it is ``gold``. Raises like same_math."""
    with _a_judge() as judge:
        same, read = judge.ask(gold, output[-_MAX_OUTPUT:], whole=True)
        return read, same


_MAX_OUTPUT = 20_000
"""Characters at the end of an output that math-verify searches."""


class _Judge:
    """A process that compares; started when it is first needed, and again after it is killed."""

    def __init__(self) -> None:
        self._process: subprocess.Popen[str] | None = None

    def ask(self, gold: str, stated: str, *, whole: bool = False) -> tuple[bool, str | None]:
        """Whether ``stated`` is ``gold``, and what was read of it; with ``whole`` it is found in a longer text."""
        process = self._process or self._start()
        reply = self._exchange(process, json.dumps([gold, stated, whole]) + "\n", PATIENCE)
        if not reply:
            self.stop()
            return False, None
        same, read = json.loads(reply)
        return same, read

    def stop(self) -> None:
        if self._process is not None:
            self._process.kill()
            self._process.communicate()
            self._process = None

    def _start(self) -> subprocess.Popen[str]:
        if importlib.util.find_spec("math_verify") is None:
            remedy = "pip install 'cotdistill[math]'"
            raise ConfigError("comparing answers in LaTeX needs the package math-verify", where="math", remedy=remedy)
        self._process = subprocess.Popen(
            [sys.executable, "-m", "cotdistill.tasks.answers.math_worker"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            text=True,
            encoding="utf-8",
        )
        if self._exchange(self._process, "", STARTING) != "ready\n":
            self.stop()
            raise ConfigError("math-verify does not start", where="math", remedy="pip install 'cotdistill[math]' again")
        return self._process

    def _exchange(self, process: subprocess.Popen[str], line: str, seconds: float) -> str:
        """The reply to ``line``; empty if the process died or was killed for taking too long."""
        assert process.stdin
        assert process.stdout
        timer = threading.Timer(seconds, process.kill)
        timer.start()
        try:
            process.stdin.write(line)
            process.stdin.flush()
            return process.stdout.readline()
        except OSError:
            return ""
        finally:
            timer.cancel()


NUM_JUDGES = max(1, min(8, num_processors() - 1))
"""How many processes compare at a time, each for a thread of this one."""
_judges = [_Judge() for _ in range(NUM_JUDGES)]
_idle: LifoQueue[_Judge] = LifoQueue()  # so that one that was started goes before one that was not
for _each in _judges:
    _idle.put(_each)
    atexit.register(_each.stop)


@contextlib.contextmanager
def _a_judge() -> Iterator[_Judge]:
    """A process that no other thread uses meanwhile."""
    judge = _idle.get()
    try:
        yield judge
    finally:
        _idle.put(judge)
