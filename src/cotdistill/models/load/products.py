"""The type that ``dtype: auto`` comes to: bfloat16 where this machine multiplies matrices faster in it, else float32.

A processor may have bfloat16 instructions and gain nothing by them, so a short product is measured, once for a machine,
processor and torch version, and kept in the cache folder. ``COTDISTILL_DTYPE`` decides without a measurement.
"""

from __future__ import annotations

import importlib.metadata
import json
import os
import platform
import re
import time
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from cotdistill.errors import ConfigError, ModelError
from cotdistill.models.load.converted import cache_folder
from cotdistill.storage.atomic import write_json_atomically

if TYPE_CHECKING:
    import torch

VARIABLE = "COTDISTILL_DTYPE"
FILE = "products.json"
FASTER = 1.5
"""So many times as fast as float32 a bfloat16 product must be: what surrounds the products gains less."""
_SHAPE = (512, 576, 512)
"""Of the measured product, some milliseconds long: short enough to be done between two turns of other processes."""


@dataclass(frozen=True, slots=True)
class Choice:
    dtype: Literal["float32", "bfloat16"]
    reason: str

    def __str__(self) -> str:
        return f"{self.dtype} ({self.reason})"


def choose(device: torch.device) -> Choice:
    """The type that is faster on ``device``. Raises ConfigError if ``COTDISTILL_DTYPE`` names no type."""
    import torch

    if asked := _asked():
        return asked
    if device.type == "cuda":
        has = torch.cuda.is_bf16_supported(including_emulation=False)
        return Choice("bfloat16", "the GPU computes it") if has else Choice("float32", "the GPU has no bfloat16")
    abilities = torch.cpu.get_capabilities() if device.type == "cpu" else {}
    if not any(has for name, has in abilities.items() if name.endswith("bf16")):
        return Choice("float32", "the processor has no bfloat16 products")
    return _kept() or _keep(_measured())


def known() -> Choice | None:
    """What :func:`choose` said before on this machine, found without loading torch; None if it must be asked."""
    on_gpu = Path("/dev/nvidia0").exists()  # which of its devices is used only torch knows
    return _asked() or (None if on_gpu else _kept())


def _asked() -> Choice | None:
    value = os.environ.get(VARIABLE)
    if not value:
        return None
    if value not in ("float32", "bfloat16"):
        raise ConfigError(f"{VARIABLE} is {value!r}", where="environment", remedy="set it to float32 or bfloat16")
    return Choice(value, f"{VARIABLE} says so")  # pyright: ignore[reportArgumentType]


def _measured() -> Choice:
    import torch

    rows, inner, columns = _SHAPE
    generator = torch.Generator().manual_seed(0)
    a, b = (torch.randn(size, inner, generator=generator) for size in (rows, columns))
    pairs = {dtype: (a.to(dtype), b.to(dtype).T) for dtype in (torch.float32, torch.bfloat16)}
    best = dict.fromkeys(pairs, float("inf"))
    for _ in range(24):  # in turns, and the best of each: others may use the machine
        for dtype, (left, right) in pairs.items():
            started = time.perf_counter()
            torch.mm(left, right)
            best[dtype] = min(best[dtype], time.perf_counter() - started)
    ratio = best[torch.float32] / best[torch.bfloat16]
    reason = f"a bfloat16 product is measured at {ratio:.1f} times float32's speed"
    return Choice("bfloat16" if ratio >= FASTER else "float32", reason)


def _machine() -> str:
    """What a measurement holds for."""
    try:
        found = re.search(r"model name\s*:\s*(.+)", Path("/proc/cpuinfo").read_text("utf-8"))
    except OSError:
        found = None
    processor = found[1].strip() if found else platform.processor()
    return f"{platform.node()}, {processor}, torch {importlib.metadata.version('torch')}"


def _all_kept() -> dict[str, Any]:
    try:
        rows = json.loads((cache_folder() / FILE).read_text("utf-8"))
    except (OSError, ValueError, ModelError):
        return {}
    return rows if isinstance(rows, dict) else {}


def _kept() -> Choice | None:
    row = _all_kept().get(_machine())
    try:
        choice = Choice(row["dtype"], str(row["reason"]))  # pyright: ignore[reportOptionalSubscript]
    except (TypeError, KeyError):
        return None
    return choice if choice.dtype in ("float32", "bfloat16") else None


def _keep(choice: Choice) -> Choice:
    """Where the cache cannot be written, each process measures."""
    try:
        folder = cache_folder()
        folder.mkdir(parents=True, exist_ok=True)
        write_json_atomically(folder / FILE, _all_kept() | {_machine(): asdict(choice)})
    except (OSError, ModelError):
        pass
    return choice
