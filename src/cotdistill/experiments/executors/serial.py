"""Cells in this process, one after another."""

from __future__ import annotations

from collections.abc import Sequence

from cotdistill.experiments.cells import run_cell
from cotdistill.experiments.plan import Cell, Plan
from cotdistill.experiments.view import View
from cotdistill.experiments.work import Work


def run_serial(cells: Sequence[Cell], planned: Plan, work: Work, view: View) -> None:
    """Make ``cells`` in order; they share loaded questions."""
    for cell in cells:
        view.started(cell)
        view.ended(cell, run_cell(cell, planned, work))
