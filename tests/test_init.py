"""``cotdistill init`` writes an experiment that runs as it is, and shows rows as a model will see them."""

from __future__ import annotations

import json
import os
import pty
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml
from tests.command import run_command

from cotdistill.config import load_experiment
from cotdistill.experiments.plan import plan

ALL = ("base", "answers", "rationales")
ROWS = [{"question": f"What is {n} + 1?", "answer": n + 1, "rationale": f"{n} + 1 = {n + 1}."} for n in range(1, 31)]


def table(path: Path, names: dict[str, str] | None = None, rows: list[dict[str, Any]] = ROWS) -> Path:
    renamed = [{(names or {}).get(key, key): value for key, value in row.items()} for row in rows]
    path.write_text("".join(json.dumps(row) + "\n" for row in renamed), encoding="utf-8")
    return path


@pytest.fixture
def lab(tmp_path: Path) -> Path:
    table(tmp_path / "own.jsonl")
    return tmp_path


def begun(lab: Path, *words: str) -> dict[str, Any]:
    outcome = run_command(lab, "init", *words, "--json")
    assert outcome.status == 0, outcome.err
    return json.loads(outcome.out)


def test_what_it_writes_runs_and_says_what_it_was_made_from(lab: Path) -> None:
    found = begun(lab, "own.jsonl")
    assert found["written"] == ["experiment.yaml", "cotdistill.schema.json"]
    assert (found["teacher"], found["num_train"] + found["num_test"], found["columns"]) == ("human", 30, {})
    first, *_ = rows = found["rows"]
    assert len(rows) == 3
    assert first["prompt"].endswith("</think>\n\n")
    assert "What is 1 + 1?" in first["prompt"]
    assert first["target"] == "1 + 1 = 2.\nThe answer is 2.<|im_end|>"
    ran = run_command(lab, "run", "experiment.yaml", "--set", "training.epochs=1")
    assert ran.status == 0, ran.err
    assert "runs/own/report.html" in ran.out


def test_its_file_has_comments_arms_seeds_comparisons_and_a_schema(lab: Path) -> None:
    begun(lab, "own.jsonl", "--to", "new/mine.yaml")
    text = (lab / "new/mine.yaml").read_text(encoding="utf-8")
    assert text.startswith("# yaml-language-server: $schema=cotdistill.schema.json\n")
    assert json.loads((lab / "new/cotdistill.schema.json").read_text(encoding="utf-8"))["properties"]["student"]
    planned = plan(load_experiment(lab / "new/mine.yaml"))
    assert list(planned.arms) == [*ALL]
    assert [(pair.a, pair.b) for pair in planned.comparisons] == [("rationales", "answers"), ("rationales", "base")]
    assert text.count("  # ") > 8


@pytest.mark.parametrize(
    ("names", "found"),
    [
        ({"question": "prompt", "answer": "label"}, {"question": "prompt", "answer": "label"}),
        ({"question": "Question", "answer": "Answer"}, {"question": "Question", "answer": "Answer"}),
        ({"rationale": "chain of thought"}, {"rationale": "chain of thought"}),
        ({"question": "Frage", "answer": "Lösung", "rationale": "Begründung"},
         {"question": "Frage", "answer": "Lösung", "rationale": "Begründung"}),
    ],
)  # fmt: skip
def test_columns_of_other_names_are_found_said_and_written(
    lab: Path, names: dict[str, str], found: dict[str, str]
) -> None:
    table(lab / "other.jsonl", names)
    assert begun(lab, "other.jsonl")["columns"] == found
    settings = yaml.safe_load((lab / "experiment.yaml").read_text(encoding="utf-8"))
    assert settings["task"]["columns"] == found
    said = run_command(lab, "init", "other.jsonl", "--force").out
    assert all(f"the {ours} is read from the column {yours!r}" in said for ours, yours in found.items())


