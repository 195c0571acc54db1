"""One cell in one process: made stage by stage, its state written, its errors kept."""

from __future__ import annotations

import os
import sys
import traceback
from pathlib import Path
from typing import TYPE_CHECKING, Any

from cotdistill.config import load_study
from cotdistill.errors import CotDistillError
from cotdistill.experiments.plan import Cell, plan
from cotdistill.experiments.result import cell_path
from cotdistill.storage.stages import Stage, unattended, write_json_atomically

if TYPE_CHECKING:
    from cotdistill.pipeline import ArmResult, Say


_LONGEST_ERROR = 2000  # characters


def run_cell(cell: Cell, study_folder: Path, *, say: Say) -> dict[str, Any]:
    """Make what is missing of a cell, and return its state, which is also written to its file.

    What goes wrong in the cell is part of its state. Raises ArtifactError where not even that can be written.
    """
    try:
        with unattended(say):
            state = _made(cell, study_folder.parent, say)
    except Exception as error:
        if not isinstance(error, CotDistillError):
            traceback.print_exc()
        state = failed(str(error) if isinstance(error, CotDistillError) else f"{type(error).__name__}: {error}")
    write_json_atomically(cell_path(cell, study_folder), state)
    return state


def failed(error: str) -> dict[str, Any]:
    """The state of a cell that failed; ``error`` becomes one line, short enough for the pipe that it goes through."""
    return {"status": "failed", "error": " ".join(error.split())[:_LONGEST_ERROR], "stages": {}, "seconds": None}


def run_cell_by_id(study_file: str, runs: str, id: str) -> dict[str, Any]:
    """:func:`run_cell` for a process that knows of the study only its file."""
    planned = plan(load_study(Path(study_file)))
    return run_cell(planned.cell(id), Path(runs) / planned.study.name, say=_say)


def _made(cell: Cell, runs: Path, say: Say) -> dict[str, Any]:
    from cotdistill.pipeline import check_arm, execute_arm, loading_once

    load = loading_once(say)
    check_arm(cell.config, load)
    result = execute_arm(f"{cell.arm}, seed {cell.seed}", cell.config, runs, say=say, load=load)
    folders = _stage_folders(result)
    return {
        "status": "done",
        "error": None,
        "stages": {noun: os.path.relpath(folder, runs) for noun, folder in folders.items()},
        "seconds": round(sum(_seconds(folder) for folder in folders.values()), 3),
    }


def _stage_folders(result: ArmResult) -> dict[str, Path]:
    stages = {"annotation": result.rationales, "training": result.student, "evaluation": result.evaluation}
    return {noun: stage.path for noun, stage in stages.items() if stage is not None and stage.path is not None}


def _seconds(folder: Path) -> float:
    return Stage(folder.parent.name, folder, {}).manifest()["seconds"]


def _say(line: str) -> None:
    print(line, file=sys.stderr, flush=True)
