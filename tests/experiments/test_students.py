"""Which students stay, what their removal costs, and what no experiment names any more."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path

import pytest
from tests.command import run_command
from tests.tiny import save_tiny

from cotdistill.config import load_experiment
from cotdistill.experiments.result import ExperimentResult, load_result
from cotdistill.experiments.run import run_experiment
from cotdistill.experiments.work import Work
from cotdistill.storage.finished import open_finished
from cotdistill.storage.jsonl import read_rows

FILE = """
name: few
task: {kind: procedural, kinds: [boolean_expressions], difficulty: 1, num_train: 8, num_test: 4}
teacher: procedural
student: ./student
training: {epochs: 1, batch_size: 2, learning_rate: 1.0e-3, dtype: float32}
evaluation: {max_new_tokens: 6, max_batch_size: 4, dtype: float32}
arms: {first: {}, second: {student: "arm:first"}}
grid: {seed: [0, 1]}
"""


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("students")
    save_tiny(folder / "student")
    (folder / "few.yaml").write_text(FILE, encoding="utf-8")
    run(folder, "all")
    return folder


def run(folder: Path, keep: str, runs: str = "", **settings) -> ExperimentResult:
    experiment = load_experiment(folder / "few.yaml", {"keep_students": keep} | settings)
    return run_experiment(experiment, Work(folder / (runs or keep), lambda line: None))


def weights(result: ExperimentResult) -> dict[str, str]:
    files = {name: path / "model.safetensors" for name, path in result.students().items() if path}
    return {name: hashlib.sha256(file.read_bytes()).hexdigest() for name, file in files.items()}


def scores(result: ExperimentResult) -> dict:
    return {name: arm["seeds"] for name, arm in result.to_row()["arms"].items()}


def test_without_students_the_results_are_the_same(folder: Path) -> None:
    kept, none = load_result(load_experiment(folder / "few.yaml"), folder / "all"), run(folder, "none")
    assert len(weights(kept)) == 4
    assert weights(none) == {}
    assert scores(none) == scores(kept)
    assert none.to_row()["removed_students"] == list(kept.students())
    assert not list((folder / "none").glob("training/*/student"))
    for stage in (folder / "none").glob("training/*"):
        open_finished(stage).verify()
    again = run(folder, "none")
    assert again.to_row() == none.to_row()
    assert not list((folder / "none").glob("training/*/student"))  # and nothing was trained to find out


def test_a_removed_student_is_made_again_on_demand_to_the_same_bits(folder: Path) -> None:
    kept = weights(load_result(load_experiment(folder / "few.yaml"), folder / "all"))
    run(folder, "none", runs="again")
    more = run(folder, "all", runs="again", **{"evaluation.max_new_tokens": 5})
    assert weights(more) == kept
    steps = [[row["step"] for row in read_rows(file)] for file in (folder / "again").glob("training/*/metrics.jsonl")]
    assert steps == [[1, 2, 3, 4]] * 4


def test_the_best_student_of_each_model_stays(folder: Path) -> None:
    result = run(folder, "best")
    best = {}
    for cell in result.done:
        if (score := cell.score()) and "training" in cell.stages:
            best.setdefault(cell.cell.config.student.model, []).append((-score.accuracy, cell.cell.title))
    assert set(weights(result)) == {min(found, key=lambda pair: pair[0])[1] for found in best.values()}
    assert len(weights(result)) == len(best) == 2


def test_clean_removes_what_no_experiment_names(folder: Path) -> None:
    runs = folder / "cleaned"
    run(folder, "all", runs="cleaned")
    assert json.loads(run_command(folder, "clean", "--runs", runs, "--json").out) == {"unnamed": [], "removed": []}
    (abandoned, *_) = (runs / "few" / "cells").glob("*.json")
    state = json.loads(abandoned.read_text())
    own = {state["stages"]["evaluation"]}
    abandoned.unlink()
    told = run_command(folder, "clean", "--runs", runs, "--dry-run").out
    assert all(place in told for place in own)
    done = json.loads(run_command(folder, "clean", "--runs", runs, "--yes", "--json").out)
    assert own <= set(done["removed"]) == {one["place"] for one in done["unnamed"]}
    assert not any((runs / place).exists() for place in done["removed"])
    assert run(folder, "all", runs="cleaned").counts() == "few: 5 done, 0 failed, 0 missing"


def test_clean_keeps_what_a_failed_cell_has_asked_for(folder: Path) -> None:
    late = folder / "late"
    save_tiny(late, seed=1)
    weights = late / "model.safetensors"
    weights.write_bytes(weights.read_bytes()[:1000])
    result = run(folder, "all", runs="failing", student=str(late), **{"arms.second.training": None})
    assert len(result.failed) > 0
    assert list((folder / "failing").glob("annotation/*"))
    cleaned = json.loads(run_command(folder, "clean", "--runs", folder / "failing", "--yes", "--json").out)
    assert not [place for place in cleaned["removed"] if place.startswith("annotation")]
