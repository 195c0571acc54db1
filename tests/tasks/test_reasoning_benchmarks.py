"""Benchmarks of reasoning models, from a folder with files as the hub has them; the questions are our own."""

from __future__ import annotations

import csv
import json
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from cotdistill.config import BenchmarkTask, EvaluationConfig
from cotdistill.errors import ConfigError, DataError
from cotdistill.evaluation.answering import stop_strings
from cotdistill.records import Question
from cotdistill.tasks import load_task
from cotdistill.tasks.answers.reading import judge
from cotdistill.tasks.benchmarks import benchmark, mmlu_pro
from cotdistill.tasks.exemplars import exemplar_questions
from cotdistill.tasks.few_shot import few_shot_texts
from cotdistill.tasks.prompts import prompt_text

LETTERS = "ABCDEFGHIJ"
FORMS = (
    "The answer is ({0}).",
    "the answer is {0}.",
    "Answer: {0}",
    "Final answer: {0}",
    "**Answer: ({0})**",
    "\\boxed{{{0}}}",
    "The answer is {0}. option {0}",
    "The correct option is ({0}) option {0}.",
)


def put(folder: Path, relative: str, rows: list[dict[str, Any]]) -> Path:
    """The rows as a file of the kind that its name says, below ``folder``."""
    path = folder / relative
    path.parent.mkdir(parents=True, exist_ok=True)
    if path.suffix == ".parquet":
        pq.write_table(pa.Table.from_pylist(rows), path)
    elif path.suffix == ".csv":
        with path.open("w", newline="", encoding="utf-8") as file:
            writer = csv.DictWriter(file, list(rows[0]))
            writer.writeheader()
            writer.writerows(rows)
    else:
        path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    return folder


def loaded(name: str, rows: list[dict[str, Any]], folder: Path, **settings: Any) -> tuple[Question, ...]:
    put(folder, benchmark(name).files["test"], rows)
    task = load_task(BenchmarkTask(name=name, data_dir=folder, **settings))
    assert task.train == ()
    return task.test


def verdict(question: Question, said: str) -> str:
    return judge(said, question, finished=True)[1]


def test_math_500_is_latex_by_subject(tmp_path: Path):
    row = {
        "problem": "What is $\\frac{1}{2} + \\frac{1}{4}$?",
        "solution": "Two quarters and one are $\\boxed{\\frac{3}{4}}$.",
        "answer": "\\frac{3}{4}",
        "subject": "Counting & Probability",
        "level": 2,
        "unique_id": "test/own/1.json",
    }
    (question,) = loaded("math_500", [row], tmp_path)
    assert (question.task, question.meta) == ("math_500/counting_and_probability", {"level": 2})
    assert verdict(question, "So it is \\boxed{\\dfrac{6}{8}}.") == "correct"
    assert verdict(question, "The answer is $\\frac{4}{3}$.") == "wrong"


def test_aime_is_answered_by_an_integer_below_1000(tmp_path: Path):
    rows = [
        {"ID": "own-1", "Problem": "How much is $3 \\cdot 11$?", "Solution": "$33$.", "Answer": 33},
        {"ID": "own-2", "Problem": "How much is $0$?", "Solution": "$0$.", "Answer": 0},
    ]
    first, second = loaded("aime24", rows, tmp_path)
    assert (first.id, first.answer, second.answer) == ("aime24-own-1", "33", "0")
    for said in ("The answer is 033.", "\\boxed{33}", "**Answer:** 33", "The final answer is $\\boxed{033}$."):
        assert verdict(first, said) == "correct", said
    assert verdict(first, "The answer is 330.") == "wrong"

    newer = [{"problem": "An angle?", "answer": "070", "id": "0"}, {"problem": "?", "answer": "45^\\circ", "id": "1"}]
    assert [q.answer for q in loaded("aime25", newer, tmp_path)] == ["70", "45"]
    with pytest.raises(DataError, match="answer '1000, which is not an integer from 0 to 999' is not of type number"):
        loaded("aime25", [{"problem": "?", "answer": "1000", "id": "0"}], tmp_path)


def gpqa_row(number: int) -> dict[str, Any]:
    return {
        "Record ID": f"own{number}",
        "Question": f"Which of these is {number}?\nLook twice, then choose.",
        "Correct Answer": f"right {number}\n",
        "Incorrect Answer 1": "wrong one",
        "Incorrect Answer 2": 'a "quoted", one',
        "Incorrect Answer 3": "wrong three",
        "High-level domain": "Physics",
        "Subdomain": "Own",
    }


def test_gpqa_is_shuffled_by_a_seed_that_is_recorded(tmp_path: Path):
    rows = [gpqa_row(number) for number in range(40)]
    questions = loaded("gpqa_diamond", rows, tmp_path)
    for number, question in enumerate(questions):
        assert question.choices is not None
        assert question.choices[LETTERS.index(question.answer)] == f"right {number}"
        assert set(question.choices) == {f"right {number}", "wrong one", 'a "quoted", one', "wrong three"}
    assert {question.answer for question in questions} == set("ABCD")
    assert questions[0].meta == {"subdomain": "Own", "choice_seed": 0}
    again, other = (loaded("gpqa_diamond", rows, tmp_path, choice_seed=seed) for seed in (0, 1))
    assert again == questions
    assert [q.choices for q in other] != [q.choices for q in questions]
    alone = loaded("gpqa_diamond", rows[7:8], tmp_path)
    assert alone == questions[7:8], "an order does not depend on the other questions"


