"""Several teachers, each for its own questions."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from tests.annotation.teachers.reasoning_server import MODES, server
from tests.annotation.teachers.test_asked import LEVEL, questions

from cotdistill.annotation import AnnotationRequest, annotate, plan
from cotdistill.annotation.describe import describe
from cotdistill.annotation.select import at_draw
from cotdistill.config import CellConfig, FileTask, OpenAITeacher, RoutedTeacher
from cotdistill.config.validation import validated
from cotdistill.errors import ConfigError, DataError
from cotdistill.records import Question
from cotdistill.tasks import load_task

pytest.importorskip("openai")


def routed(**settings: Any) -> RoutedTeacher:
    return validated(RoutedTeacher, settings, where="run.yaml")


def mixed() -> list[Question]:
    sums = [replace(question, task="own/sums") for question in questions(4)]
    told = [replace(q, id=f"h{q.id}", task="told", human_rationale="One more.") for q in questions(2)]
    return [told[0], *sums, told[1], replace(questions(1)[0], id="x", task="elsewhere")]


def test_each_question_goes_to_its_teacher(tmp_path: Path) -> None:
    with server(MODES["reasoner-and-text"]) as (url, seen), server(MODES["plain"]) as (other, seen_by_other):
        sums = {"kind": "openai", "model": "m", "base_url": url}
        teacher = routed(teachers={"sums": sums, "told": "human", "nothing": {**sums, "base_url": other}})
        before = plan(AnnotationRequest(mixed(), teacher, LEVEL), tmp_path)
        made = annotate(mixed(), teacher, LEVEL, runs=tmp_path)
        assert (before.estimate.requests, len(seen), len(seen_by_other)) == (4, 4, 0)
        assert before.path == made.path
        assert len(annotate(mixed()[1:5], OpenAITeacher(**sums), LEVEL, runs=tmp_path)) == 4
        assert len(seen) == 4, "its answers are those of the same teacher alone"
    assert [(one.id, one.teacher) for one in made] == [
        ("hq0", "human"),
        *((f"q{n}", "m") for n in range(4)),
        ("hq1", "human"),
    ]
    assert [(left.id, left.reason, left.evidence) for left in made.left_out] == [("x", "no_route", "task: elsewhere")]
    assert made.tokens == (400, 240)
    assert describe(made, None).teacher == "human, m"
    assert made.reasoning == {"as_response": 4, "none": 2}


def test_a_default_takes_the_others(tmp_path: Path) -> None:
    teacher = routed(teachers={"own": "answer_only"}, default="human")
    made = annotate(mixed(), teacher, LEVEL, runs=tmp_path)
    assert [one.teacher for one in made] == ["human", *["answer_only"] * 4, "human"]
    assert made.dropped == {"no_rationale": 1}
    other = annotate(mixed(), routed(teachers={"own": "answer_only"}), LEVEL, runs=tmp_path)
    assert (other.path != made.path, other.dropped) == (True, {"no_route": 3})


def test_a_column_decides(tmp_path: Path) -> None:
    rows = [
        {"question": f"What is {n} + 1?", "answer": n + 1, "subject": ("algebra", "art")[n % 2], "rationale": "So."}
        for n in range(20)
    ]
    (tmp_path / "rows.jsonl").write_text("\n".join(map(json.dumps, rows)))
    train = load_task(FileTask(train=tmp_path / "rows.jsonl", keep_columns=("subject",))).train
    teacher = routed(by="subject", teachers={"algebra": "human", "art": "answer_only"})
    made = annotate(train, teacher, LEVEL, runs=tmp_path)
    assert len(made) == len(train)
    assert {(q.meta["subject"], one.teacher) for q, one in zip(train, made, strict=True)} == {
        ("algebra", "human"),
        ("art", "answer_only"),
    }
    with pytest.raises(DataError, match="row has no column 'subjects'; did you mean 'subject'"):
        load_task(FileTask(train=tmp_path / "rows.jsonl", keep_columns=("subjects",)))


def test_further_draws_are_further_draws_of_each(tmp_path: Path) -> None:
    asked = {"kind": "openai", "model": "m", "base_url": "http://localhost/v1", "sampling": {"temperature": 1}}
    teacher = at_draw(routed(teachers={"a": asked}, default=asked), 2)
    assert isinstance(teacher, RoutedTeacher)
    assert [each.sampling.seed for each in teacher.all] == [2, 2]
    with pytest.raises(ConfigError, match="the teacher human gives the same rationale at every draw"):
        at_draw(routed(teachers={"a": asked}, default="human"), 1)


def test_it_is_written_like_any_other_teacher() -> None:
    teacher = {"kind": "routed", "teachers": {"navigate": "procedural"}, "default": {"kind": "answer_only"}}
    values = {"task": "procedural", "student": "builtin:nano-student", "teacher": teacher}
    config = validated(CellConfig, values, where="run.yaml")
    again = CellConfig.model_validate_json(config.model_dump_json())
    assert again == config
    with pytest.raises(ConfigError, match=r"teacher.*teachers"):
        validated(CellConfig, values | {"teacher": {"kind": "routed", "teachers": {}}}, where="run.yaml")
    with pytest.raises(ConfigError):
        validated(CellConfig, values | {"teacher": {"kind": "routed", "teachers": {"a": teacher}}}, where="run.yaml")
