"""A trial of a chat template: a program by anybody, which may never end or fill the memory."""

from __future__ import annotations

import contextlib
import os
import time
from collections.abc import Callable
from pathlib import Path

SECONDS = 10
"""Of processor time; a template takes a thousandth of one."""
BYTES = 1 << 30
"""Of memory, beside what the process has."""
CHARACTERS = 1_000_000
"""The longest text of a few words' conversation."""

_HANGS_AFTER = 60.0  # seconds; a trial waits for nothing, but a machine may be busy


def ends(write: Callable[[], str]) -> bool:
    """Whether ``write`` comes to an end, and with a text of usual length, in a copy of this process that has bounded
    time and memory. An exception is an end as well; where processes cannot be copied (Windows) so is everything."""
    if not hasattr(os, "fork"):
        return True
    child = os.fork()
    if child == 0:
        status = 1
        with contextlib.suppress(BaseException):
            _limit()
            status = _try(write)
        os._exit(status)
    deadline = time.monotonic() + _HANGS_AFTER
    while time.monotonic() < deadline:
        ended, status = os.waitpid(child, os.WNOHANG)
        if ended:
            return status == 0
        time.sleep(0.002)
    os.kill(child, 9)
    os.waitpid(child, 0)
    return False


def _try(write: Callable[[], str]) -> int:
    try:
        return int(len(write()) > CHARACTERS)
    except MemoryError:
        return 1
    except Exception:
        return 0


def _limit() -> None:
    import resource

    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    resource.setrlimit(resource.RLIMIT_CPU, (SECONDS, SECONDS))
    with contextlib.suppress(OSError, ValueError):  # no /proc, or a lower limit already
        pages = int(Path("/proc/self/statm").read_text(encoding="ascii").split()[0])
        size = pages * resource.getpagesize() + BYTES
        resource.setrlimit(resource.RLIMIT_AS, (size, size))
