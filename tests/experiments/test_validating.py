"""What a cell's validation asks is never tested, never trained on, and refused before anything is made."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from tests.command import run_command
from tests.tiny import save_tiny

from cotdistill.config import CellConfig, validated
from cotdistill.errors import CotDistillError
from cotdistill.experiments.validating import held_out_of
from cotdistill.tasks import load_task


def rows(first: int, last: int, **more: Any) -> str:
    lines = [
        {"id": f"r{n}", "question": f"What is {n} + {n}?", "answer": str(2 * n), **more} for n in range(first, last)
    ]
    return "".join(json.dumps(line) + "\n" for line in lines)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "train.jsonl").write_text(rows(0, 40, rationale="Twice as many."))
    (tmp_path / "test.jsonl").write_text(rows(40, 50))
    (tmp_path / "own.jsonl").write_text(rows(50, 60, rationale="Twice as many."))
    return tmp_path


def cell(folder: Path, validation: dict[str, Any], **changes: Any) -> CellConfig:
    values = {
        "task": {"train": "train.jsonl", "test": "test.jsonl"},
        "teacher": "human",
        "student": "builtin:nano-student",
        "training": {"validation": validation},
    }
    return validated(CellConfig, values | changes, where="here", folder=folder)


def test_all_arms_hold_out_the_same_questions_whatever_their_teacher_and_seed(folder: Path) -> None:
    validation = {"share": 0.25}
    first = held_out_of(cell(folder, validation), load_task)
    other = held_out_of(cell(folder, validation, teacher="answer_only", seed=7), load_task)
    assert first is not None
    assert other is not None
    assert first.questions == other.questions
    assert 4 <= len(first.questions) <= 16


def test_a_file_is_read_as_the_tasks_own_files_are(folder: Path) -> None:
    (folder / "train.jsonl").write_text(rows(0, 40).replace('"question"', '"asked"'))
    (folder / "test.jsonl").write_text(rows(40, 50).replace('"question"', '"asked"'))
    (folder / "own.jsonl").write_text(rows(50, 60, rationale="Twice.").replace('"question"', '"asked"'))
    task = {"train": "train.jsonl", "test": "test.jsonl", "columns": {"question": "asked"}, "num_test": 3}
    held = held_out_of(cell(folder, {"data": "own.jsonl"}, task=task), load_task)
    assert held is not None
    assert len(held.questions) == len(held.rationales) == 10


@pytest.mark.parametrize(
    ("validation", "own", "said"),
    [
        ({"data": "own.jsonl"}, rows(45, 55), "5 of 10 are also test questions, the first is 'r45'; remove them"),
        ({"data": "own.jsonl"}, rows(50, 60) + rows(3, 4), "1 of 11 are also training questions, the first is 'r3'"),
        ({"data": "missing.jsonl"}, "", "missing.jsonl"),
        ({"data": "own.jsonl", "questions": 0}, rows(50, 60), "no row has a rationale to take the loss of"),
        ({"data": "own.jsonl", "keep": "best", "by": "loss"}, rows(50, 60), "no row has a rationale to take the loss"),
        ({"share": 0.0001}, "", "0.0001 of 40 questions holds out 0; choose another share"),
        ({"share": 0.1, "data": "own.jsonl"}, "", "give one of share and data"),
        ({}, "", "give one of share and data"),
        ({"share": 0.1, "every": {}}, "", "give one of steps and epochs"),
        ({"share": 0.1, "questions": 0, "keep": "best"}, "", "set by: loss, or ask some questions"),
    ],
)
def test_what_cannot_be_checked_is_refused_in_one_line(
    folder: Path, validation: dict[str, Any], own: str, said: str
) -> None:
    if own:
        (folder / "own.jsonl").write_text(own)
    with pytest.raises(CotDistillError) as refused:
        held_out_of(cell(folder, validation), load_task)
    assert said in str(refused.value)
    assert "\n" not in str(refused.value)


def test_a_training_question_that_is_also_tested_is_not_held_out(folder: Path) -> None:
    everything = held_out_of(cell(folder, {"share": 0.5}), load_task)
    assert everything is not None
    shared = everything.questions[0]
    with (folder / "test.jsonl").open("a") as file:
        file.write(json.dumps({"id": "x", "question": f"{shared.question.lower()}", "answer": shared.answer}) + "\n")
    rest = held_out_of(cell(folder, {"share": 0.5}), load_task)
    assert rest is not None
    assert [one.id for one in rest.questions] == [one.id for one in everything.questions[1:]]
    with pytest.raises(CotDistillError, match=r"1 of \d+ held-out questions are also test questions; set annotation"):
        held_out_of(cell(folder, {"share": 0.5}, annotation={"decontaminate": "report"}), load_task)


EXPERIMENT = """
task: {train: train.jsonl, test: test.jsonl}
teacher: human
student: ./student
training: {epochs: 1, batch_size: 8, dtype: float32, validation: {data: own.jsonl, questions: 4, keep: best}}
evaluation: {max_new_tokens: 8, dtype: float32}
arms: {trained: {}}
"""


def test_plan_and_run_refuse_the_same_and_the_report_names_the_kept_step(folder: Path) -> None:
    save_tiny(folder / "student")
    (folder / "e.yaml").write_text(EXPERIMENT)
    told = run_command(folder, "plan", "e.yaml")
    assert told.status == 0, told.err
    assert "to check students while they train" in told.out
    assert run_command(folder, "annotate", "e.yaml").status == 0
    assert "- trained: validation has 10 questions of its own" in (folder / "runs/e/data_card.md").read_text()
    share = "training.validation={share: 0.25, questions: 4}"
    assert run_command(folder, "annotate", "e.yaml", "--set", share).status == 0
    assert "of the 40 questions are held out for validation" in (folder / "runs/e/data_card.md").read_text()
    (folder / "own.jsonl").write_text(rows(41, 45))
    for command in ("plan", "run"):
        refused = run_command(folder, command, "e.yaml")
        assert refused.status == 2
        assert "own.jsonl: 4 of 4 are also test questions" in refused.err
    assert not list(folder.glob("runs/training/*"))
    (folder / "own.jsonl").write_text(rows(50, 55, rationale="Twice as many."))
    done = run_command(folder, "run", "e.yaml")
    assert done.status == 0, done.err
    assert "trained, seed 0: step 5: validation loss " in done.err
    page = (folder / "runs/e/report.md").read_text()
    assert "| trained | 0 | 5 of 5 | best accuracy of 1 | all steps were taken |" in page
    assert "### Held-out questions while training" in page
    assert "figures/checks.svg" in page
    assert "5 of 5" in done.out, "the terminal names the kept step too"
