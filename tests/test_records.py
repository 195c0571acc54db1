"""Rows: what is written is what is read, and what cannot be read is named by file and line."""

from __future__ import annotations

import gzip
import json
from pathlib import Path

import pytest

from cotdistill.errors import DataError
from cotdistill.records import Prediction, Question, Rationale, Score, count_by
from cotdistill.storage.jsonl import dump_row, read_numbered_rows, read_rows

QUESTION = Question("q1", "own", "test", "Which is red?", "B", "letter", choices=("sky", "rose"), meta={"source": "me"})
STRANGE = "line\nbreak, \u2028, \x1b[31m, \U0001f600, a lone \ud83d surrogate, 'quotes', \"quotes\", \\ and \x00"


def through_a_file(path: Path, row: dict) -> dict:
    path.write_text(dump_row(row) + "\n", encoding="utf-8")
    (read,) = read_rows(path)
    return read


def test_records_survive_a_file(tmp_path: Path) -> None:
    path = tmp_path / "rows.jsonl"
    human = Question("q2", "own", "train", "1 + 1?", "2", "number", human_rationale="One and one.")
    rationale = Rationale(QUESTION, "Roses are.", "me", 3, "cot", meta={"agrees": True})
    answer_only = Rationale(human, None, "answer_only", None, "answer_only")
    prediction = Prediction("q1", "own", "B", STRANGE, None, "unreadable", 12, 3)
    score = Score(4, 0.25, (0.1, 0.5), 1, 1, 1, 1)
    for record in (QUESTION, human, prediction, score):
        assert type(record).from_row(through_a_file(path, record.to_row())) == record
    for record in (rationale, answer_only):
        read = Rationale.from_row(through_a_file(path, record.to_row()))
        assert read.to_row() == record.to_row()


def test_a_file_of_rationales_is_a_file_of_questions(tmp_path: Path) -> None:
    row = through_a_file(tmp_path / "rows.jsonl", Rationale(QUESTION, "Roses are.", "me", 3, "cot").to_row())
    question = Question.from_row(row)
    assert (question.id, question.question, question.choices) == (QUESTION.id, QUESTION.question, QUESTION.choices)


def test_any_text_stays_on_its_line(tmp_path: Path) -> None:
    path = tmp_path / "rows.jsonl"
    path.write_text("".join(dump_row({"text": text}) + "\n" for text in (STRANGE, "", "\r\n")), encoding="utf-8")
    assert [row["text"] for row in read_rows(path)] == [STRANGE, "", "\r\n"]


def test_gzipped_rows_are_read_and_numbered_by_line(tmp_path: Path) -> None:
    path = tmp_path / "rows.jsonl.gz"
    path.write_bytes(gzip.compress(b'{"n": 1}\n\n{"n": 2}\n'))
    assert list(read_numbered_rows(path)) == [(1, {"n": 1}), (3, {"n": 2})]


@pytest.mark.parametrize(
    ("content", "where", "problem"),
    [
        (b'{"n": 1}\n{"n": 2', "line 2", "malformed JSON"),
        (b'{"n": 1}\n[1]\n', "line 2", "expected a JSON object, found list"),
        (b'{"n": 1}\nnull\n', "line 2", "expected a JSON object, found NoneType"),
        (b'{"n": "\xff"}\n', "line 1", "UTF-8"),
        (b"[" * 100_000 + b"\n", "rows.jsonl", "unreadable"),
    ],
)
def test_an_unreadable_line_is_named(tmp_path: Path, content: bytes, where: str, problem: str) -> None:
    path = tmp_path / "rows.jsonl"
    path.write_bytes(content)
    with pytest.raises(DataError) as raised:
        list(read_rows(path))
    line = str(raised.value)
    assert line.startswith(str(path))
    assert where in line
    assert problem in line
    assert "\n" not in line


def test_damaged_gzip_is_named(tmp_path: Path) -> None:
    whole = gzip.compress(json.dumps({"text": list(range(1000))}).encode())
    for content in (whole[:-20], b"no gzip"):
        path = tmp_path / "rows.jsonl.gz"
        path.write_bytes(content)
        with pytest.raises(DataError, match="unreadable"):
            list(read_rows(path))


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="no such file; check the path"):
        list(read_rows(tmp_path / "absent.jsonl"))


def test_counts_are_in_the_order_of_their_names() -> None:
    assert list(count_by(["b", "a", "b"]).items()) == [("a", 1), ("b", 2)]
