"""Rows are written, hashed and found again one by one, and give what they gave together."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path

import pytest

from cotdistill.engines.asking import CompletionLog, logged
from cotdistill.engines.engine import Completion
from cotdistill.errors import DataError
from cotdistill.storage import jsonl
from cotdistill.storage.hashes import content_key, content_key_of
from cotdistill.storage.jsonl import RowAppender, dump_row, read_rows, write_rows
from cotdistill.storage.stored import StoredRecords, content_of

ROWS = [{"a": 1, "b": "ä\u2028"}, {"b": [1.5, None]}, {"surrogate": "\ud800"}, {}]


@pytest.mark.parametrize("number", range(5))
def test_rows_hashed_one_by_one_have_the_key_of_their_list(number: int) -> None:
    assert content_key_of(iter(ROWS[:number])) == content_key(ROWS[:number])


def test_rows_that_come_one_by_one_are_written_as_one_text(tmp_path: Path) -> None:
    write_rows(tmp_path / "rows.jsonl", iter(ROWS))
    assert (tmp_path / "rows.jsonl").read_text(encoding="utf-8") == "".join(dump_row(row) + "\n" for row in ROWS)


def test_a_row_that_fails_leaves_the_file_as_it_was(tmp_path: Path) -> None:
    path = tmp_path / "rows.jsonl"
    write_rows(path, ROWS)
    with pytest.raises(ZeroDivisionError):
        write_rows(path, ({"x": 1 // number} for number in (1, 0)))
    assert list(read_rows(path)) == list(map(json.loads, map(dump_row, ROWS)))
    assert [file.name for file in tmp_path.iterdir()] == ["rows.jsonl"]


@pytest.mark.parametrize("torn", [0, 1, 5, 6, 7, 40])
@pytest.mark.parametrize("kept", ["", '{"x": 1}\n', '{"x": 1}\n{"x": "longer than a block of six"}\n'])
def test_only_an_incomplete_last_line_is_dropped(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, kept: str, torn: int
) -> None:
    monkeypatch.setattr(jsonl, "_BLOCK", 6)
    path = tmp_path / "rows.jsonl"
    path.write_text(kept + "t" * torn, encoding="utf-8")
    with RowAppender(path) as appender:
        starts = appender.append_all([{"y": 1}, {"y": "ä"}])
        appender.append({"y": 3})
        assert len(list(appender.rows())) == kept.count("\n") + 3
    written = path.read_bytes()
    assert written == (kept + '{"y": 1}\n{"y": "ä"}\n{"y": 3}\n').encode()
    assert [json.loads(written[start:].partition(b"\n")[0]) for start in starts] == [{"y": 1}, {"y": "ä"}]


def completion(number: int, text: str = "täxt") -> Completion:
    return Completion(f"key{number}", f"q{number}", 0, f"{text} {number}", None, "stop", number, 1)


def test_a_log_gives_what_was_added_before_and_after_it_was_opened_again(tmp_path: Path) -> None:
    path = tmp_path / "log" / "completions.jsonl"
    with CompletionLog(path) as log:
        log.add_all([completion(1), completion(2)])
        assert log["key2"] == completion(2)
        log.add_all([completion(2, "another"), completion(3)])
        assert [log[f"key{number}"] for number in (3, 1, 2)] == [completion(number) for number in (3, 1, 2)]
    with path.open("a", encoding="utf-8") as file:
        file.write('{"key": "torn')
    assert [key in logged(path) for key in ("key1", "key3", "torn")] == [True, True, False]
    with CompletionLog(path) as log:
        log.add_all([completion(4)])
        assert "torn" not in log
        assert [log[f"key{number}"] for number in (4, 1)] == [completion(4), completion(1)]
        assert log.num_tokens() == (10, 4)


@pytest.mark.parametrize("line", ["[]", "{", "{}", '{"key": 1}', "\x80", "[" * 100_000])
def test_a_line_that_is_no_completion_is_named(tmp_path: Path, line: str) -> None:
    path = tmp_path / "completions.jsonl"
    path.write_text(dump_row(completion(1, "text").to_row()) + f"\n{line}\n", encoding="latin-1")
    with pytest.raises(DataError, match="line 2: malformed completion"):
        CompletionLog(path)


@dataclass(frozen=True)
class Note:
    text: str

    def to_row(self) -> dict[str, str]:
        return {"text": self.text}

    @classmethod
    def from_row(cls, row: dict[str, str]) -> Note:
        return cls(**row)


def test_stored_records_are_those_that_were_written(tmp_path: Path) -> None:
    notes = [Note(text) for text in ("a", "line\nbreak", "ä\r\u2028\ud800", "", "x" * 40)]
    path = tmp_path / "notes.jsonl"
    write_rows(path, (note.to_row() for note in notes))
    found = StoredRecords(path, Note.from_row)
    assert list(found) == notes
    assert len(found) == len(notes)
    assert [found[2], found[-1], *found[1:4:2]] == [notes[2], notes[-1], *notes[1:4:2]]
    assert content_of(found) == content_of(notes) == content_key([note.to_row() for note in notes])
    with pytest.raises(IndexError):
        found[len(notes)]
    write_rows(path, [])
    assert list(StoredRecords(path, Note.from_row)) == []
    assert not StoredRecords(path, Note.from_row)
