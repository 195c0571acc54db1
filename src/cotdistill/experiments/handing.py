"""One cell as it is handed to another process, which then need not plan the whole experiment. Does not load torch."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Protocol

from cotdistill.config import CellConfig, validated
from cotdistill.experiments.plan import Cell


class Cells(Protocol):
    """Where a cell finds those whose students it uses: a plan, or what a process was handed of it."""

    @property
    def name(self) -> str:
        """The experiment's name."""
        ...

    def cell(self, id: str) -> Cell: ...


@dataclass(frozen=True, slots=True)
class Handed:
    """A cell with all those that it uses, by id, the cell itself first."""

    name: str
    cells: Mapping[str, Cell]

    def cell(self, id: str) -> Cell:
        return self.cells[id]


def hand(cell: Cell, cells: Cells) -> str:
    """The cell and those that it uses, as JSON."""
    found: dict[str, Cell] = {}
    left = [cell]
    while left:
        one = left.pop()
        found[one.id] = one
        left += [cells.cell(id) for id in one.uses.values() if id not in found]
    return json.dumps({"name": cells.name, "cells": [_row(one) for one in found.values()]})


def handed(text: str) -> tuple[Cell, Handed]:
    """What :func:`hand` has written: the cell, and where it finds the others."""
    told = json.loads(text)
    cells = [_cell(row) for row in told["cells"]]
    return cells[0], Handed(told["name"], {cell.id: cell for cell in cells})


def _row(cell: Cell) -> dict[str, Any]:
    return {
        "id": cell.id,
        "arm": cell.arm,
        "factors": cell.factors,
        "config": cell.config.model_dump(mode="json"),
        "uses": cell.uses,
    }


def _cell(row: dict[str, Any]) -> Cell:
    return Cell(**row | {"config": validated(CellConfig, row["config"], where=f"cell {row['id']}")})
