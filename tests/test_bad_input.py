"""What a newcomer gets wrong in a file costs one line, with the value, the place and what to do, and runs nothing."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from tests.command import run_command

FILE = """
question: Do they help?
task: {train: own.jsonl}
student: builtin:nano-student
training: {epochs: 1}
grid:
  teacher: {people: human, answers: answer_only}
comparisons:
  - {a: {teacher: people}, b: base}
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
        ("student:", "studnet:", ["mine.yaml: unknown key 'studnet'; did you mean 'student'?"]),
        ("epochs: 1", "epoch: 1", ["unknown key 'training.epoch'; did you mean 'epochs'?"]),
        ("a: {teacher: people}", "a: {techer: people}", ["comparisons.0.a: no arm has the factor 'techer'"]),
        ("a: {teacher: people}", "a: {teacher: human}", ["comparisons.0.a: no arm has 'human' for teacher; known: "]),
        ("a: {teacher: people}", "a: people", ["comparisons.0.a: no arm has 'people' for arm; known: base, student"]),
        ("student:", "\tstudent:", ["mine.yaml, line 4: not valid YAML (a tab)", "indent it with spaces"]),
        ("grid:", "task: x\ngrid:", ["mine.yaml, line 6: not valid YAML (key 'task' appears twice)"]),
        ("student:", "students:", ["mine.yaml: the key 'students' belongs to the old study files; put the keys"]),
        ("grid:", "grid:\n  granularity: [1, 2]", ["'granularity'; did you mean 'annotation.granularity'?"]),
        ("epochs: 1", "epochs: &a [*a]", ["mine.yaml: not usable as settings (Circular reference"]),
        ("nano-student", "nano-studnt", ["nano-studnt: no such built-in model; did you mean 'builtin:nano-student'?"]),
        ("{people: human, answers: answer_only}", "human", ["grid.teacher: needs a list of values", "'human'"]),
        ("grid:", "grid:\n  seed: [1, 1.0]", ["grid.seed.values: lists a value twice"]),
        ("grid:", "arms: [a]\ngrid:", ["mine.yaml, arms: arms must map a name to its overrides"]),
        ("grid:", "arms: {a: b}\ngrid:", ["mine.yaml, arms: arms must map a name to its overrides"]),
        (
            "grid:",
            "grid:\n  seed: [1, 2, 3]" + "".join(f"\n  training.k{n}: [1, 2, 3]" for n in range(40)),
            ["mine.yaml: the grid has more than 100,000 points for the arm 'base'; leave out axes"],
        ),
    ],
)  # fmt: skip
def test_a_wrong_file(lab: Path, old: str, new: str, parts: list[str]) -> None:
    assert old in FILE
    (lab / "mine.yaml").write_text(FILE.replace(old, new, 1), encoding="utf-8")
    line = refused(lab, "run", "mine.yaml")
    for part in parts:
        assert part in line


@pytest.mark.parametrize(
    ("line", "parts"),
    [
        ("seed: 2026-13-45", ["'2026-13-45' for 'seed': input should be a valid integer"]),
        ("seed: " + "9" * 5000, ["mine.yaml: not usable as settings (Exceeds the limit (4300 digits)"]),
        ("seed: !!int x", ["mine.yaml: not usable as settings"]),
        ("seed: !!timestamp x", ["mine.yaml: not usable as settings"]),
        ("seed: !!python/object:os.system x", ["mine.yaml, line 4: not valid YAML"]),
        ("seed: " + "[" * 5000, ["mine.yaml: settings are nested too deeply"]),
        (
            "a0: &a0 [x, x]\n" + "".join(f"a{n}: &a{n} [*a{n - 1}, *a{n - 1}, *a{n - 1}]\n" for n in range(1, 30)),
            ["mine.yaml: not valid YAML (more than 100,000 values once its aliases are followed)"],
        ),
        (
            "student: ~nosuchuser/model",
            ["'~nosuchuser/model' is not a usable path (Could not determine home directory.)"],
        ),
    ],
    ids=["date", "digits", "int", "timestamp", "object", "nested", "aliases", "home"],
)
def test_a_hostile_file(lab: Path, line: str, parts: list[str]) -> None:
    student = "" if line.startswith("student") else "student: builtin:nano-student\n"
    (lab / "mine.yaml").write_text(f"\ntask: own.jsonl\n{student}{line}\n", encoding="utf-8")
    refusal = refused(lab, "plan", "mine.yaml")
    for part in parts:
        assert part in refusal


