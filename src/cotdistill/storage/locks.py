"""One process in a folder at a time, and what is done where nobody watches."""

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
    """Let work go on with nobody watching: wait for a folder that is held, set a damaged stage aside, ``say`` so."""
    token = _unattended.set(say)
    try:
        yield
    finally:
        _unattended.reset(token)


def attendant() -> Callable[[str], None] | None:
    """What tells of decisions within :func:`unattended`; None where somebody watches, who decides."""
    return _unattended.get()


@contextlib.contextmanager
def hold(path: Path) -> Iterator[None]:
    """Be the only process in a folder, which is made if need be. The lock goes with the process, however it ends.

    Raises ArtifactError where another process holds it (but see :func:`unattended`), or it cannot be worked in.
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
            f"cannot work in the folder ({error.strerror})", where=path, remedy="choose another --runs"
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
    say(f"{path}: waits for another process ({who})")
