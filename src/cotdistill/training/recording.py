"""Records of a training, step by step: the file and the live line; what a kill undid is forgotten."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from cotdistill.progress import peak_memory, track
from cotdistill.storage.jsonl import RowAppender, write_rows
from cotdistill.training.distributed import Ranks


@contextmanager
def recording(path: Path, num_steps: int, first_step: int, ranks: Ranks) -> Iterator[Callable[[dict[str, Any]], None]]:
    """What receives each step's metrics: the file and the bar on the first rank, nothing on the others."""
    if not ranks.is_first:
        yield lambda row: None
        return
    forget_after(path, first_step)
    with RowAppender(path) as metrics, track("train", num_steps, done=first_step) as progress:
        checked = ""

        def record(row: dict[str, Any]) -> None:
            nonlocal checked
            metrics.append(row)
            speed, found = row["num_tokens"] / max(row["seconds"], 1e-4), row.get("validation")
            if found:
                checked = f" (held out: {', '.join(f'{name} {value:.3f}' for name, value in found.items())})"
            progress.advance(note=f"loss {row['loss']:.3f}{checked}, {speed:,.0f} tokens/s, {peak_memory()}")

        yield record


def forget_after(path: Path, step: int) -> None:
    """Remove the rows of steps that a kill undid: they will be written again."""
    if path.exists():
        with RowAppender(path) as file:
            kept = [row for row in file.rows() if row["step"] <= step]
        write_rows(path, kept)
