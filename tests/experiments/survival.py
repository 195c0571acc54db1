"""What tests of disturbed experiments see on disk."""

from __future__ import annotations

import hashlib
import json
import os
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from tests.command import Command

ASIDE = ".damaged-"
"""What the name of a folder holds that was set aside."""


def made(runs: Path) -> dict[str, str]:
    """The hash of each finished stage's records and weights, by path; what was set aside is not among them."""
    patterns = ("annotation/*/rationales.jsonl", "training/*/student/*.safetensors", "evaluation/*/predictions.jsonl")
    files = {str(file.relative_to(runs)): file for pattern in patterns for file in sorted(runs.glob(pattern))}
    return {name: hashlib.sha256(file.read_bytes()).hexdigest() for name, file in files.items() if ASIDE not in name}


def finished(runs: Path) -> dict[str, int]:
    """When each finished stage was finished, by its manifest's path; what was set aside is not among them."""
    found = {str(path): path.stat().st_mtime_ns for path in runs.glob("*/*/manifest.json")}
    return {path: time for path, time in found.items() if ASIDE not in path}


def summary(runs: Path) -> dict[str, Any]:
    return json.loads((runs / "lab" / "summary.json").read_text(encoding="utf-8"))


def cells(runs: Path) -> list[dict[str, Any]]:
    return [json.loads(path.read_text(encoding="utf-8")) for path in sorted(runs.glob("lab/cells/*.json"))]


def wait_for(command: Command, reached: Callable[[], bool], seconds: float = 600) -> None:
    """Until something is seen on disk; the command must be running all the while."""
    end = time.monotonic() + seconds
    while not reached():
        assert command.process.exitcode is None, "it ended before"
        assert time.monotonic() < end, f"not reached in {seconds} seconds"
        time.sleep(0.02)


def trainers(runs: Path) -> set[int]:
    """Processes that hold a training that is not finished."""
    owners = [path for path in runs.glob("training/*/.owner") if not (path.parent / "manifest.json").exists()]
    return {int(path.read_text().split()[1]) for path in owners}


def is_running(process: int) -> bool:
    try:
        state = Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()[0]
    except OSError:
        return False
    return state not in "ZX"


def assert_ended(processes: set[int], seconds: float = 30) -> None:
    end = time.monotonic() + seconds
    while any(map(is_running, processes)):
        assert time.monotonic() < end, f"still running: {processes}"
        time.sleep(0.05)


def damage(file: Path) -> None:
    """Change one bit in the middle of a file."""
    data = bytearray(file.read_bytes())
    data[len(data) // 2] ^= 1
    file.write_bytes(data)
    os.utime(file)
