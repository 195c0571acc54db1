"""What a newcomer gets wrong in a study costs one line, with the value, the place and what to do, and runs nothing."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from tests.command import run_command

STUDY = """
question: Do they help?
teachers: {people: human, answers: answer_only}
students: {nano: "builtin:nano-student"}
base:
  task: {train: own.jsonl}
  training: {epochs: 1}
grid:
  teacher: [people, answers]
comparisons:
  - {a: {teacher: people}, b: base}
"""
RUN = """
task: own.jsonl
student: builtin:nano-student
arms: {people: {teacher: human}, base: {training: null}}
comparisons: [{a: people, b: base}]
"""


@pytest.fixture
def lab(tmp_path: Path) -> Path:
    rows = [
        {"id": n, "question": f"What is {n} + 1?", "answer": n + 1, "rationale": f"{n} + 1 = {n + 1}."}
        for n in range(40)
    ]
    (tmp_path / "own.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    (tmp_path / "empty.jsonl").write_text("", encoding="utf-8")
    (tmp_path / "twice.jsonl").write_text(
        "".join(json.dumps(row) + "\n" for row in (rows[:3] + rows[:1])), encoding="utf-8"
    )
    (tmp_path / "run.yaml").write_text(RUN, encoding="utf-8")
    return tmp_path


def refused(lab: Path, *arguments: str) -> str:
    """The one line that a command ends with."""
    outcome = run_command(lab, *arguments)
    assert (outcome.status, outcome.out) == (2, ""), outcome
    assert outcome.err.startswith("cotdistill: ")
    assert outcome.err.count("\n") == 1, outcome.err
    assert not (lab / "runs").exists()
    return outcome.err


@pytest.mark.parametrize(
    ("old", "new", "parts"),
    [
        ("teachers:", "techers:", ["study.yaml: unknown key 'techers'; did you mean 'teachers'?"]),
        ("epochs: 1", "epoch: 1", ["unknown key 'training.epoch'; did you mean 'epochs'?"]),
        ("a: {teacher: people}", "a: {techer: people}", ["comparisons.0.a: no arm has the factor 'techer'"]),
        ("a: {teacher: people}", "a: {teacher: human}", ["unknown teacher 'human' in comparisons.0.a; known: answers"]),
        ("a: {teacher: people}", "a: people", ["comparisons.0.a: 'people' is no side", "{AXIS: VALUE}, or base"]),
        ("teachers:", "\tteachers:", ["study.yaml, line 3: not valid YAML", "mend that line"]),
        ("grid:", "base: {}\ngrid:", ["study.yaml, line 8: not valid YAML (key 'base' for the second time)"]),
        ("students:", "student:", ["study.yaml: ", "'student'"]),
        ("grid:", "grid:\n  granularity: [1, 2]", ["'granularity'; did you mean 'annotation.granularity'?"]),
        ("epochs: 1", "epochs: &a [*a]", ["study.yaml: not usable as settings (Circular reference"]),
        ("nano-student", "nano-studnt", ["nano-studnt: no such built-in model; did you mean 'builtin:nano-student'?"]),
        ("[people, answers]", "people", ["axis 'teacher' needs a list of values", "'people'"]),
    ],
)  # fmt: skip
def test_a_wrong_study_file(lab: Path, old: str, new: str, parts: list[str]) -> None:
    assert old in STUDY
    (lab / "study.yaml").write_text(STUDY.replace(old, new, 1), encoding="utf-8")
    line = refused(lab, "study", "study.yaml")
    for part in parts:
        assert part in line


@pytest.mark.parametrize("command", ["plan", "report", "advise"])
def test_a_wrong_study_file_is_refused_by_every_command(lab: Path, command: str) -> None:
    (lab / "study.yaml").write_text(STUDY.replace("students:", "student:"), encoding="utf-8")
    assert "study.yaml: unknown key 'student'; did you mean 'students'?" in refused(lab, command, "study.yaml")


@pytest.mark.parametrize("command", ["plan", "study", "advise"])
def test_a_run_file_is_no_study_file(lab: Path, command: str) -> None:
    assert (
        "run.yaml: no study file; a study has students, base and grid; a run file is for cotdistill run run.yaml"
        in refused(lab, command, "run.yaml")
    )


@pytest.mark.parametrize("command", ["run", "annotate", "train", "evaluate", "capture"])
def test_a_study_file_is_no_run_file(lab: Path, command: str) -> None:
    (lab / "study.yaml").write_text(STUDY, encoding="utf-8")
    line = refused(lab, command, "study.yaml")
    assert "study.yaml: a study file, not a run file; " in line
    assert "cotdistill study study.yaml" in line


def test_a_folder_in_place_of_a_file(lab: Path) -> None:
    (lab / "mine").mkdir()
    assert "mine: no such file; it is a folder; name the file in it" in refused(lab, "report", "mine")


def test_a_file_without_settings(lab: Path) -> None:
    (lab / "study.yaml").write_text("# to be written\n", encoding="utf-8")
    assert "study.yaml: expected a mapping of settings (KEY: VALUE), found nothing; " in refused(
        lab, "study", "study.yaml"
    )
    (lab / "study.yaml").write_text("- a\n- b\n", encoding="utf-8")
    assert "found list; " in refused(lab, "run", "study.yaml")


def test_a_run_that_compares_an_arm_that_is_not_there(lab: Path) -> None:
    (lab / "run.yaml").write_text(RUN.replace("a: people", "a: peple"), encoding="utf-8")
    assert "run.yaml: comparison of unknown arm 'peple'; did you mean 'people'?" in refused(lab, "run", "run.yaml")


@pytest.mark.parametrize(
    ("file", "parts"),
    [
        ("absent.jsonl", ["absent.jsonl: no such file; check the path"]),
        ("empty.jsonl", ["empty.jsonl: no rows; give a file with at least one question"]),
        ("twice.jsonl", ["twice.jsonl, line 4: ", "'0'"]),
        ("bare.jsonl", ["bare.jsonl: no question has a rationale; name their column with columns: {rationale: NAME}"]),
        ("columns.jsonl", ["columns.jsonl, line 1: no column 'answer'", "map it with columns: {answer: NAME}"]),
    ],
)
def test_own_questions_that_cannot_be_used_are_seen_before_any_cell(lab: Path, file: str, parts: list[str]) -> None:
    (lab / "bare.jsonl").write_text(
        "".join(f'{{"question": "What is {n} + 1?", "answer": {n + 1}, "why": "{n}"}}\n' for n in range(40)),
        encoding="utf-8",
    )
    (lab / "columns.jsonl").write_text('{"question": "What is 1 + 1?", "label": 2}\n', encoding="utf-8")
    (lab / "study.yaml").write_text(STUDY.replace("own.jsonl", file), encoding="utf-8")
    for command in ("plan", "study"):
        line = refused(lab, command, "study.yaml")
        for part in parts:
            assert part in line
