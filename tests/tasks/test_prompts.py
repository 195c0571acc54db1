"""The template: what is asked, what is taught, and that what is taught is judged correct."""

from __future__ import annotations

from pathlib import Path
from typing import get_args

import pytest

from cotdistill.config import BenchmarkTask, TrainingTarget
from cotdistill.records import ANSWER_TYPES, AnswerType, Question, Rationale
from cotdistill.tasks import load_task
from cotdistill.tasks.answers.reading import judge
from cotdistill.tasks.prompts import Target, asked_of, prompt_text, response_of, response_text, target_of_student

GOLD: dict[AnswerType, str] = {
    "number": "-4.5",
    "letter": "B",
    "yes_no": "No",
    "true_false": "True",
    "list": "} ] )",
    "text": "05/01/2021",
    "math": r"\frac{x+1}{2}",
}


def question_of(answer_type: AnswerType) -> Question:
    choices = ("red", "blue") if answer_type == "letter" else None
    return Question("q", "own", "train", "Which one?", GOLD[answer_type], answer_type, choices)


def texts(rationale: Rationale, target: Target = "rationale") -> list[tuple[str, str]]:
    return [(segment.region.name, segment.text) for segment in response_of(rationale, target).visible]


def rationale_of(text: str | None, answer_type: AnswerType = "number") -> Rationale:
    return Rationale(question_of(answer_type), text, "own", 3, "cot")


def test_prompts_word_for_word() -> None:
    assert prompt_text(question_of("number"), "rationale") == (
        'Which one?\nThink step by step, then finish with "The answer is" and the number.'
    )
    assert prompt_text(question_of("letter"), "answer") == (
        'Which one?\n(A) red\n(B) blue\nReply with "The answer is" and the letter of the right choice, nothing else.'
    )
    assert prompt_text(question_of("number"), "answer_then_rationale") == (
        'Which one?\nStart with "The answer is" and the number, then explain it step by step.'
    )
    assert prompt_text(question_of("number"), "predict") == (
        'predict: Which one?\nReply with "The answer is" and the number, nothing else.'
    )
    assert prompt_text(question_of("number"), "explain") == (
        "explain: Which one?\nThink step by step, without stating the answer."
    )
    asked = {answer_type: prompt_text(question_of(answer_type), "rationale") for answer_type in ANSWER_TYPES}
    assert asked["yes_no"].endswith('"The answer is" and Yes or No.')
    assert asked["true_false"].endswith('"The answer is" and True or False.')
    assert asked["list"].endswith('"The answer is" and the items in order, separated by spaces.')
    assert asked["text"].endswith('"The answer is" and the result.')
    assert asked["math"].endswith('"The answer is" and the result in LaTeX.')


@pytest.mark.parametrize("answer_type", ANSWER_TYPES)
@pytest.mark.parametrize("text", [None, "", "One is\nnot the other.", "Take both. So the answer is 3."])
def test_what_is_taught_is_judged_correct(answer_type: AnswerType, text: str | None) -> None:
    rationale = rationale_of(text, answer_type)
    output = response_text(rationale)
    assert judge(output, rationale.question, finished=True) == (GOLD[answer_type], "correct")


@pytest.mark.parametrize("answer_type", ANSWER_TYPES)
@pytest.mark.parametrize("text", [None, "", "Take 3.", "Is the answer is 3? Then the answer is 4. No, as 3 is not 4."])
def test_an_answer_that_comes_first_is_judged_whatever_the_rationale_states(
    answer_type: AnswerType, text: str | None
) -> None:
    rationale = rationale_of(text, answer_type)
    output = response_text(rationale, "answer_then_rationale")
    assert output.startswith("The answer is ")
    assert judge(output, rationale.question, finished=True, first=True) == (GOLD[answer_type], "correct")
    if text:
        assert judge(output, rationale.question, finished=False, first=True) == (GOLD[answer_type], "correct")


def test_the_prompt_does_not_answer_itself() -> None:
    for answer_type in ANSWER_TYPES:
        question = question_of(answer_type)
        for target in get_args(Target):
            for first in (False, True):
                assert judge(prompt_text(question, target), question, finished=True, first=first)[1] != "correct"


def test_segments_follow_the_target() -> None:
    both = rationale_of("1 + 1 = 2. The answer is 2.")
    assert texts(both, "answer_then_rationale") == [("ANSWER", "The answer is -4.5.\n"), ("RATIONALE", "1 + 1 = 2.")]
    assert texts(both, "answer") == texts(both, "predict") == [("ANSWER", "The answer is -4.5.")]
    assert texts(both, "explain") == [("RATIONALE", "1 + 1 = 2.")]


def test_where_there_is_no_rationale_the_answer_alone_is_asked_for() -> None:
    some, none = rationale_of("1 + 1 = 2."), rationale_of(None)
    assert [asked_of(some, target) for target in get_args(TrainingTarget)] == [
        ("rationale",),
        ("answer_then_rationale",),
        ("answer",),
        ("predict", "explain"),
    ]
    assert [asked_of(none, target) for target in get_args(TrainingTarget)] == [
        ("answer",),
        ("answer",),
        ("answer",),
        ("predict",),
    ]
    assert asked_of(rationale_of("  The answer is 2."), "multi_task") == ("predict",), "silence is no explanation"


def test_a_student_is_asked_for_what_it_was_taught() -> None:
    some, none = rationale_of("1 + 1 = 2."), rationale_of(None)
    expected = ("rationale", "answer_then_rationale", "answer", "predict")
    for target, asked in zip(get_args(TrainingTarget), expected, strict=True):
        assert target_of_student([none, some], target) == asked
    assert target_of_student([none], "answer_then_rationale") == "answer"
    assert target_of_student([none], "multi_task") == "predict"


@pytest.mark.parametrize(
    ("text", "taught"),
    [
        (None, ""),
        ("  \n", ""),
        ("1 + 1 = 2.\n\n    Then 3. ", "1 + 1 = 2.\n\n    Then 3.\n"),
        ("1 + 1 = 2. The answer is -4.5.", "1 + 1 = 2.\n"),
        ("1 + 1 = 2.\r\nSo, the answer is 2", "1 + 1 = 2.\n"),
    ],
)
def test_reasoning_and_statement_are_joined_once(text: str | None, taught: str) -> None:
    rationale = rationale_of(text)
    assert texts(rationale) == [("RATIONALE", taught)] * bool(taught) + [("ANSWER", "The answer is -4.5.")]
    assert response_text(rationale) == f"{taught}The answer is -4.5."


@pytest.mark.shared
def test_human_solutions_of_gsm8k_are_judged_correct(shared_data: Path) -> None:
    task = load_task(BenchmarkTask(name="gsm8k", data_dir=shared_data))
    for question in task.train:
        rationale = Rationale(question, question.human_rationale, "human", None, "human")
        assert judge(response_text(rationale), question, finished=True) == (question.answer, "correct")
