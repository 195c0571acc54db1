"""One process in a folder at a time, and what to do if nobody is watching."""

from __future__ import annotations

import contextlib
import os
import socket
from collections.abc import Callable, Iterator
from contextvars import ContextVar
from pathlib import Path

from filelock import FileLock, Timeout

from cotdistill.errors import ArtifactError
from cotdistill.storage.atomic import FULL

LOCK_FILES = (".lock", ".owner")
"""The lock of a folder, and who holds it."""

_unattended: ContextVar[Callable[[str], None] | None] = ContextVar("unattended", default=None)


@contextlib.contextmanager
def unattended(say: Callable[[str], None]) -> Iterator[None]:
    """Let work go on with nobody watching: wait for a locked folder, set a damaged stage aside, and ``say`` so."""
    token = _unattended.set(say)
    try:
        yield
    finally:
        _unattended.reset(token)


def attendant() -> Callable[[str], None] | None:
    """What reports decisions within :func:`unattended`; None if somebody is watching, who then decides."""
    return _unattended.get()


@contextlib.contextmanager
def hold(path: Path) -> Iterator[None]:
    """Be the only process in a folder, which is made if needed. The lock ends with the process, however that ends.

    Raises ArtifactError if another process holds it (but see :func:`unattended`) or it cannot be written to.
    """
    lock, owner = (path / name for name in LOCK_FILES)
    held = FileLock(lock)
    try:
        path.mkdir(parents=True, exist_ok=True)
        held.acquire(timeout=0)
    except Timeout:
        _wait_or_refuse(path, owner)
        held.acquire()
    except OSError as error:
        if error.errno in FULL:
            raise
        raise ArtifactError(
            f"cannot write to the folder ({error.strerror})", where=path, remedy="choose another --runs"
        ) from None
    try:
        owner.write_text(f"pid {os.getpid()} on {socket.gethostname()}", encoding="utf-8")
        yield
    finally:
        held.release()


def _wait_or_refuse(path: Path, owner: Path) -> None:
    who = owner.read_text(encoding="utf-8") if owner.exists() else "unknown"
    say = attendant()
    if say is None:
        remedy = "wait until it ends, or choose another --runs"
        raise ArtifactError(f"another process ({who}) is working in this folder", where=path, remedy=remedy) from None
    say(f"{path}: waiting for another process ({who})")