def test_a_date_in_a_file_is_a_text(lab: Path) -> None:
    (lab / "mine.yaml").write_text("question: 2026-11-28\n" + FILE.split("\n", 2)[2], encoding="utf-8")
    assert run_command(lab, "plan", "mine.yaml").status == 0


def test_any_error_of_the_disk_is_one_line(lab: Path) -> None:
    (lab / "mine.yaml").write_text(FILE, encoding="utf-8")
    (lab / "runs").write_text("no folder", encoding="utf-8")
    outcome = run_command(lab, "annotate", "mine.yaml")
    assert (outcome.status, outcome.err.count("\n")) == (2, 1), outcome.err


@pytest.mark.parametrize("command", ["plan", "report", "advise", "annotate", "capture", "train", "evaluate"])
def test_a_wrong_file_is_refused_by_every_command(lab: Path, command: str) -> None:
    (lab / "mine.yaml").write_text(FILE.replace("student:", "studnt:"), encoding="utf-8")
    assert "mine.yaml: unknown key 'studnt'; did you mean 'student'?" in refused(lab, command, "mine.yaml")


def test_a_folder_in_place_of_a_file(lab: Path) -> None:
    (lab / "mine").mkdir()
    assert "mine: no such file; it is a folder; name the file in it" in refused(lab, "report", "mine")


@pytest.mark.parametrize(
    ("override", "problem"),
    [
        ("arms=None", "--set, arms: arms must map a name to its overrides"),
        ("arms={a: b}", "--set, arms: arms must map a name to its overrides"),
        ("seed", "--set: expected KEY=VALUE, found 'seed'"),
        ("seed=" + "9" * 5000, "is not a YAML value"),
        ("seed=[[", "is not a YAML value"),
        ("=1", "--set: expected KEY=VALUE"),
    ],
)
def test_an_override_of_another_shape(lab: Path, override: str, problem: str) -> None:
    (lab / "mine.yaml").write_text(FILE, encoding="utf-8")
    assert problem in refused(lab, "plan", "mine.yaml", "--set", override)
    assert refused(lab, "plan", "mine.yaml", "--set", "grid=True", "--set", "task=True")


def test_a_file_without_settings(lab: Path) -> None:
    (lab / "mine.yaml").write_text("# to be written\n", encoding="utf-8")
    assert "mine.yaml: expected a mapping of settings (KEY: VALUE), found nothing; " in refused(
        lab, "plan", "mine.yaml"
    )
    (lab / "mine.yaml").write_text("- a\n- b\n", encoding="utf-8")
    assert "found list; " in refused(lab, "run", "mine.yaml")


@pytest.mark.parametrize(
    ("file", "parts"),
    [
        ("absent.jsonl", ["absent.jsonl: no such file; check the path"]),
        ("empty.jsonl", ["empty.jsonl: no rows; give at least one question"]),
        ("twice.jsonl", ["twice.jsonl, line 4: ", "'0'"]),
        ("bare.jsonl", ["bare.jsonl: no question has a rationale; name their column with columns: {rationale: NAME}"]),
        ("columns.jsonl", ["columns.jsonl, line 1: no column 'answer'", "map it with columns: {answer: label}"]),
    ],
)
def test_own_questions_that_cannot_be_used_are_seen_before_any_cell(lab: Path, file: str, parts: list[str]) -> None:
    (lab / "bare.jsonl").write_text(
        "".join(f'{{"question": "What is {n} + 1?", "answer": {n + 1}, "why": "{n}"}}\n' for n in range(40)),
        encoding="utf-8",
    )
    (lab / "columns.jsonl").write_text('{"question": "What is 1 + 1?", "label": 2}\n', encoding="utf-8")
    (lab / "mine.yaml").write_text(FILE.replace("own.jsonl", file), encoding="utf-8")
    for command in ("plan", "run"):
        line = refused(lab, command, "mine.yaml")
        for part in parts:
            assert part in line
