"""Which rationales are refused, found by several processes where there are many to verify.

Each of them runs :func:`main`.
"""

from __future__ import annotations

import contextlib
import json
import subprocess
import sys
from collections import deque
from collections.abc import Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from itertools import chain, islice
from queue import LifoQueue
from typing import TypeVar

from cotdistill.annotation.keep import Keep, refusal
from cotdistill.annotation.rationales import Dropped, Missing
from cotdistill.records import Rationale
from cotdistill.storage.processors import num_processors

CHUNK = 500
"""How many rationales a process gets at a time; so few are verified by this one."""

Found = Rationale | Missing
_Row = TypeVar("_Row")


def with_refusals(
    found: Iterable[Found], keep: Keep, *, one_by_one: bool = False
) -> Iterator[tuple[Found, Dropped | None]]:
    """Each of ``found``, in order, and why it is dropped, or None; ``one_by_one`` before the next is made, else some
    thousands later where several processes verify."""
    rows = iter(found)
    first = list(islice(rows, CHUNK + 1)) if keep == "verified" and num_processors() > 1 and not one_by_one else []
    if len(first) <= CHUNK:
        yield from ((one, _refused(one, keep)) for one in chain(first, rows))
        return
    with _Verifiers(num_processors()) as verifiers:
        waiting: deque[tuple[list[Found], Future[list[Dropped | None]]]] = deque()
        for some in _chunks(chain(first, rows)):
            waiting.append((some, verifiers.begin(some)))
            if len(waiting) > 2 * num_processors():
                yield from _together(*waiting.popleft())
        while waiting:
            yield from _together(*waiting.popleft())


def _together(some: list[Found], refused: Future[list[Dropped | None]]) -> Iterator[tuple[Found, Dropped | None]]:
    return zip(some, refused.result(), strict=True)


def _refused(one: Found, keep: Keep) -> Dropped | None:
    if isinstance(one, Missing):
        return Dropped(one.question.id, one.reason, one.evidence)
    return refusal(one, keep)


def _chunks(rows: Iterator[_Row]) -> Iterator[list[_Row]]:
    while some := list(islice(rows, CHUNK)):
        yield some


class _Verifiers:
    """Processes that verify, each for a thread of this one. What one fails to answer is verified by the thread."""

    def __init__(self, number: int):
        self._pool, self._idle = ThreadPoolExecutor(number), LifoQueue[subprocess.Popen[str]]()
        self._all = [_started() for _ in range(number)]
        for process in self._all:
            self._idle.put(process)

    def __enter__(self) -> _Verifiers:
        return self

    def __exit__(self, *_: object) -> None:
        for process in self._all:
            process.kill()
        self._pool.shutdown(cancel_futures=True)
        for process in self._all:
            process.communicate()

    def begin(self, some: list[Found]) -> Future[list[Dropped | None]]:
        return self._pool.submit(self._verified, some)

    def _verified(self, some: list[Found]) -> list[Dropped | None]:
        process = self._idle.get()
        try:
            told = _asked(process, [one.to_row() for one in some if isinstance(one, Rationale)])
        finally:
            self._idle.put(process)
        if told is None:
            return [_refused(one, "verified") for one in some]
        answers = iter(told)
        return [_refused(one, "verified") if isinstance(one, Missing) else next(answers) for one in some]


def _started() -> subprocess.Popen[str]:
    command = [sys.executable, "-c", f"from {__name__} import main; main()"]
    return subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, encoding="ascii")


def _asked(process: subprocess.Popen[str], rows: list[dict[str, object]]) -> list[Dropped | None] | None:
    """What the process says of each row; None if it has ended."""
    assert process.stdin
    assert process.stdout
    with contextlib.suppress(OSError, ValueError):
        process.stdin.write(json.dumps(rows) + "\n")
        process.stdin.flush()
        return [row and Dropped(**row) for row in json.loads(process.stdout.readline())]
    return None


def main() -> None:
    """Read lists of rationales, a line each, and write what is refused of each, until the input ends: with the process
    that started this one, however that ends."""
    for line in sys.stdin:
        refused = [refusal(Rationale.from_row(row), "verified") for row in json.loads(line)]
        print(json.dumps([one and one.to_row() for one in refused]), flush=True)
