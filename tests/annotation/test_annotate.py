"""The annotation stage: made once, found again, made anew when anything that matters changes."""

from __future__ import annotations

from pathlib import Path

import pytest

from cotdistill.annotation import annotate, collect_rationales
from cotdistill.config import AnnotationConfig, AnswerOnlyTeacher, HumanTeacher, ProceduralTask, ProceduralTeacher
from cotdistill.errors import DataError
from cotdistill.records import Question
from cotdistill.tasks import load_task

QUESTIONS = load_task(ProceduralTask(num_train=20, num_test=10)).train


def test_a_stage_holds_what_collecting_gives_and_is_made_once(tmp_path: Path) -> None:
    made = annotate(QUESTIONS, ProceduralTeacher(), AnnotationConfig(), runs=tmp_path)
    collected = collect_rationales(QUESTIONS, ProceduralTeacher(), AnnotationConfig())
    assert [r.to_row() for r in made] == [r.to_row() for r in collected]
    assert made.path is not None
    records = made.path / "rationales.jsonl"
    written = records.stat().st_mtime_ns
    assert annotate(QUESTIONS, ProceduralTeacher(), AnnotationConfig(), runs=tmp_path) == made
    assert records.stat().st_mtime_ns == written


def test_what_matters_makes_another_stage_and_what_does_not_does_not(tmp_path: Path) -> None:
    def path(teacher: object, questions: object = QUESTIONS, **settings: object) -> Path | None:
        return annotate(questions, teacher, AnnotationConfig(**settings), runs=tmp_path).path  # type: ignore[arg-type]

    different = {
        path(ProceduralTeacher()),
        path(ProceduralTeacher(), granularity=4),
        path(ProceduralTeacher(), format="symbolic"),
        path(ProceduralTeacher(), keep="agree"),
        path(ProceduralTeacher(), questions=QUESTIONS[1:]),
        path(AnswerOnlyTeacher()),
    }
    assert len(different) == 6
    assert path(AnswerOnlyTeacher(), granularity=6, format="rar") in different


def test_drops_are_kept_with_the_stage(tmp_path: Path) -> None:
    with_one = [*QUESTIONS[:1], Question("h", "own", "train", "1 + 1?", "2", "number", human_rationale="Two.")]
    made = annotate(with_one, HumanTeacher(), AnnotationConfig(), runs=tmp_path)
    assert (len(made), made.dropped) == (1, {"no_rationale": 1})
    assert annotate(with_one, HumanTeacher(), AnnotationConfig(), runs=tmp_path).dropped == {"no_rationale": 1}


def test_no_rationale_at_all_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"teacher human: no rationale is left \(no_rationale 20\)"):
        annotate(QUESTIONS, HumanTeacher(), AnnotationConfig(), runs=tmp_path)
