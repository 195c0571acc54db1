"""The data card of annotations: its numbers are those of the rows, and it is written anew only where they change."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from cotdistill.annotation import annotate
from cotdistill.annotation.describe import describe, growths
from cotdistill.annotation.rationales import Rationales
from cotdistill.config import AnnotationConfig, Price, ProceduralTask, ProceduralTeacher
from cotdistill.rationales.measures import num_steps
from cotdistill.records import Question, Rationale
from cotdistill.reports.data_card import AnnotatedArm, write_card
from cotdistill.tasks import load_task


def written(name: str, text: str | None, level: int | None = 2, **meta: Any) -> Rationale:
    question = Question(name, "own", "train", "What is 2 + 3?", "5", "number")
    return Rationale(question, text, "a|teacher", level, "cot" if text else "answer_only", meta)


@pytest.mark.parametrize(
    ("text", "steps"),
    [
        ("We add. Then we stop.", 2),
        ("1. Add 2.5 and 3.\n2. Stop", 2),
        ("Step 1: add.\n\nStep 2: stop.", 2),
        ("2 + 3 = 5", 1),
        ("Is it 5? It is!", 2),
        ("...", 0),
    ],
)
def test_steps_are_sentences_and_lines_without_their_numbers(text: str, steps: int) -> None:
    assert num_steps(text) == steps


def test_a_description_counts_what_is_in_the_rows() -> None:
    rows = (
        written("a", "We add the two numbers: 2 + 3 = 5.", teacher_agrees=True),
        written("b", "We add the two numbers: 2 + 3 = 6.", teacher_agrees=False),
        written("c", "5."),
        written("d", None),
    )
    described = describe(Rationales(rows, {"disagrees": 2}, tokens=(400, 40)), Price(input=5, output=50))
    assert (described.rows, described.dropped) == (4, {"disagrees": 2})
    assert described.words == pytest.approx((10 + 10 + 1) / 3)
    assert described.in_band == pytest.approx(2 / 3)
    assert described.agree == 0.5
    assert described.faults == {"false_arithmetic": 1}
    assert described.sound == pytest.approx(2 / 3)
    assert described.lengths == {"rationale": {"1": 1, "8": 2}, "question and response": {"5": 2, "11": 2}}
    assert (described.input_tokens, described.output_tokens, described.cost) == (400, 40, pytest.approx(0.004))


def test_growth_compares_the_same_questions_of_one_teacher_and_format() -> None:
    def at(level: int, words: dict[str, int]) -> Rationales:
        return Rationales(tuple(written(name, "word " * count, level) for name, count in words.items()))

    found = growths([at(5, {"a": 9, "b": 2, "c": 9}), at(1, {"a": 1, "b": 2, "x": 1}), at(3, {"a": 3, "b": 1})])
    assert [(g.coarse, g.fine, g.questions, g.longer) for g in found] == [(1, 3, 2, 0.5), (3, 5, 2, 1.0)]


def test_a_card_is_written_once_and_names_cannot_break_its_table(tmp_path: Path) -> None:
    questions = load_task(ProceduralTask(kinds=("navigate",), num_train=12, num_test=2)).train
    paths = []
    for level in (1, 6):
        made = annotate(questions, ProceduralTeacher(), AnnotationConfig(granularity=level), runs=tmp_path / "runs")
        assert made.path is not None
        paths.append(made.path)
    arms = [AnnotatedArm("coarse | <b>", paths[0], None), AnnotatedArm("fine", paths[1], None)]
    card = write_card([*arms, AnnotatedArm("fine again", paths[1], None)], tmp_path / "run")
    text = card.read_text()
    assert r"| coarse \| &lt;b&gt; | procedural | cot | 1 | 12 |" in text
    assert "| fine, fine again | procedural | cot | 6 | 12 |" in text
    assert "| procedural | cot | 1 to 6 | 12 | 100.0 % |" in text
    for figure in ("data_card.png", "data_card_lengths.png"):
        assert (tmp_path / "run" / figure).read_bytes()[:4] == b"\x89PNG"
    assert "fine, fine again: all 12 questions have a rationale" in text
    numbers = json.loads((tmp_path / "run" / "data_card.json").read_text())
    assert {one["rows"] for one in numbers["described"].values()} == {12}
    assert sum(numbers["described"][paths[0].name]["lengths"]["rationale"].values()) == 12
    before = card.stat().st_mtime_ns
    write_card([*arms, AnnotatedArm("fine again", paths[1], None)], tmp_path / "run")
    assert card.stat().st_mtime_ns == before
    write_card(arms, tmp_path / "run")
    assert "fine again" not in card.read_text()
