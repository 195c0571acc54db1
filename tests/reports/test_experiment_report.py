"""The report of an experiment on disk, half done. The folders are as a run leaves them; nothing is trained."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from tests.reports import material
from tests.stages import finished_evaluation

from cotdistill.config import load_experiment
from cotdistill.evaluation.statistics.comparisons import compare
from cotdistill.experiments.plan import Cell, plan
from cotdistill.experiments.result import cell_path, load_result
from cotdistill.reports.result import _overlap, _samples, evidence_of
from cotdistill.storage.atomic import write_json_atomically
from cotdistill.storage.jsonl import write_rows
from cotdistill.storage.stages import open_stage, stage_path

FILE = """
name: fine
question: How fine should rationales be?
task: {kind: procedural, num_train: 8, num_test: 20}
teacher: procedural
student: builtin:nano-student
arms: {levels: {}, answers: {teacher: answer_only}}
grid: {annotation.granularity: {of: levels, values: [1, 3]}, seed: [0, 1]}
comparisons:
  - {a: {annotation.granularity: 3}, b: answers}
  - {a: {annotation.granularity: 3}, b: base}
"""
ASKED = material.questions(20, ("one", "two"))


def finish(runs: Path, noun: str, identity: dict, files: dict[str, list[dict]], summary: dict) -> str:
    with open_stage(runs, noun, identity) as stage:
        for name, rows in files.items():
            write_rows(stage.path / name, rows)
        stage.finish(summary, seeds={}, dropped={})
    return os.path.relpath(stage.path, runs)


def taught(level: int) -> dict:
    return {"question": "How many?", "rationale": "word " * 10 * level or None, "answer": "3"}


def make_cell(cell: Cell, folder: Path, accuracy: float) -> None:
    """What a cell that is done leaves: its stages, and its state."""
    runs, identity = folder.parent, {"cell": cell.id}
    predictions = material.predictions(ASKED, accuracy, cell.seed)
    evaluation = finished_evaluation(stage_path(runs, "evaluation", identity), ASKED, predictions)
    stages = {"evaluation": os.path.relpath(evaluation, runs)}
    if cell.config.training is not None:
        level = cell.config.annotation.granularity or 0
        shared = {"annotation of": cell.arm}
        rationales = {"rationales.jsonl": [taught(level)] * 8}
        steps = [{"step": step, "loss": 1 / step, "terms": {"0_cross_entropy_all": 1 / step}} for step in range(1, 6)]
        stages["annotation"] = finish(runs, "annotation", shared, rationales, {})
        stages["training"] = finish(runs, "training", identity, {"metrics.jsonl": steps}, {"num_tokens": 100 * level})
    state = {"status": "done", "error": None, "stages": stages, "seconds": 1.0}
    write_json_atomically(cell_path(cell, folder), state)


@pytest.fixture
def half_done(tmp_path: Path) -> Path:
    """An experiment whose arm answers has failed under seed 0 and not run under seed 1; the folder of its file."""
    (tmp_path / "fine.yaml").write_text(FILE, encoding="utf-8")
    planned = plan(load_experiment(tmp_path / "fine.yaml"))
    folder = tmp_path / "runs" / "fine"
    for cell in planned.cells:
        if cell.factors["arm"] == "levels" or cell.untrained:
            make_cell(cell, folder, 0.9 if cell.config.training else 0.05)
        elif cell.seed == 0:
            failed = {"status": "failed", "error": "no space left", "stages": {}, "seconds": None}
            write_json_atomically(cell_path(cell, folder), failed)
    return tmp_path


def test_arms_pool_their_seeds_and_know_their_base_length_and_curve(half_done):
    result = load_result(load_experiment(half_done / "fine.yaml"), half_done / "runs")
    evidence = evidence_of(result)
    base, coarse, fine = (next(name for name in evidence.arms if key in name) for key in ("base", "=1", "=3"))
    arm = evidence.arms[fine]
    assert [cell.seed for cell in arm.cells] == [0, 1]
    assert arm.score.accuracy == pytest.approx(sum(arm.seed_accuracies()) / 2)
    assert (arm.score.n, arm.score.correct + arm.score.wrong + arm.score.unreadable + arm.score.truncated) == (20, 40)
    assert (arm.base, evidence.arms[base].base) == (base, None)
    assert (arm.factors["granularity"], arm.factors["teacher"]) == (3, "procedural")
    assert (arm.extras["rationale_words"], arm.extras["training_tokens"]) == (30.0, 300)
    assert list(arm.cells[0].curve.steps) == [1, 2, 3, 4, 5]
    assert evidence.arms[coarse].extras["rationale_words"] == 10.0
    predictions = [cell.predictions for cell in (arm.cells[0], evidence.arms[base].cells[0])]
    assert evidence.gains[fine].n == compare(*predictions).n == 20
    assert evidence.gains[fine].num_seeds == 2


def test_the_report_of_half_an_experiment_says_what_is_missing_and_why_and_loads_no_torch(half_done):
    script = (
        "import sys; from cotdistill.cli import app; app(['report', 'fine.yaml'], standalone_mode=False);"
        "print([name for name in ('torch', 'transformers') if name in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", script], cwd=half_done, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert "no space left" in done.stdout
    assert done.stdout.splitlines()[-1] == "[]"
    folder = half_done / "runs" / "fine"
    page, text = ((folder / name).read_text(encoding="utf-8") for name in ("report.html", "report.md"))
    assert "2 of 7 cells have no result" in page
    for part in ("no space left", "not run yet", "was declared but cannot be tested"):
        assert part in page
        assert part in text
    assert "beats" in page
    assert {path.stem for path in (folder / "figures").glob("*.svg")} >= {"accuracy", "granularity", "tasks", "length"}
    assert not (folder / "summary.json").exists(), "nothing was run"


def test_an_experiment_that_never_ran_has_a_report(half_done):
    done = subprocess.run(
        [sys.executable, "-m", "cotdistill", "report", "fine.yaml", "--runs", "other", "--json"],
        cwd=half_done,
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    assert len(json.loads(done.stdout)["missing"]) == 7
    assert "Nothing is finished yet; 7 cells are missing." in (half_done / "other/fine/report.md").read_text("utf-8")


def test_how_far_teacher_and_student_agreed_is_shown() -> None:
    seeds = [
        {"examples": {"mass": 0.9, "top_k": 0.5}},
        {"examples": {"mass": 0.8, "top_k": 0.5}, "samples": {"mass": 1.0}},
    ]
    assert _overlap(seeds) == {"overlap_on_examples": 0.85, "overlap_on_samples": 1.0}
    assert _overlap([]) == {}


def test_a_students_own_samples_are_shown_where_it_trained_on_some() -> None:
    """Means over the seeds, in the columns of what an arm cost."""
    seeds = [{"num_steps": 4, "mean_length": 10.5 + n, "truncated": 2 * n, "repeated": 1} for n in range(2)]
    assert _samples(seeds) == {"sample_tokens": 11.0, "sample_truncated": 1.0, "sample_repeated": 1.0}
    assert _samples([]) == {}
