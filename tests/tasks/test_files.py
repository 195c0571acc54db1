"""The user's own files: every kind, columns, answer types, splits, and one clear line for each fault."""

from __future__ import annotations

import random
from pathlib import Path
from typing import Any

import pytest
from tests.tasks.own import SUMS, load_all, write_csv, write_jsonl, write_parquet

from cotdistill.config import FileTask
from cotdistill.errors import DataError
from cotdistill.tasks import load_task


def test_every_kind_of_file_gives_the_same_questions(tmp_path: Path) -> None:
    rows = [{"question": 'Is it, "so"?\nSay.', "answer": "yes"}, {"question": "And é?", "answer": "no"}]
    paths = [
        write_jsonl(tmp_path / "own.jsonl", rows),
        write_jsonl(tmp_path / "own.jsonl.gz", rows),
        write_csv(tmp_path / "own.csv", rows),
        write_parquet(tmp_path / "own.parquet", rows),
    ]
    first, *others = [load_all(path) for path in paths]
    assert all(other == first for other in others)
    assert [question.answer for question in first] == ["Yes", "No"]
    assert {question.answer_type for question in first} == {"yes_no"}


def test_columns_are_mapped(tmp_path: Path) -> None:
    rows = [{"key": 7, "text": "One?", "gold": 1, "why": "It is one.", "extra": None}]
    columns = {"id": "key", "question": "text", "answer": "gold", "rationale": "why"}
    (question,) = load_all(write_jsonl(tmp_path / "own.jsonl", rows), columns=columns)
    assert (question.id, question.task, question.split) == ("7", "own", "test")
    assert (question.question, question.answer, question.human_rationale) == ("One?", "1", "It is one.")


@pytest.mark.parametrize(
    ("answers", "answer_type", "canonical"),
    [
        (["1", "$2,000", "3.50", "1/2", "50%"], "number", ["1", "2000", "3.5", "1/2", "50"]),
        ([1, 2.0, 0.1, -3, 0], "number", ["1", "2", "0.1", "-3", "0"]),
        ([True, False], "true_false", ["True", "False"]),
        (["yes", "No"], "yes_no", ["Yes", "No"]),
        ([["b", "a"], ["c"]], "list", ["b a", "c"]),
        (["1", "two"], "text", ["1", "two"]),
        (["5 apples", "3 pears"], "text", ["5 apples", "3 pears"]),
    ],
)
def test_answer_types_are_inferred(tmp_path: Path, answers: list[Any], answer_type: str, canonical: list[str]) -> None:
    rows = [{"question": f"{index}?", "answer": answer} for index, answer in enumerate(answers)]
    questions = load_all(write_jsonl(tmp_path / "own.jsonl", rows))
    assert {question.answer_type for question in questions} == {answer_type}
    assert [question.answer for question in questions] == canonical


def test_a_configured_answer_type_is_used(tmp_path: Path) -> None:
    path = write_jsonl(tmp_path / "own.jsonl", [{"question": "?", "answer": "5 apples"}])
    assert [question.answer for question in load_all(path, answer_type="number")] == ["5"]


@pytest.mark.parametrize("answer", ["B", "b", "(B)", "Blue", "blue"])
def test_choices_take_a_letter_or_a_text(tmp_path: Path, answer: str) -> None:
    as_list = write_jsonl(tmp_path / "a.jsonl", [{"question": "?", "answer": answer, "choices": ["red", "blue"]}])
    in_bars = write_csv(tmp_path / "b.csv", [{"question": "?", "answer": answer, "choices": "red|blue"}])
    as_json = write_csv(tmp_path / "c.csv", [{"question": "?", "answer": answer, "choices": '["red", "blue"]'}])
    for path in (as_list, in_bars, as_json):
        (question,) = load_all(path)
        assert (question.answer, question.answer_type, question.choices) == ("B", "letter", ("red", "blue"))


def test_rows_with_and_without_choices_may_be_mixed(tmp_path: Path) -> None:
    rows = [
        {"question": "1?", "answer": "A", "choices": ["1", "2"]},
        {"question": "2?", "answer": "2", "choices": None},
    ]
    questions = load_all(write_jsonl(tmp_path / "own.jsonl", rows))
    assert [question.answer_type for question in questions] == ["letter", "number"]


def test_the_held_out_share_is_stable_under_order_and_growth(tmp_path: Path) -> None:
    path = write_jsonl(tmp_path / "own.jsonl", SUMS)
    task = load_task(FileTask(train=path))
    assert 20 <= len(task.test) <= 60
    assert len(task.train) + len(task.test) == len(SUMS)
    test_ids = {question.id for question in task.test}
    shuffled = random.Random(0).sample(SUMS, len(SUMS))
    again = load_task(FileTask(train=write_jsonl(path, shuffled)))
    assert {question.id for question in again.test} == test_ids
    grown = load_task(FileTask(train=write_jsonl(path, [*SUMS, {"question": "What is pi?", "answer": 3}])))
    assert test_ids <= {question.id for question in grown.test}


def test_equal_questions_stay_on_one_side(tmp_path: Path) -> None:
    rows = [
        {"id": f"{copy}-{n}", "question": f"What is {n}{' ' * copy}?", "answer": copy}
        for copy in (1, 2, 3)
        for n in range(80)
    ]
    task = load_task(FileTask(train=write_jsonl(tmp_path / "own.jsonl", rows)))
    sides = [{" ".join(question.question.split()) for question in side} for side in (task.train, task.test)]
    assert all(sides)
    assert not sides[0] & sides[1]


