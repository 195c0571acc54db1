"""One item is made ahead, in a thread of its own, while the one before it is used."""

from __future__ import annotations

from collections.abc import Callable, Generator, Iterable
from concurrent.futures import Future, ThreadPoolExecutor
from typing import TypeVar

From = TypeVar("From")
Made = TypeVar("Made")


def ahead(make: Callable[[From], Made], items: Iterable[From]) -> Generator[Made, None, None]:
    """``make`` of each item, in order; what it raises is raised where its result would come.

    Close it (:func:`contextlib.closing`) to leave before its end: the thread then ends as well.
    """
    with ThreadPoolExecutor(1, thread_name_prefix="ahead") as thread:
        before: Future[Made] | None = None
        for item in items:
            coming = thread.submit(make, item)
            if before is not None:
                yield before.result()
            before = coming
        if before is not None:
            yield before.result()
