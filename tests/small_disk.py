"""A small disk to fill up, seen by one process alone and gone with it."""

from __future__ import annotations

import ctypes
import os
import subprocess
from pathlib import Path

_CLONE_NEWNS = 0x00020000


def mount(folder: Path, size: str) -> str | None:
    """Make ``folder`` a disk of ``size`` (as in 100k) for this process and its children; the reason where it cannot."""
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.unshare(_CLONE_NEWNS) != 0:
        return f"no namespace of its own: {os.strerror(ctypes.get_errno())}"
    folder.mkdir()
    for arguments in (["--make-rprivate", "/"], ["-t", "tmpfs", "-o", f"size={size}", "tmpfs", str(folder)]):
        mounted = subprocess.run(["mount", *arguments], capture_output=True, text=True, check=False)
        if mounted.returncode != 0:
            return f"no disk of its own: {mounted.stderr.strip()}"
    return None


def resize(folder: Path, size: str) -> None:
    subprocess.run(["mount", "-o", f"remount,size={size}", str(folder)], check=True)