def test_exact_repetitions_are_dropped_and_counted(tmp_path: Path) -> None:
    path = write_jsonl(tmp_path / "own.jsonl", [*SUMS, *SUMS[:3], {"question": SUMS[0]["question"], "answer": "7"}])
    task = load_task(FileTask(train=path))
    assert task.dropped == {"repeated": 3}
    ids = [question.id for question in (*task.train, *task.test)]
    assert len(ids) == len(set(ids)) == len(SUMS) + 1


def test_limits_take_the_first(tmp_path: Path) -> None:
    path = write_jsonl(tmp_path / "own.jsonl", SUMS)
    whole = load_task(FileTask(train=path))
    cut = load_task(FileTask(train=path, num_train=5, num_test=3))
    assert (cut.train, cut.test) == (whole.train[:5], whole.test[:3])


GOOD = {"question": "1?", "answer": "1"}


@pytest.mark.parametrize(
    ("rows", "message"),
    [
        ([], "own.jsonl: no rows; give at least one question"),
        ([GOOD, "{nope"], "own.jsonl, line 2: malformed JSON"),
        ([GOOD, "", "[1]"], "own.jsonl, line 3: expected a JSON object"),
        ([GOOD, {"question": "2?", "answer": ""}], "own.jsonl, line 2: question has no answer; fill in"),
        ([GOOD, {"question": "2?", "answer": None}], "line 2: question has no answer"),
        ([GOOD, '{"question": "2?", "answer": NaN}'], "line 2: question has no answer"),
        ([GOOD, {"question": "2?", "answer": {"a": 1}}], "line 2: answer is an object with the keys 'a'; give a text"),
        ([GOOD, {"question": " ", "answer": "2"}], "line 2: row has no question"),
        (
            [GOOD, {"question": "2?"}],
            "line 2: no column 'answer'; known: question (map it with columns: {answer: NAME})",
        ),
        ([{"questoin": "2?", "answer": "2"}], "line 1: no column 'question'; did you mean 'questoin'?"),
        ([GOOD | {"id": 1}, GOOD | {"id": 2}, GOOD | {"id": 1}], "line 3: id '1' is already used in "),
        ([GOOD | {"id": 1}, GOOD | {"id": None}], "line 2: row has no id"),
        (
            [{"question": "?", "answer": "D", "choices": ["x", "y"]}],
            "line 1: answer 'D' is not one of its choices ['x', 'y']",
        ),
        ([{"question": "?", "answer": "z", "choices": ["x", "y"]}], "line 1: answer 'z' is not one of its choices"),
        ([{"question": "?", "answer": "x", "choices": ["x"]}], 'line 1: choices are ["x"]; give a list of 2 to 26'),
        ([{"question": "?", "answer": "x", "choices": "[x"}], "line 1: choices are not a JSON list"),
    ],
)
def test_faults_are_one_line_with_file_and_line(tmp_path: Path, rows: list[Any], message: str) -> None:
    path = write_jsonl(tmp_path / "own.jsonl", rows)
    with pytest.raises(DataError) as error:
        load_all(path)
    assert message in str(error.value)
    assert "\n" not in str(error.value)


def test_faulty_csv_is_named(tmp_path: Path) -> None:
    path = tmp_path / "own.csv"
    for text, message in [
        ("question,answer\n1?,1\n2?,2,3\n", "line 3: 3 cells instead of 2; quote cells"),
        ('question,answer\n1?,1\n"2?,2\n', "malformed CSV (unexpected end of data)"),
        ("question,answer\n1?,\n", "line 2: question has no answer"),
        ("", "no rows"),
    ]:
        path.write_text(text)
        with pytest.raises(DataError) as error:
            load_all(path)
        assert message in str(error.value)
    path.write_bytes(b"question,answer\n1?,\xff\n")
    with pytest.raises(DataError, match="not UTF-8 text"):
        load_all(path)


def test_faulty_files_are_named(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="no such file"):
        load_all(tmp_path / "absent.jsonl")
    (tmp_path / "own.txt").write_text("?")
    with pytest.raises(DataError, match=r"unknown file type; use \.jsonl"):
        load_all(tmp_path / "own.txt")
    (tmp_path / "own.parquet").write_bytes(b"PAR1 but not really")
    with pytest.raises(DataError, match="unreadable after row 0"):
        load_all(tmp_path / "own.parquet")


def test_a_mapped_column_must_exist_even_if_it_may_be_left_out(tmp_path: Path) -> None:
    path = write_jsonl(tmp_path / "own.jsonl", [GOOD])
    with pytest.raises(DataError, match="no column 'reason'"):
        load_all(path, columns={"rationale": "reason"})


def test_a_configured_type_that_does_not_fit_is_refused(tmp_path: Path) -> None:
    path = write_jsonl(tmp_path / "own.jsonl", [GOOD, {"question": "2?", "answer": "many"}])
    with pytest.raises(DataError, match="line 2: answer 'many' is not of type number; fix that row or set answer_type"):
        load_all(path, answer_type="number")


def test_a_share_that_leaves_one_side_empty_is_refused(tmp_path: Path) -> None:
    path = write_jsonl(tmp_path / "own.jsonl", [GOOD])
    with pytest.raises(DataError, match="no questions left for"):
        load_task(FileTask(train=path))