def mmlu_pro_row(number: int, category: str = "computer science", choices: int = 10) -> dict[str, Any]:
    return {
        "question_id": number,
        "question": f"Which letter has the place {number % choices}?",
        "options": [f"option {letter}" for letter in LETTERS[:choices]] + ["N/A"] * (10 - choices),
        "answer": LETTERS[number % choices],
        "answer_index": number % choices,
        "cot_content": f"A: Let's think step by step. Count. The answer is ({LETTERS[number % choices]}).",
        "category": category,
        "src": "own",
    }


def test_mmlu_pro_has_up_to_ten_choices_by_category(tmp_path: Path):
    rows = [mmlu_pro_row(number) for number in range(10)] + [mmlu_pro_row(12, "law", 4)]
    questions = loaded("mmlu_pro", rows, tmp_path)
    assert [q.answer for q in questions] == [*LETTERS, "A"]
    assert {q.task for q in questions} == {"mmlu_pro/computer_science", "mmlu_pro/law"}
    assert len(questions[-1].choices or ()) == 4
    assert "\n(J) option J\n" in prompt_text(questions[0], "rationale")
    (law,) = load_task(BenchmarkTask(name="mmlu_pro", data_dir=tmp_path, subtasks=("law",))).test
    assert law == questions[-1]


@pytest.mark.parametrize("right", LETTERS)
def test_each_of_ten_letters_is_read_in_every_form(tmp_path: Path, right: str):
    (question,) = loaded("mmlu_pro", [mmlu_pro_row(LETTERS.index(right))], tmp_path)
    wrong = LETTERS[LETTERS.index(right) - 1]
    for form in FORMS:
        assert verdict(question, form.format(right)) == "correct", form
        assert verdict(question, form.format(wrong)) == "wrong", form


def test_mmlu_pro_asks_with_five_examples_of_the_category(tmp_path: Path):
    law = loaded("mmlu_pro", [mmlu_pro_row(1, "law"), mmlu_pro_row(2, "computer science")], tmp_path)[0]
    shots = [mmlu_pro_row(100 + number, category) for category in ("law", "computer science") for number in range(5)]
    put(tmp_path, mmlu_pro.VALIDATION, shots)
    (text,) = few_shot_texts([law], 5, tmp_path)
    assert text.startswith("The following are multiple choice questions (with answers) about law. Think step by step ")
    assert text.count("Question:\n") == 6
    assert text.count("Answer: Let's think step by step.") == 6
    assert "J. option J\nAnswer: Let's think step by step. Count. The answer is (A).\n\nQuestion:\n" in text
    assert text.endswith("J. option J\nAnswer: Let's think step by step.")
    assert stop_strings(EvaluationConfig(few_shot=5)) == ("Question:",)
    assert len(exemplar_questions([law], tmp_path)) == 10, "trained questions are compared with the examples too"
    with pytest.raises(ConfigError, match="no official prompt with 3 examples for task 'mmlu_pro/law'"):
        few_shot_texts([law], 3, tmp_path)
    put(tmp_path, mmlu_pro.VALIDATION, shots[5:])
    with pytest.raises(DataError, match="no five worked examples for law"):
        few_shot_texts([law], 5, tmp_path)


def test_gsm_hard_counts_an_answer_within_a_thousandth(tmp_path: Path):
    rows = [
        {"input": "A third of 20?", "code": "def solution(): ...", "target": 6.666666666666667},
        {"input": "A lot?", "code": "", "target": 5.3e16},
        {"input": "A debt?", "code": "", "target": -1234567.0},
    ]
    third, lot, debt = loaded("gsm_hard", rows, tmp_path)
    for said, expected in {"6.667": "correct", "20/3": "correct", "6.6656": "wrong", "6.6677": "wrong"}.items():
        assert verdict(third, f"The answer is {said}.") == ("correct" if expected == "correct" else "wrong"), said
    assert lot.answer == "53000000000000000"
    assert verdict(debt, "The answer is -1,234,567.") == "correct"
    assert verdict(debt, "The answer is 1234567.") == "wrong"


@pytest.mark.parametrize("name", ["math_500", "aime24", "aime25", "gpqa_diamond", "mmlu_pro", "gsm_hard"])
def test_a_file_with_other_columns_is_named(tmp_path: Path, name: str):
    put(tmp_path, benchmark(name).files["test"], [{"prompt": "What?", "completion": "That."}])
    with pytest.raises(DataError) as error:
        load_task(BenchmarkTask(name=name, data_dir=tmp_path))
    assert f"not a row of {benchmark(name).hub} (KeyError: " in str(error.value)
    assert "\n" not in str(error.value)
