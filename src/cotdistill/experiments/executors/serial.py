"""Cells in this process, one after the other."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from cotdistill.experiments.cells import run_cell
from cotdistill.experiments.make import LoadTask, Until
from cotdistill.experiments.plan import Cell, Plan
from cotdistill.experiments.view import View


def run_serial(cells: Sequence[Cell], planned: Plan, folder: Path, *, until: Until, view: View, load: LoadTask) -> None:
    """Make ``cells`` in their order; they share the questions that were loaded."""
    for cell in cells:
        view.started(cell)
        view.ended(cell, run_cell(cell, planned, folder, until=until, say=view.say, load=load))