def test_a_column_that_cannot_be_found_is_named(lab: Path) -> None:
    table(lab / "odd.jsonl", {"question": "a1", "answer": "a2", "rationale": "a3"})
    refused = run_command(lab, "init", "odd.jsonl")
    assert (refused.status, refused.err.count("\n")) == (2, 1)
    assert "odd.jsonl, line 1: no column 'question'; known: a1, a2, a3 (map it with columns: " in refused.err
    assert not (lab / "experiment.yaml").exists()
    names = [word for pair in ("question=a1", "answer=a2", "rationale=a3") for word in ("--column", pair)]
    assert begun(lab, "odd.jsonl", *names)["teacher"] == "human"


@pytest.mark.parametrize(
    ("words", "teacher", "arms"),
    [
        (("bare.jsonl",), "answer_only", ["base", "answers"]),
        (("procedural",), "procedural", [*ALL]),
        (("own.jsonl", "--teacher", "answer_only"), "answer_only", ["base", "answers"]),
        (("bare.jsonl", "--teacher", "builtin:nano-teacher"), "builtin:nano-teacher", [*ALL]),
        (
            ("bare.jsonl", "--teacher", "big", "--teacher-url", "http://127.0.0.1:9/v1"),
            "big",
            [*ALL],
        ),
        (("own.jsonl", "--test", "others.jsonl"), "human", [*ALL]),
    ],
)  # fmt: skip
def test_teachers_and_questions_of_every_kind(lab: Path, words: tuple[str, ...], teacher: str, arms: list[str]) -> None:
    table(lab / "bare.jsonl", rows=[{**row, "rationale": None} for row in ROWS])
    table(lab / "others.jsonl", rows=[{**row, "question": f"Ben has {row['answer']} nuts. How many?"} for row in ROWS])
    found = begun(lab, *words)
    assert found["teacher"] == teacher
    assert list(plan(load_experiment(lab / "experiment.yaml")).arms) == arms
    assert run_command(lab, "plan", "experiment.yaml").status == 0
    assert all(row["prompt"] for row in found["rows"])


def test_nothing_is_replaced_unasked(lab: Path) -> None:
    (lab / "experiment.yaml").write_text("mine", encoding="utf-8")
    refused = run_command(lab, "init", "own.jsonl")
    assert "experiment.yaml: it exists; write another file with --to, or replace it with --force" in refused.err
    assert (lab / "experiment.yaml").read_text(encoding="utf-8") == "mine"
    begun(lab, "own.jsonl", "--force")
    assert load_experiment(lab / "experiment.yaml")


@pytest.mark.parametrize(
    ("words", "part"),
    [
        ((), "DATA: no questions are named; cotdistill init questions.csv"),
        (("absent.csv",), "absent.csv: no such file; check the path"),
        (("ownn.jsonl",), "ownn.jsonl: no such file; did you mean 'own.jsonl'?"),
        (("gsm9k",), "gsm9k: neither a file nor a benchmark; did you mean 'gsm8k'?"),
        (("own.jsonl", "--student", "builtin:nano"), "no such built-in model"),
        (("own.jsonl", "--student", "./absent"), "no such model folder"),
        (("own.jsonl", "--column", "question"), "--column: 'question' names no column; write OURS=YOURS"),
        (("own.jsonl", "--teacher-url", "http://h:1/v1"), "--teacher-url: there is no model to ask; name it with"),
        (("own.jsonl", "--teacher", "x", "--teacher-url", "h:1"), "is not the address of a server"),
    ],
)
def test_what_cannot_be_begun_is_one_line_and_writes_nothing(lab: Path, words: tuple[str, ...], part: str) -> None:
    refused = run_command(lab, "init", *words)
    assert (refused.status, refused.out, refused.err.count("\n")) == (2, "", 1), refused
    assert part in refused.err
    assert not (lab / "experiment.yaml").exists()


def test_on_a_terminal_it_asks(lab: Path) -> None:
    ours, theirs = pty.openpty()
    command = [sys.executable, "-m", "cotdistill", "init"]
    process = subprocess.Popen(
        command, cwd=lab, stdin=theirs, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )
    os.close(theirs)
    os.write(ours, b"own.jsonl\nbuiltin:nano-student\n\n")
    out, err = process.communicate(timeout=240)
    os.close(ours)
    assert process.returncode == 0, err
    assert "Your questions (a file, hub:NAME, benchmarks or procedural) [procedural]: " in err
    assert out.endswith("next: cotdistill run experiment.yaml\n")
