"""Cells on this machine, each in its own process, a few at a time.

The processes are forked from one that has done the slow imports and computed nothing. If there is a GPU, each imports
for itself: an import may look for the GPU, and after that a fork cannot use it.
"""

from __future__ import annotations

import json
import multiprocessing
import os
from collections.abc import Sequence
from dataclasses import dataclass
from multiprocessing.connection import Connection, wait
from multiprocessing.process import BaseProcess
from pathlib import Path
from typing import TYPE_CHECKING, Any

from cotdistill.experiments.cells import failed
from cotdistill.experiments.executors.worker import work
from cotdistill.experiments.handing import hand
from cotdistill.experiments.plan import Cell, Plan
from cotdistill.experiments.shared import Needs, Queue
from cotdistill.experiments.view import View
from cotdistill.experiments.work import Until
from cotdistill.storage.processors import num_processors

if TYPE_CHECKING:
    from multiprocessing.context import ForkServerContext, SpawnContext  # Windows has no ForkServerContext

_GPUS = Path("/proc/driver/nvidia/gpus")
_PRELOAD = [
    "cotdistill.evaluation.evaluate",
    "cotdistill.tasks.procedural",
    "cotdistill.training.card",
    "cotdistill.training.stage",
    "scipy.stats",
    "transformers.models.auto.modeling_auto",
    "transformers.models.llama.modeling_llama",
]
_REFRESH_SECONDS = 0.5


@dataclass(slots=True)
class _Worker:
    cell: Cell
    slot: int
    process: BaseProcess
    connection: Connection


def run_local(
    cells: Sequence[Cell], needs: Needs, planned: Plan, runs: Path, *, until: Until, jobs: int, view: View
) -> None:
    """Make ``cells`` in this order, those apart that share an unfinished stage, at most ``jobs`` at a time.

    Whatever ends this process ends its workers too.
    """
    pending = Queue(cells, needs)
    folder = runs / planned.name
    running: list[_Worker] = []
    try:
        while pending or running:
            while pending and len(running) < jobs:
                cell = pending.next()
                slot = min(set(range(jobs)) - {worker.slot for worker in running})
                running.append(_start(cell, slot, hand(cell, planned), folder, until, jobs))
                view.started(cell)
            wait([worker.process.sentinel for worker in running], timeout=_REFRESH_SECONDS)
            for worker in [worker for worker in running if not worker.process.is_alive()]:
                running.remove(worker)
                state = _state(worker, folder)
                pending.ended(worker.cell, made=state["status"] != "failed")
                view.ended(worker.cell, state)
    finally:
        for worker in running:
            worker.process.kill()
            worker.process.join()


def _start(cell: Cell, slot: int, text: str, folder: Path, until: Until, jobs: int) -> _Worker:
    context = _context()
    ours, theirs = context.Pipe()
    log = log_path(folder, cell)
    arguments = (text, str(folder.parent), until, theirs, str(log), num_processors(jobs), _device(slot))
    process = context.Process(target=work, args=arguments)
    process.start()
    theirs.close()
    return _Worker(cell, slot, process, ours)


def _context() -> ForkServerContext | SpawnContext:
    if "forkserver" not in multiprocessing.get_all_start_methods():  # as on Windows
        return multiprocessing.get_context("spawn")
    context = multiprocessing.get_context("forkserver")
    if not _GPUS.exists():
        context.set_forkserver_preload(_PRELOAD)
    return context


def log_path(folder: Path, cell: Cell) -> Path:
    """What a cell's last worker wrote to its standard error."""
    return folder / "logs" / f"{cell.id}.log"


def _device(slot: int) -> str | None:
    """One GPU per worker, in turn, if there are several."""
    visible = os.environ.get("CUDA_VISIBLE_DEVICES")
    devices = visible.split(",") if visible else [str(number) for number in range(_num_gpus())]
    return devices[slot % len(devices)] if len(devices) > 1 else None


def _num_gpus() -> int:
    return len(list(_GPUS.iterdir())) if _GPUS.is_dir() else 0


def _state(worker: _Worker, folder: Path) -> dict[str, Any]:
    """What an ended worker said about its cell, or that it ended before it could."""
    try:
        return json.loads(worker.connection.recv_bytes())
    except (EOFError, OSError):
        status = worker.process.exitcode or 0
        how = f"signal {-status}" if status < 0 else f"status {status}"
        return failed(f"its process ended with {how}; see {log_path(folder, worker.cell)}")
    finally:
        worker.connection.close()
