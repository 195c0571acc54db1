"""Rows as other people write them: cells that are no plain text, choices, solutions, types of answers."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from tests.tasks.own import load_all, refusal, write_csv, write_jsonl

from cotdistill.records import Question


def read(tmp_path: Path, *rows: Any, **settings: Any) -> list[Question]:
    return load_all(write_jsonl(tmp_path / "own.jsonl", list(rows)), **settings)


def refused(tmp_path: Path, *rows: Any, **settings: Any) -> str:
    return refusal(write_jsonl(tmp_path / "own.jsonl", list(rows)), **settings)


# ---- cells ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("cell", "text"),
    [
        (["First add.", " Then stop."], "First add.\nThen stop."),
        (["Once.", None, ""], "Once."),
        ([], None),
        ([{"role": "assistant", "content": "Add."}], "Add."),
        (7, "7"),
        (float("nan"), None),
        ("NaN", None),
        (" null ", None),
        ("nan is no number", "nan is no number"),
    ],
)
def test_a_rationale_is_a_text_or_becomes_one(tmp_path: Path, cell: Any, text: str | None) -> None:
    (question,) = read(tmp_path, {"question": "1?", "answer": 1, "rationale": cell})
    assert question.human_rationale == text


def test_a_question_may_be_a_list_of_texts_or_a_chat_of_one_message(tmp_path: Path) -> None:
    chat = [{"role": "user", "content": "And 2?"}]
    questions = read(tmp_path, {"question": ["A story.", "1?"], "answer": 1}, {"question": chat, "answer": 2})
    assert [question.question for question in questions] == ["A story.\n1?", "And 2?"]


@pytest.mark.parametrize(
    ("row", "line"),
    [
        ({"question": {"stem": "1?"}, "answer": 1}, "question is an object with the keys 'stem'; give a text: "),
        ({"question": "1?", "answer": 1, "rationale": {"steps": [], "ok": 1}}, "rationale is an object with the keys "),
        ({"question": [["1?"]], "answer": 1}, "question is a list within a list"),
        ({"question": [{"role": "assistant", "content": "1?"}], "answer": 1}, "question is a chat of 1 messages"),
        ({"question": "1?", "answer": 1, "rationale": True}, "rationale is true; give a text"),
        ({"question": "1?", "answer": [["1"]]}, "answer is a list within a list"),
        ('{"question": "1?", "answer": Infinity}', "answer is inf; give a text"),
        ({"messages": [{"role": "user", "content": "1?"}]}, "no column 'answer'; "),
        ('{"question": "Half \\ud83d", "answer": 1}', "question holds half a character (U+D83D) at 6; write the whole"),
        ('{"question": "1?", "answer": 1, "rationale": ["\\udc00"]}', "rationale holds half a character (U+DC00)"),
        ('{"question": "1?", "answer": 1, "id": "\\ud800"}', "id holds half a character"),
        ('{"question": NaN, "answer": 1}', "row has no question"),
    ],
)  # fmt: skip
def test_what_is_no_text_is_refused_by_file_and_line(tmp_path: Path, row: Any, line: str) -> None:
    assert refused(tmp_path, {"question": "0?", "answer": 0}, row).startswith(f"own.jsonl, line 2: {line}")


def test_numbers_lose_the_noise_of_double_precision(tmp_path: Path) -> None:
    numbers = [0.1 + 0.2, 1.1 * 3, 5.0, 1e15, -2.50]
    questions = read(tmp_path, *({"question": f"{n}?", "answer": n} for n in numbers))
    assert [question.answer for question in questions] == ["0.3", "3.3", "5", "1000000000000000", "-2.5"]


# ---- solutions ------------------------------------------------------------------------------------------------------


def test_the_answer_behind_four_number_signs_and_the_solution_before_it(tmp_path: Path) -> None:
    solution = "Ann has 2*6=<<2*6=12>>12 pens.\n12 + 1 = <<12+1=13>>13.\n#### 1,300"
    (question,) = read(tmp_path, {"question": "How many?", "answer": solution})
    assert (question.answer, question.answer_type) == ("1300", "number")
    assert question.human_rationale == "Ann has 2*6=12 pens.\n12 + 1 = 13."


@pytest.mark.parametrize(
    ("answer", "gold", "answer_type", "rationale"),
    [
        (r"\boxed{42}", "42", "number", None),
        (r"$\boxed{42}$.", "42", "number", None),
        (r"$\frac{2}{7}$", "2/7", "number", None),
        (r"\boxed{\sqrt{2}}", r"\sqrt{2}", "math", None),
        (r"Twice 21 is $\boxed{42}$.", "42", "number", r"Twice 21 is $\boxed{42}$."),
    ],
)
def test_the_answer_in_a_box(tmp_path: Path, answer: str, gold: str, answer_type: str, rationale: str | None) -> None:
    (question,) = read(tmp_path, {"question": "How many?", "answer": answer})
    assert (question.answer, question.answer_type, question.human_rationale) == (gold, answer_type, rationale)


def test_a_rationale_of_its_own_goes_before_that_of_the_answer(tmp_path: Path) -> None:
    (question,) = read(tmp_path, {"question": "How many?", "answer": "Six.\n#### 6", "rationale": "2 * 3 = 6."})
    assert (question.answer, question.human_rationale) == ("6", "2 * 3 = 6.")


def test_as_text_an_answer_is_the_whole_cell(tmp_path: Path) -> None:
    (question,) = read(tmp_path, {"question": "Write it.", "answer": "# A\n#### B"}, answer_type="text")
    assert question.answer == "# A #### B"


def test_alpacas_columns(tmp_path: Path) -> None:
    plain, with_input, solved = (
        {"instruction": "Add 1 and 2.", "input": "", "output": "3"},
        {"instruction": "Add them.", "input": "4, 5", "output": "9"},
        {"instruction": "Add 3 and 4.", "input": None, "output": "3 + 4 = 7.", "answer": 7},
    )
    questions = read(tmp_path, plain, with_input, solved)
    assert [question.question for question in questions] == ["Add 1 and 2.", "Add them.\n\n4, 5", "Add 3 and 4."]
    assert [question.answer for question in questions] == ["3", "9", "7"]
    assert [question.human_rationale for question in questions] == [None, None, "3 + 4 = 7."]


# ---- choices --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("choices", "answer"),
    [
        ({"text": ["rain", "wind"], "label": ["A", "B"]}, "B"),
        ({"text": ["rain", "wind"], "label": ["1", "2"]}, "2"),
        ({"text": ["rain", "wind"], "label": [1, 2]}, 2),
        ([{"label": "A", "text": "rain"}, {"label": "B", "text": "wind"}], "B"),
        ([{"text": "rain"}, {"text": "wind"}], "wind"),
        ({"A": "rain", "B": "wind", "C": None}, "B"),
        (["A) rain", "B) wind"], "B"),
        (["(A) rain", "(B) wind"], "wind"),
        ('{"text": ["rain", "wind"], "label": ["A", "B"]}', "(b)"),
        (["rain", "wind"], "Wind"),
    ],
)
def test_choices_and_what_names_one(tmp_path: Path, choices: Any, answer: Any) -> None:
    (question,) = read(tmp_path, {"question": "Which?", "choices": choices, "answer": answer})
    assert (question.choices, question.answer, question.answer_type) == (("rain", "wind"), "B", "letter")


@pytest.mark.parametrize(
    ("choices", "line"),
    [
        ("rain", 'choices are ["rain"]; give a list of 2 to 26, or separate them with "|"'),
        ({"first": "rain", "second": "wind"}, 'choices are {"first": "rain"'),
        (["rain", None], "choice 2 is empty"),
        (["rain", ["wind"]], "choice is a list within a list"),
        ({"text": ["rain", "wind"], "label": ["A"]}, "1 labels for 2 choices"),
        ({"text": ["rain", "wind"], "label": ["A", "A"]}, "1 labels for 2 choices"),
        ("[" * 100_000, "choices are not a JSON list (nested too deeply)"),
    ],
)
def test_choices_that_are_none(tmp_path: Path, choices: Any, line: str) -> None:
    assert f"line 1: {line}" in refused(tmp_path, {"question": "Which?", "choices": choices, "answer": "A"})


def test_indices_are_read_where_they_can_mean_one_thing(tmp_path: Path) -> None:
    def letters(*answers: Any, choices: tuple[str, ...] = ("sun", "rain", "wind")) -> list[str]:
        rows = [{"question": f"{n}?", "choices": choices, "answer": answer} for n, answer in enumerate(answers)]
        return [question.answer for question in read(tmp_path, *rows)]

    assert letters(0, 2, 1) == ["A", "C", "B"]
    assert letters(1, 3, 2) == ["A", "C", "B"]
    assert letters("10", "15", choices=("5", "10", "15")) == ["B", "C"]


@pytest.mark.parametrize("kind", [int, str])
def test_an_index_that_may_be_another_choices_text_is_refused(tmp_path: Path, kind: type) -> None:
    rows = [{"question": f"{n}?", "choices": ["2", "0", "1"], "answer": kind(n)} for n in range(3)]
    assert refused(tmp_path, *rows) == (
        "own.jsonl, line 1: answer 0 may be choice A counted from 0 or choice B, whose text it is; "
        "write the letter of the right choice (A is the first)"
    )
    table = write_csv(tmp_path / "own.csv", [row | {"choices": "2|0|1"} for row in rows])
    assert "own.csv, line 2: answer 0 may be" in refusal(table)


def test_an_index_that_may_count_from_0_or_from_1_is_refused(tmp_path: Path) -> None:
    rows = [{"question": f"{n}?", "choices": ["sun", "rain", "wind"], "answer": n} for n in (1, 2)]
    assert "answer 1 may be choice B counted from 0 or choice A counted from 1" in refused(tmp_path, *rows)


def test_options_within_the_question_make_letters(tmp_path: Path) -> None:
    rows = [{"question": f"{n}?\n(A) rain\n(B) wind", "answer": "(B)"} for n in range(3)]
    assert {(question.answer, question.answer_type) for question in read(tmp_path, *rows)} == {("B", "letter")}
    vitamin = {"question": "Which vitamin has an orange?", "answer": "C"}
    assert [question.answer_type for question in read(tmp_path, vitamin)] == ["text"]


# ---- types ----------------------------------------------------------------------------------------------------------

SUMS = [{"question": f"{n} + {n}?", "answer": 2 * n} for n in range(20)]


def test_an_odd_answer_among_numbers_is_named_and_makes_no_texts(tmp_path: Path) -> None:
    odd = {"question": "How long?", "answer": "12 hours"}
    assert refused(tmp_path, *SUMS, odd) == (
        "own.jsonl, line 21: answer '12 hours' is not a number, as 20 of 21 are; "
        "fix that row, or set answer_type: number or text"
    )
    others = [odd | {"question": f"{n}?"} for n in range(7)]
    assert "as 20 of 27 are (nor is the answer of line 2, line 23, line 24 and 3 more)" in refused(
        tmp_path, others[0], others[1], *SUMS, *others[2:]
    )
    assert read(tmp_path, *SUMS, odd, answer_type="number")[-1].answer == "12"
    assert read(tmp_path, *SUMS, odd, answer_type="text")[-1].answer == "12 hours"


def test_an_odd_answer_among_yes_and_no(tmp_path: Path) -> None:
    rows = [{"question": f"{n}?", "answer": "yes"} for n in range(9)]
    assert "answer 'maybe' is not yes or no, as 9 of 10 are; fix that row, or set answer_type: yes_no or text" in (
        refused(tmp_path, *rows, {"question": "x?", "answer": "maybe"})
    )


def test_answers_of_many_kinds_are_texts(tmp_path: Path) -> None:
    rows = [{"question": f"{n}?", "answer": answer} for n, answer in enumerate(["Oslo", "7", "May 1", "yes"])]
    assert {question.answer_type for question in read(tmp_path, *rows)} == {"text"}


def test_numbers_with_decimal_commas_are_read_where_they_have_one_reading(tmp_path: Path) -> None:
    def table(*answers: str) -> Path:
        lines = "".join(f"{n}?;{answer}\n" for n, answer in enumerate(answers))
        (tmp_path / "own.csv").write_text(f"question;answer\n{lines}")
        return tmp_path / "own.csv"

    assert [question.answer for question in load_all(table("3,5", "12", "1.250,75"))] == ["3.5", "12", "1250.75"]
    assert [question.answer for question in load_all(table("1,250", "12"))] == ["1250", "12"]
    for ambiguous in ("1,250", "1.250"):
        line = refusal(table("12", ambiguous, "3,5"))
        assert line.startswith(f"own.csv, line 3: answer '{ambiguous}' may mean thousands, or decimals as in '3,5'")
