"""Prompts of asked teachers: golden texts, and examples that are true, graded and in the band of their granularity."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest

from cotdistill.annotation.teachers.prompting import FAMILIES, _example, teacher_prompt
from cotdistill.errors import ConfigError
from cotdistill.granularities import GRANULARITIES
from cotdistill.rationales.faults import find_faults
from cotdistill.rationales.measures import in_band, num_words
from cotdistill.records import AnswerType, Question, Rationale
from cotdistill.tasks.answers.reading import extract_answer
from cotdistill.tasks.answers.stripping import clean_rationale
from cotdistill.tasks.procedural.rendering import RATIONALE_FORMATS

GOLDEN = Path(__file__).parents[2] / "golden" / "teacher_prompts.json"

QUESTIONS: dict[AnswerType, Question] = {
    "number": Question("n", "own", "train", "Tom has 3 hats and buys 2. How many?", "5", "number"),
    "letter": Question("l", "own", "train", "Which is a colour?", "B", "letter", ("seven", "blue")),
    "yes_no": Question("y", "own", "train", "Is ice cold?", "Yes", "yes_no"),
    "true_false": Question("t", "own", "train", "not True is", "False", "true_false"),
    "list": Question("w", "own", "train", "Sort: pear apple", "apple pear", "list"),
}
ANSWERS: dict[AnswerType, str] = {"number": "15", "letter": "B", "yes_no": "Yes", "true_false": "True", "list": "t g u"}


def test_prompts_are_the_golden_ones() -> None:
    """Set COTDISTILL_UPDATE_GOLDEN=1 to write them anew, and read the difference."""
    prompts = {
        f"{answer_type} {granularity} {form} {conditioned}": teacher_prompt(
            question,
            granularity,
            form,
            answer_conditioned=conditioned,  # pyright: ignore[reportArgumentType]
        )
        for answer_type, question in QUESTIONS.items()
        for granularity, form, conditioned in ((1, "cot", False), (3, "symbolic", True), (6, "least_to_most", False))
    }
    if os.environ.get("COTDISTILL_UPDATE_GOLDEN"):
        GOLDEN.write_text(json.dumps(prompts, indent=1) + "\n", encoding="utf-8")
    assert prompts == json.loads(GOLDEN.read_text(encoding="utf-8"))


@pytest.mark.parametrize("answer_type", QUESTIONS)
def test_the_gold_answer_is_in_a_prompt_only_where_it_is_to_be(answer_type: AnswerType) -> None:
    base = QUESTIONS[answer_type]
    question = Question(base.id, base.task, base.split, base.question, "XYZZY", answer_type, base.choices)
    assert "XYZZY" not in teacher_prompt(question, 3, "cot", answer_conditioned=False)
    assert "Its answer is XYZZY." in teacher_prompt(question, 3, "cot", answer_conditioned=True)


@pytest.mark.parametrize("answer_type", QUESTIONS)
@pytest.mark.parametrize("form", RATIONALE_FORMATS)
def test_examples_are_sound_and_grow_with_granularity(answer_type: AnswerType, form: str) -> None:
    words = []
    for granularity in GRANULARITIES:
        asked, written = _example(answer_type, granularity, form)  # pyright: ignore[reportArgumentType]
        choices = ("oven", "refrigerator", "bookshelf") if answer_type == "letter" else None
        assert extract_answer(written, answer_type, choices) == ANSWERS[answer_type]
        text = clean_rationale(written)
        question = Question("e", "own", "train", asked, ANSWERS[answer_type], answer_type, choices)
        rationale = Rationale(question, text, "own", granularity, "cot" if form == "cot" else "symbolic")
        assert find_faults(rationale) == []
        words.append(num_words(text))
        if form == "cot":
            assert in_band(rationale), text
    assert words == sorted(set(words)) or form != "cot"


def test_every_answer_type_has_a_family() -> None:
    assert set(FAMILIES) >= set(QUESTIONS)


def test_what_teachers_cannot_write_is_refused() -> None:
    for granularity, form in ((None, "cot"), (3, "human"), (3, "answer_only")):
        with pytest.raises(ConfigError, match="set a granularity from 1 to 6"):
            teacher_prompt(QUESTIONS["number"], granularity, form, answer_conditioned=False)  # pyright: ignore
