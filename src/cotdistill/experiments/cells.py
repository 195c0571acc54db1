"""Making one cell: stage by stage, with its state written and its errors kept."""

from __future__ import annotations

import os
import sys
import traceback
from pathlib import Path
from typing import Any

from cotdistill.errors import line_of, printable
from cotdistill.experiments.handing import Cells, handed
from cotdistill.experiments.make import make_cell
from cotdistill.experiments.plan import Cell
from cotdistill.experiments.result import cell_path
from cotdistill.experiments.work import Until, Work
from cotdistill.storage.atomic import write_json_atomically
from cotdistill.storage.finished import open_finished
from cotdistill.storage.locks import unattended
from cotdistill.storage.stages import noting_stages

_BEGUN: dict[str, Any] = {"status": "begun", "error": None, "stages": {}, "seconds": None}
_LONGEST_ERROR = 2000  # characters


def run_cell(cell: Cell, plan: Cells, work: Work) -> dict[str, Any]:
    """Make what is missing from a cell, and return its state, which is also written to its file.

    What goes wrong in the cell is part of its state. Raises ArtifactError if not even that can be written.
    """
    asked: list[str] = []

    def note(stage: Path) -> None:
        """Name the stage before it is made: it is the cell's own, even if this process is killed."""
        if (place := os.path.relpath(stage, work.runs)) not in asked:
            asked.append(place)
            write_json_atomically(file, _BEGUN | {"asked": asked})

    file = cell_path(cell, work.runs / plan.name)
    try:
        with unattended(work.say), noting_stages(note):
            state = _made(cell, plan, work)
    except Exception as error:
        line = line_of(error)
        if line is None:
            traceback.print_exc()
        state = failed(line or f"{type(error).__name__}: {error}")
    write_json_atomically(file, state | {"asked": asked})
    return state


def failed(error: str) -> dict[str, Any]:
    """The state of a failed cell; ``error`` becomes one line, short enough for the pipe that it goes through."""
    return {"status": "failed", "error": " ".join(error.split())[:_LONGEST_ERROR], "stages": {}, "seconds": None}


def run_handed(text: str, runs: str, until: Until) -> dict[str, Any]:
    """:func:`run_cell` for a process that was handed the cell, in the folder of all ``runs``."""
    return run_cell(*handed(text), Work(Path(runs), _say, until))


def _made(cell: Cell, plan: Cells, work: Work) -> dict[str, Any]:
    stages = make_cell(cell, plan, work)
    return {
        "status": "done" if work.until == "evaluate" else "begun",
        "error": None,
        "stages": {noun: os.path.relpath(folder, work.runs) for noun, folder in stages.items()},
        "seconds": round(sum(_seconds(folder) for folder in stages.values()), 3),
    }


def _seconds(folder: Path) -> float:
    return open_finished(folder).seconds


def _say(line: str) -> None:
    print(printable(line), file=sys.stderr, flush=True)
