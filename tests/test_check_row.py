"""``cotdistill check`` shows a row by the very examples that a training reads."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from tests.command import run_command

from cotdistill.annotation import read_annotation
from cotdistill.cli.check import row_lines
from cotdistill.config import load_experiment
from cotdistill.experiments.plan import plan
from cotdistill.experiments.rows import Row, Taught, Token, read_row
from cotdistill.experiments.work import Work
from cotdistill.training.data.store import student_examples

FILE = """
task: {train: own.jsonl, test: held-out.jsonl}
student: builtin:nano-student
training: {epochs: 1}
arms:
  base: {training: null}
  answers: {teacher: answer_only}
  told: {teacher: human}
  cut: {teacher: human, training.max_length: 100, training.too_long: cut_reasoning}
  dropped: {teacher: human, training.max_length: 90}
  both: {teacher: human, training.target: multi_task}
  weighted:
    teacher: human
    training.loss:
      - {kind: cross_entropy, weight: 2}
      - {kind: cross_entropy, region: rationale, positions: {start: 1, end: 0}}
  shuffled: {teacher: human, annotation.perturbation: shuffled}
  asked: {teacher: {kind: openai, model: gpt-4o-mini}}
  informed:
    teacher: human
    training.loss: forward_kl
    training.signal: {model: builtin:nano-teacher, context: answer}
"""
LONG = " ".join(f"{n} + 1 = {n + 1}." for n in range(1, 9))


@pytest.fixture(scope="module")
def lab(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("lab")
    rows = [
        {"id": f"q{n}", "question": f"What is {n} + 1?", "answer": n + 1, "rationale": f"{n} + 1 = {n + 1}."}
        for n in range(1, 9)
    ]
    rows[2]["rationale"] = LONG
    held_out = [{**row, "id": f"t{place}"} for place, row in enumerate(rows[:2])]
    for name, content in (("own", rows), ("held-out", held_out)):
        (folder / f"{name}.jsonl").write_text("".join(json.dumps(row) + "\n" for row in content), encoding="utf-8")
    (folder / "mine.yaml").write_text(FILE, encoding="utf-8")
    return folder


def shown(lab: Path, arm: str, row: str | None = None) -> Row:
    planned = plan(load_experiment(lab / "mine.yaml"))
    (cell,) = planned.arms[arm]
    return read_row(cell, planned, Work(lab / "runs", lambda line: None), row)


@pytest.mark.parametrize("arm", ["answers", "told", "cut", "both", "weighted", "shuffled", "informed"])
def test_what_is_shown_is_what_is_trained_on(lab: Path, arm: str) -> None:
    outcome = run_command(lab, "annotate", "mine.yaml", "--arm", arm, "--runs", arm, "--json")
    assert outcome.status == 0, outcome.err
    (made,) = json.loads(outcome.out).values()
    planned = plan(load_experiment(lab / "mine.yaml"))
    (cell,) = planned.arms[arm]
    assert cell.config.training is not None
    rationales = read_annotation(lab / made["path"]).records
    examples = student_examples(cell.config.student, rationales, cell.config.training)
    for runs in (arm, "nothing-there-yet"):
        found = [
            taught
            for rationale in rationales
            for taught in read_row(cell, planned, Work(lab / runs, lambda line: None), rationale.question.id).taught
        ]
        assert [[token.id for token in taught.tokens] for taught in found] == [
            [example.input_ids[0], *example.targets] for example in examples
        ]
        assert [[token.region for token in taught.tokens[1:]] for taught in found] == [
            [region.name.lower() for region in example.regions] for example in examples
        ]
        assert [each.teacher_reads and [token.id for token in each.teacher_reads] for each in found] == [
            example.teacher_prompt for example in examples
        ]


def test_weights_are_those_of_the_loss(lab: Path) -> None:
    (taught,) = shown(lab, "weighted", "q5").taught
    rationale = [token.weights for token in taught.tokens if token.region == "rationale"]
    assert {weight for weight, _ in rationale} == {2.0}
    assert [second for _, second in rationale] == pytest.approx(
        [1 - place / (len(rationale) - 1) for place in range(len(rationale))]
    )
    assert {token.weights for token in taught.tokens if token.region in ("answer", "end")} == {(2.0, 0.0)}
    assert {token.weights for token in taught.tokens if token.region == "prompt"} == {(0.0, 0.0)}


def test_what_is_left_out_says_why(lab: Path) -> None:
    assert (shown(lab, "told", "q1").left_out or "").startswith("in evaluation (What is 1 + 1?)")
    (dropped,) = shown(lab, "dropped", "q3").taught
    (cut,) = shown(lab, "cut", "q3").taught
    assert (dropped.fate, cut.fate) == ("too_long", "cut")
    assert len(dropped.tokens) == dropped.length == cut.length > cut.limit >= len(cut.tokens)
    asked = shown(lab, "asked", "q5")
    assert asked.left_out == "its teacher has not been asked yet; cotdistill annotate asks it"
    ((name, prompt),) = asked.teachers.items()
    assert name == "gpt-4o-mini"
    assert "What is 5 + 1?" in prompt


def test_a_test_row_shows_what_the_student_is_asked(lab: Path) -> None:
    for arm, wanted in (("base", "Think step"), ("told", "Think step"), ("answers", "nothing else")):
        row = shown(lab, arm, "t1")
        text = "".join(token.text for token in row.tested or ())
        assert "What is 2 + 1?" in text
        assert wanted in text
    assert shown(lab, "base").split == "test"
    assert shown(lab, "told", "10").id == "t1"


def test_the_command_has_plain_marks_json_and_one_line_for_what_is_not_there(lab: Path) -> None:
    done = run_command(lab, "check", "mine.yaml", "--row", "q5")
    assert done.status == 0, done.err
    first, *_ = done.out.splitlines()
    assert first == "row 5 of 10, to train on: q5; arm told, student builtin:nano-student"
    assert "\nanswer, 6 tokens, weight 1\n    The| answer| is| |6|.\n" in done.out
    assert "\x1b" not in done.out
    found: dict[str, Any] = json.loads(run_command(lab, "check", "mine.yaml", "--row", "q5", "--json").out)
    assert {"id", "text", "region", "weights"} == set(found["taught"][0]["tokens"][0])
    for wrong in ("99", "q99", "0"):
        refused = run_command(lab, "check", "mine.yaml", "--row", wrong)
        assert (refused.status, refused.out, refused.err.count("\n")) == (2, "", 1)
        assert f"--row: there is no row {wrong!r}; " in refused.err


def test_colours_come_from_us_alone() -> None:
    hostile = Token(1, "\x1b[31mred\n", "answer", (1.0,))
    taught = Taught("answer", (Token(0, "?", "prompt", (0.0,)), hostile), "whole", 2, 9, None)
    row = Row("a", "s", 1, 1, "train", "\x1b", "\x07", "text", taught=(taught,), terms=("cross_entropy",))
    lines = list(row_lines(row, colour=True))
    assert "\x1b[32m\\u001b[31mred\\n\x1b[0m" in "".join(lines).replace("\x1b[4;32m", "\x1b[32m")
    assert not any("\x1b" in line or "\x07" in line for line in row_lines(row, colour=False))
