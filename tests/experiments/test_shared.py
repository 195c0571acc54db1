"""Which cells are started together, and what a process is handed of an experiment."""

from __future__ import annotations

from pathlib import Path

import pytest

from cotdistill.config import load_experiment
from cotdistill.experiments.handing import hand, handed
from cotdistill.experiments.plan import Cell, Plan, plan
from cotdistill.experiments.shared import Queue, all_stage_keys, sharers_apart, unfinished_stages

RECIPES = sorted(
    path
    for path in (Path(__file__).parents[2] / "recipes").rglob("*.yaml")
    if "student" in path.read_text("utf-8") and "claims" not in path.name
)
SWEEP = """
name: sweep
task: procedural
teacher: procedural
student: some/model-0.5B
arms: {first: {}, second: {student: "arm:first"}}
grid: {annotation.granularity: [1, 3], seed: [0, 1]}
"""


@pytest.fixture
def sweep(tmp_path: Path) -> Plan:
    (tmp_path / "sweep.yaml").write_text(SWEEP, encoding="utf-8")
    return plan(load_experiment(tmp_path / "sweep.yaml"))


@pytest.mark.parametrize("file", RECIPES, ids=lambda path: "/".join(path.parts[-2:]))
def test_a_process_is_handed_its_cell_as_it_was_planned(file: Path) -> None:
    planned = plan(load_experiment(file))
    for cell in planned.distinct:
        own, cells = handed(hand(cell, planned))
        assert (own, cells.name) == (cell, planned.name)
        assert {id: cells.cell(id) for id in cell.uses.values()} == {id: planned.cell(id) for id in cell.uses.values()}


def test_the_cells_that_a_cell_uses_are_handed_with_it_and_no_others(sweep: Plan) -> None:
    cell = next(cell for cell in sweep.cells if cell.uses)
    _, cells = handed(hand(cell, sweep))
    assert set(cells.cells) == {cell.id, *cell.uses.values()}


def test_cells_that_share_an_unfinished_stage_start_apart(sweep: Plan) -> None:
    cells = [cell for cell in sweep.distinct if not cell.uses]
    needs = unfinished_stages(cells, cells, sweep)
    queue = Queue(sharers_apart(cells, needs), needs)
    base, *others = (queue.next() for _ in range(3))
    assert base.untrained
    assert {cell.config.annotation.granularity for cell in others} == {1, 3}
    waits = queue.next()
    assert waits.config.annotation == others[0].config.annotation  # for the annotation that another makes


def test_a_stage_that_is_made_keeps_nobody_apart(sweep: Plan) -> None:
    trained = [cell for cell in sweep.distinct if not cell.uses and not cell.untrained]
    low = [cell for cell in trained if cell.config.annotation.granularity == 1]
    high = [cell for cell in trained if cell.config.annotation.granularity == 3]

    def started(made: bool) -> Cell:
        needs = {cell.id: all_stage_keys(cell, sweep) for cell in trained}
        queue = Queue([low[0], high[0], low[1], high[1]], needs)
        first, second = queue.next(), queue.next()
        assert [first, second] == [low[0], high[0]]
        queue.ended(first, made=made)
        queue.ended(second, made=False)
        running = queue.next()
        assert running == low[1]
        return queue.next() if made else running

    assert started(made=True) == high[1]
    needs = unfinished_stages([low[1], high[1]], trained, sweep)
    assert [len(needs[cell.id]) for cell in (low[1], high[1])] == [2, 2]  # of annotation, training, evaluation
