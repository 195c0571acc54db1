"""What a stage was made with and on, for its manifest: it changes no result by design, and helps where one differs."""

from __future__ import annotations

import contextlib
import importlib.metadata
import platform
import re
import subprocess
import sys
from functools import cache
from pathlib import Path
from typing import Any

from cotdistill.storage.processors import num_processors
from cotdistill.version import __version__

_LIBRARIES = ("torch", "transformers", "tokenizers", "accelerate", "numpy", "scipy")


def versions() -> dict[str, str]:
    """Versions that can affect a result; of libraries, only those that are installed."""
    found = {"cotdistill": __version__} | ({"commit": told} if (told := _commit()) else {})
    found["python"] = platform.python_version()
    for name in _LIBRARIES:
        with contextlib.suppress(importlib.metadata.PackageNotFoundError):
            found[name] = importlib.metadata.version(name)
    return found


@cache
def _commit() -> str | None:
    """The commit of the checkout that this package is run from, "-dirty" if files differ; None outside of one."""
    root = Path(__file__).resolve().parents[3]
    if not (root / ".git").exists():
        return None
    command = ["git", "-C", str(root), "describe", "--always", "--dirty", "--abbrev=12", "--exclude=*"]
    try:
        return subprocess.run(command, capture_output=True, text=True, check=True, timeout=10).stdout.strip()
    except (OSError, subprocess.SubprocessError):
        return None


def machine() -> dict[str, Any]:
    """The processor, how many threads compute, and the GPU if one is in use. Loads nothing."""
    torch = sys.modules.get("torch")
    found = {"processor": processor(), "threads": torch.get_num_threads() if torch else num_processors()}
    if torch and torch.cuda.is_initialized():
        found["gpu"] = torch.cuda.get_device_name()
    return found


@cache
def processor() -> str:
    return from_proc("cpuinfo", r"model name\s*:\s*(.+)") or platform.processor() or platform.machine()


def from_proc(name: str, pattern: str) -> str:
    """What the first match of ``pattern`` holds in a file of Linux's /proc; "" elsewhere."""
    try:
        match = re.search(pattern, Path("/proc", name).read_text("utf-8"))
    except OSError:
        return ""
    return match[1].strip() if match else ""
