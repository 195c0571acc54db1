"""The file that ``gpu.py`` writes: JSON lines, each on the disk as soon as its result is there."""

from __future__ import annotations

import json
import os
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any


class NotHere(Exception):
    """What cannot be measured on this machine: a package, a device or the time is missing."""


@dataclass(frozen=True, slots=True)
class Records:
    """Appends the lines of one run; several processes may, one after the other. ``deadline`` is in ``time.time()``."""

    path: Path
    run: str
    deadline: float = float("inf")

    def write(self, kind: str, **row: Any) -> None:
        line = json.dumps({"run": self.run, "kind": kind, **row}, ensure_ascii=False)
        with self.path.open("a", encoding="utf-8") as file:
            file.write(line + "\n")
            file.flush()
            os.fsync(file.fileno())

    def read(self) -> list[dict[str, Any]]:
        """The lines of this run so far."""
        if not self.path.exists():
            return []
        rows = [json.loads(line) for line in self.path.read_text(encoding="utf-8").splitlines()]
        return [row for row in rows if row["run"] == self.run]

    def results(self, part: str) -> dict[tuple[str, str], dict[str, Any]]:
        """The line of each unit (case and side) of a part that has one."""
        rows = [row for row in self.read() if row["kind"] == "result" and row["part"] == part]
        return {(row["case"], row["side"]): row for row in rows}

    def result(self, part: str, case: str, side: str, status: str, **row: Any) -> None:
        """``status`` is done, skipped or failed; the last two have a ``reason``."""
        self.write("result", part=part, case=case, side=side, status=status, **row)

    @property
    def time_is_up(self) -> bool:
        return time.time() > self.deadline


def table(rows: list[dict[str, Any]]) -> str:
    """The results for people: a line a unit."""
    lines = []
    for row in rows:
        if row["kind"] == "tests":
            counts = f"{row['passed']} passed, {len(row['failed'])} failed, {len(row['skipped'])} skipped"
            lines.append(f"tests marked gpu: {row['status']}, {counts}")
        elif row["kind"] == "matrix_rate":
            lines.append(f"{row['part']}: bfloat16 products at {row['flops'] / 1e12:.3g} TFLOP/s on {row['device']}")
        elif row["kind"] == "result":
            lines.append(f"{row['part']:<26} {row['case']:<22} {row['side']:<26} {_finding(row)}")
    return "\n".join(lines)


def _finding(row: dict[str, Any]) -> str:
    if row["status"] != "done":
        return f"{row['status']}: {row['reason']}"[:160]
    found = f"{row['tokens_per_second']:>12,.1f} tokens/s"
    if row.get("share_of_matrix_rate") is not None:
        found += f"  {100 * row['share_of_matrix_rate']:5.1f} % of the matrix rate"
    if row.get("peak_memory_mb") is not None:
        found += f"  peak {row['peak_memory_mb']:,.0f} MB, {row['held_memory_mb']:,.0f} held"
    return found
