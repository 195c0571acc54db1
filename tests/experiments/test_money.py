"""An experiment with a teacher behind a server: one budget for all its cells, and cells that stay when it is raised."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import pytest
from tests.annotation.teachers.faulty_server import FaultyServer
from tests.tiny import save_tiny

from cotdistill.config import load_experiment
from cotdistill.experiments.cells import run_cell
from cotdistill.experiments.estimate import estimate
from cotdistill.experiments.make import make_rationales, plan_rationales
from cotdistill.experiments.plan import Cell, Plan, plan
from cotdistill.experiments.result import read_cell
from cotdistill.experiments.work import Work

pytest.importorskip("openai")

FILE = """
name: paid
task: {kind: file, train: own.jsonl, test_share: 0.3}
teacher:
  kind: openai
  model: m
  base_url: URL
  sampling: {max_new_tokens: 60}
  limits: {concurrency: 4, max_cost: 0.025, price: {input: 10, output: 10}}
student: ./student
training: {epochs: 1, batch_size: 8, max_length: 512, dtype: float32}
evaluation: {max_new_tokens: 4, dtype: float32}
grid: {annotation.granularity: [1, 2]}
"""


def right(prompt: str) -> str:
    number = int(re.findall(r"What is (\d+) \+ 1\?", prompt)[-1])
    return f"{number} + 1 = {number + 1}.\nThe answer is {number + 1}."


def spent(runs: Path) -> float:
    (log,) = runs.glob("completions/*/completions.jsonl")
    rows = [json.loads(line) for line in log.read_text("utf-8").splitlines()]
    return sum(row["input_tokens"] + row["output_tokens"] for row in rows) * 10 / 1e6


def test_the_cells_of_an_experiment_share_one_budget_across_restarts(tmp_path: Path) -> None:
    save_tiny(tmp_path / "student")
    rows = [{"question": f"What is {n} + 1?", "answer": str(n + 1)} for n in range(20)]
    (tmp_path / "own.jsonl").write_text("\n".join(map(json.dumps, rows)), encoding="utf-8")
    file = tmp_path / "paid.yaml"

    def made(planned: Plan, cells: Iterable[Cell]) -> list[dict[str, Any]]:
        work = Work(tmp_path / "runs", lambda line: None)
        return [run_cell(cell, planned, work) for cell in cells]

    with FaultyServer(right) as server:
        file.write_text(FILE.replace("URL", server.url), encoding="utf-8")
        planned = plan(load_experiment(file))
        for _ in range(2):
            states = made(planned, planned.cells)
            assert [state["status"] for state in states] == ["done", "done", "failed"]
            assert "out_of_budget" in states[2]["error"]
            assert "raise the budget, and run again" in states[2]["error"]
            assert 0.01 < spent(tmp_path / "runs") <= 0.025
        raised = plan(load_experiment(file, {"teacher.limits.max_cost": 1}))
        assert [read_cell(cell, tmp_path / "runs" / "paid").status for cell in raised.cells] == [
            "done",
            "done",
            "failed",
        ]
        assert [state["status"] for state in made(raised, raised.cells[2:])] == ["done"]
    assert set(server.answered.values()) == {1}


def test_a_plan_and_a_dry_run_say_the_same_cost_and_know_what_is_paid_for(tmp_path: Path) -> None:
    save_tiny(tmp_path / "student")
    rows = [{"question": f"What is {n} + 1?", "answer": str(n + 1)} for n in range(200)]
    (tmp_path / "own.jsonl").write_text("\n".join(map(json.dumps, rows)), encoding="utf-8")
    file, runs = tmp_path / "paid.yaml", tmp_path / "runs"

    def said() -> tuple[float, float]:
        planned = plan(load_experiment(file, {"teacher.limits.max_cost": 100}))
        arms = {cell.arm: cell.config for cell in planned.cells if not cell.untrained}
        rehearsed = [plan_rationales(config, Work(runs, print)).estimate.cost for config in arms.values()]
        total = estimate(planned, runs).cost
        assert total is not None
        return total, sum(cost or 0 for cost in rehearsed)

    with FaultyServer(right) as server:
        file.write_text(FILE.replace("URL", server.url), encoding="utf-8")
        before = said()
        assert before[0] == pytest.approx(before[1])
        planned = plan(load_experiment(file, {"teacher.limits.max_cost": 100}))
        make_rationales(next(cell.config for cell in planned.cells if not cell.untrained), Work(runs, print))
        after = said()
    assert after[0] == pytest.approx(after[1])
    assert 0 < after[0] < 0.6 * before[0]


def test_a_plan_says_what_testing_a_served_student_costs(tmp_path: Path) -> None:
    rows = [{"question": f"What is {n} + 1?", "answer": str(n + 1)} for n in range(100)]
    (tmp_path / "own.jsonl").write_text("\n".join(map(json.dumps, rows)), encoding="utf-8")
    priced = "limits: {price: {input: 0, output: 10}}"
    for limits, low, high in ((priced, 0.001, 0.01 * 40), ("limits: {}", None, None)):
        engine = f"{{kind: openai, base_url: 'http://localhost:1/v1', {limits}}}"
        text = f"{{task: own.jsonl, student: m, training: null, evaluation: {{max_new_tokens: 40, engine: {engine}}}}}"
        (tmp_path / "served.yaml").write_text(text, encoding="utf-8")
        found = estimate(plan(load_experiment(tmp_path / "served.yaml")), tmp_path / "runs").cost
        assert found is None if low is None else found is not None and low < found < high
