"""The stage that measures effects of rationales: sources, resume, and what it refuses."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest
from tests.command import run_command
from tests.stages import finished_evaluation
from tests.tiny import save_tiny

from cotdistill.config import ModelConfig
from cotdistill.errors import DataError
from cotdistill.evaluation.diagnosis import rationale_effect
from cotdistill.evaluation.diagnosis.effect import measure_effects, summarise
from cotdistill.evaluation.read import read_evaluation
from cotdistill.records import Prediction, Question
from cotdistill.storage.jsonl import read_rows, write_rows

NUM = 4


@pytest.fixture
def lab(tmp_path: Path) -> Path:
    """A student, and an evaluation's folder with questions, of which one has a human rationale."""
    save_tiny(tmp_path / "student")
    questions = [
        Question(f"q{n}", "own", "test", f"Ann has {n} apples and gets 2. How many?", str(n + 2), "number",
                 human_rationale=f"{n} and 2 make {n + 2}." if n == 1 else None)
        for n in range(NUM)
    ]  # fmt: skip
    predictions = [
        Prediction(q.id, q.task, q.answer, f"Step 1: she has {q.answer}. The answer is {q.answer}.", q.answer,
                   "correct", 9, 9)
        for q in questions
    ]  # fmt: skip
    finished_evaluation(tmp_path / "evaluation", questions, predictions)
    write_rows(tmp_path / "teacher.jsonl", [{"id": "q0", "rationale": "0 + 2 = 2. The answer is 2."}, {"id": "other"}])
    return tmp_path


def measured(lab: Path, **arguments):
    return measure_effects(
        ModelConfig(model=str(lab / "student")), lab / "evaluation", runs=lab / "runs", dtype="float32", **arguments
    )


def test_each_source_is_measured_where_it_has_a_rationale(lab):
    result = measured(lab, rationales=lab / "teacher.jsonl")
    assert {source: row["n"] for source, row in result.summary.items()} == {"own": NUM, "human": 1, "teacher": 1}
    assert [row["id"] for row in result.rows] == [f"q{n}" for n in range(NUM)]
    assert set(result.rows[0]["effects"]) == {"own", "teacher"}
    assert all(0 < row["attention"]["own"] < 1 for row in result.rows)
    assert result.summary["teacher"]["mean"] == pytest.approx(result.rows[0]["effects"]["teacher"])


def test_tasks_with_the_same_ids_keep_their_own_rationales(lab):
    before = measured(lab)
    found = read_evaluation(lab / "evaluation")
    questions = [replace(one, task="other") for one in found.questions]
    predictions = [replace(one, task="other", output="No idea.") for one in found.predictions]
    finished_evaluation(lab / "evaluation", [*found.questions, *questions], [*found.predictions, *predictions])
    assert measured(lab).rows[:NUM] == before.rows


@pytest.mark.usefixtures("batch_dependent")
def test_a_stopped_measurement_goes_on_where_it_stopped(lab, monkeypatch):
    whole = measured(lab)
    calls: list[str] = []
    real = rationale_effect.rationale_effects

    def failing(model, tokenizer, questions, rationales):
        calls.append(questions[0].id)
        if len(calls) == 3:
            raise KeyboardInterrupt
        return real(model, tokenizer, questions, rationales)

    monkeypatch.setattr(rationale_effect, "rationale_effects", failing)
    other = lab / "again"
    arguments = {"runs": other, "dtype": "float32"}
    student = ModelConfig(model=str(lab / "student"))
    with pytest.raises(KeyboardInterrupt):
        measure_effects(student, lab / "evaluation", **arguments)
    calls[:] = [""] * 3
    assert measure_effects(student, lab / "evaluation", **arguments).rows == whole.rows
    assert calls[3:] == ["q2", "q3"]


def test_a_rationale_that_leaves_the_positions_is_left_out(lab):
    write_rows(lab / "long.jsonl", [{"id": "q0", "rationale": "1 2 3 " * 400}])
    result = measured(lab, rationales=lab / "long.jsonl")
    assert "teacher" not in result.summary
    assert result.summary["own"]["n"] == NUM


def test_a_teachers_file_for_other_questions_is_refused(lab):
    write_rows(lab / "others.jsonl", [{"id": "x", "rationale": "1 + 1 = 2."}])
    with pytest.raises(DataError, match="no rationale belongs to a question of the evaluation"):
        measured(lab, rationales=lab / "others.jsonl")


def test_the_summary_counts_helped_questions():
    rows = [{"effects": {"own": value}, "attention": {"own": share}} for value, share in ((1.0, 0.2), (-3.0, None))]
    summary = summarise(rows)["own"]
    assert (summary["n"], summary["mean"], summary["helps"], summary["attention"]) == (2, -1.0, 0.5, 0.2)
    assert summary["interval"] == [-3.0, 1.0]


def test_the_commands_print_json(lab):
    outcome = run_command(lab, "effect", "./student", "evaluation", "--limit", "2", "--json")
    assert json.loads(outcome.out)["own"]["n"] == 2, outcome.err
    outcome = run_command(lab, "export", "evaluation", "--to", "lm-eval", "--out", "samples", "--json")
    assert json.loads(outcome.out)["own"]["samples"] == NUM, outcome.err
    assert len(list(read_rows(lab / "samples" / "samples_own.jsonl"))) == NUM
