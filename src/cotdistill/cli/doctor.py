"""The command that says what this installation and this machine have, for oneself and for a bug report."""

from __future__ import annotations

import importlib.metadata
import os
import platform
import re
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from cotdistill.cli.common import BEGIN, AsJson, answer, app
from cotdistill.storage.machine import from_proc, processor, versions

_PROCESSOR_ABILITIES = ("avx2", "avx512f", "avx512_bf16", "amx_bf16", "asimd", "bf16")
"""What decides how fast matrix products are, by Linux's names."""
_NO_PARTS = ("bench", "browser", "dev", "docs")
"""Extras for work on cotdistill itself."""


@app.command(rich_help_panel=BEGIN)
def doctor(as_json: AsJson = False) -> None:
    """Say what is installed, what this machine has, in which type models compute, and which optional parts are missing.

    Add its output to a bug report: it holds no keys, only whether they are set.
    """
    found = {
        "versions": versions(),
        "machine": _machine(),
        "computing": _computing(),
        "optional parts": _parts(),
        "cache": _cache(),
        "environment": _environment(),
    }
    answer(found, _lines(found), as_json)


def _lines(found: dict[str, dict[str, Any]]) -> Iterator[str]:
    for heading, rows in found.items():
        yield heading
        width = max((len(name) for name in rows), default=0)
        yield from (f"  {name:{width}}  {value}" for name, value in rows.items())


def _machine() -> dict[str, Any]:
    from cotdistill.storage.processors import num_available

    disk = shutil.disk_usage(Path.cwd())
    return {
        "system": platform.platform(),
        "processor": processor(),
        "abilities": ", ".join(_abilities()) or "unknown",
        "cores": num_available(),
        "memory": _memory(),
        "free disk here": f"{disk.free / 1e9:.0f} of {disk.total / 1e9:.0f} GB",
    }


def _abilities() -> list[str]:
    flags = from_proc("cpuinfo", r"(?:flags|Features)\s*:\s*(.+)").split()
    return [name for name in _PROCESSOR_ABILITIES if name in flags]


def _memory() -> str:
    kibibytes = from_proc("meminfo", r"MemTotal:\s*(\d+) kB")
    return f"{int(kibibytes) * 1024 / 1e9:.0f} GB" if kibibytes else "unknown"


def _computing() -> dict[str, Any]:
    """Devices, and the type that ``dtype: auto`` comes to on the one that is used."""
    import torch

    from cotdistill.models.load.loading import pick_device
    from cotdistill.models.load.products import choose

    device = pick_device()
    gpus = [torch.cuda.get_device_properties(index) for index in range(torch.cuda.device_count())]
    return {
        "device": str(device),
        "dtype: auto": str(choose(device)),
        "GPUs": ", ".join(f"{gpu.name} ({gpu.total_memory / 1e9:.0f} GB)" for gpu in gpus) or "none",
        "CUDA of torch": torch.version.cuda or "none (a CPU build)",
        "threads": torch.get_num_threads(),
    }


def _parts() -> dict[str, str]:
    """Each extra that a user may want: the versions of its packages, or how to install it."""
    wanted: dict[str, list[str]] = {}
    for requirement in importlib.metadata.requires("cotdistill") or []:
        match = re.match(r"([\w.-]+).*extra == ['\"]([\w-]+)['\"]", requirement)
        if match and match[2] not in _NO_PARTS:
            wanted.setdefault(match[2], []).append(match[1])
    return {extra: _installed(extra, packages) for extra, packages in sorted(wanted.items())}


def _installed(extra: str, packages: list[str]) -> str:
    try:
        return ", ".join(f"{name} {importlib.metadata.version(name)}" for name in packages)
    except importlib.metadata.PackageNotFoundError:
        return f"missing: pip install 'cotdistill[{extra}]'"


def _cache() -> dict[str, str]:
    from cotdistill.models.load.converted import cache_folder

    folder = cache_folder()
    size = sum(file.stat().st_size for file in folder.rglob("*") if file.is_file()) if folder.is_dir() else 0
    return {"folder": str(folder), "size": f"{size / 1e6:.0f} MB"}


def _environment() -> dict[str, str]:
    """Variables that change what is read or how it is computed; of keys only that they are set."""
    shown = ("COTDISTILL_", "HF_", "TRANSFORMERS_", "CUDA_VISIBLE_DEVICES", "OMP_NUM_THREADS", "RAY_ADDRESS")
    hidden = ("KEY", "TOKEN", "SECRET", "PASSWORD")
    found = {
        name: value for name, value in sorted(os.environ.items()) if name.startswith(shown) or name == "OPENAI_API_KEY"
    }
    return {
        name: "(set)" if any(word in name for word in hidden) or "@" in value else value  # an address with a password
        for name, value in found.items()
    }
