"""Files as programs write them: what is read, and what is refused with the advice that helps."""

from __future__ import annotations

import gzip
import json
from pathlib import Path

import pytest
from tests.tasks.own import load_all, refusal, write_jsonl

ROWS = [{"question": f"What is {n}+{n}?", "answer": 2 * n, "rationale": f"{n} and {n}."} for n in range(5)]
TABLE = "question;answer;rationale\r\n" + "".join(f"What is {n}+{n}?;{2 * n};{n} and {n}.\r\n" for n in range(5))


def contents(path: Path) -> list[tuple[str, str, str | None]]:
    return [(question.question, question.answer, question.human_rationale) for question in load_all(path)]


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("array.json", json.dumps(ROWS, indent=1)),
        ("lines.json", "\n".join(map(json.dumps, ROWS))),
        ("UPPER.JSONL", "\n".join(map(json.dumps, ROWS))),
        ("lines.ndjson", "\n".join(map(json.dumps, ROWS))),
        ("mark.jsonl", "\ufeff" + "\n".join(map(json.dumps, ROWS))),
        ("array-below.json", "\n " + json.dumps(ROWS)),
        ("excel.csv", "\ufeff" + TABLE),
        ("comma.CSV", TABLE.replace(";", ",")),
        ("tabs.csv", TABLE.replace(";", "\t")),
        ("tabs.tsv", TABLE.replace(";", "\t").replace("and", "and;")),
        ("spaces.csv", TABLE.replace(";answer;", "; answer ;")),
        ("empty-rows.csv", TABLE.replace("What is 3", ";;\r\n\r\nWhat is 3")),
        ("old-mac.csv", TABLE.replace("\r\n", "\r")),
    ],
)
def test_one_table_in_many_forms(tmp_path: Path, name: str, content: str) -> None:
    path, zipped = tmp_path / name, tmp_path / f"{name}.gz"
    path.write_bytes(content.encode())
    zipped.write_bytes(gzip.compress(content.encode()))
    sign = "and;" if name == "tabs.tsv" else "and"
    wanted = [(f"What is {n}+{n}?", str(2 * n), f"{n} {sign} {n}.") for n in range(5)]
    assert contents(path) == contents(zipped) == wanted


def test_a_cell_of_a_megabyte_is_read(tmp_path: Path) -> None:
    (tmp_path / "long.csv").write_text(f"question,answer,rationale\n1?,1,{'x ' * 500_000}\n")
    ((_, _, rationale),) = contents(tmp_path / "long.csv")
    assert rationale is not None
    assert len(rationale) == 999_999


def test_a_row_is_named_by_the_line_on_which_it_begins(tmp_path: Path) -> None:
    (tmp_path / "own.csv").write_text('question,answer\n"one\n?",1\n"two\n\n?",\n3?,3\n')
    assert refusal(tmp_path / "own.csv").startswith("own.csv, line 4: question has no answer")


@pytest.mark.parametrize(
    ("encoding", "byte"), [("cp1252", "0xe9"), ("latin-1", "0xe9"), ("utf-16", "0xff"), ("mac-roman", "0x8e")]
)
def test_another_encoding_is_refused_with_the_way_out(tmp_path: Path, encoding: str, byte: str) -> None:
    path = tmp_path / "own.csv"
    path.write_bytes("question,answer\n1?,1\nCafé?,2\n".encode(encoding))
    line = refusal(path)
    assert line.startswith(
        f"own.csv, line {1 if encoding == 'utf-16' else 3}: not UTF-8 text (byte {byte}); save it as"
    )
    assert '"CSV UTF-8"' in line
    (tmp_path / "own.jsonl").write_bytes('{"question": "1?", "answer": "Café"}'.encode(encoding))
    assert "not UTF-8 text" in refusal(tmp_path / "own.jsonl")


@pytest.mark.parametrize("name", ["own.xlsx", "Own.XLS", "own.ods"])
def test_a_workbook_is_refused_with_the_way_out(tmp_path: Path, name: str) -> None:
    (tmp_path / name).write_bytes(b"PK\x03\x04")
    assert refusal(tmp_path / name) == f'{name}: a workbook, not a text table; save the sheet as "CSV UTF-8" (.csv)'


@pytest.mark.parametrize(
    ("name", "content", "line"),
    [
        ("own.jsonl", '{"question": "1?", "answer": 1, "answer": 2}', "line 1: the key 'answer' appears twice"),
        ("own.json", '[{"answer": 1, "a": {"b": 1, "b": 1}}]', "own.json: the key 'b' appears twice"),
        ("own.csv", "question,answer, answer\n1?,1,2\n", "own.csv, line 1: 2 columns are named 'answer'; rename"),
        ("own.jsonl", "[1]", "line 1: expected a JSON object, found list; an array of them is a .json file"),
        ("own.json", "[1]", "own.json, row 1: expected a JSON object, found 1"),
        ("own.json", '[{"question": "?"},\n nope]', "own.json: malformed JSON (Expecting value at line 2, column 2)"),
        ("own.jsonl", f'{{"question": "?", "answer": {"9" * 5000}}}', "line 1: a number has more than 4300 digits;"),
        ("own.jsonl", f'{{"question": "?", "answer": {"[" * 100_000}', "line 1: JSON is nested too deeply; fix"),
        ("own.csv", 'question,answer\n1?,1\n"2?,2\n3?,3\n', "own.csv, line 3: malformed CSV (unexpected end of data)"),
        ("own.txt", "1?", "own.txt: unknown file type; use .jsonl, .json, .csv, .tsv, .parquet, optionally"),
    ],
)  # fmt: skip
def test_what_cannot_be_read_is_one_line(tmp_path: Path, name: str, content: str, line: str) -> None:
    (tmp_path / name).write_text(content, encoding="utf-8")
    assert line in refusal(tmp_path / name)


def test_columns_without_a_name_do_not_count_as_named_twice(tmp_path: Path) -> None:
    (tmp_path / "own.csv").write_text(",question,answer,,\n0,1?,1,,\n")
    assert contents(tmp_path / "own.csv") == [("1?", "1", None)]


def test_damaged_archives_are_one_line(tmp_path: Path) -> None:
    whole = gzip.compress("\n".join(map(json.dumps, ROWS * 50)).encode())
    for damaged in (whole[:-20], whole[:40] + b"\xff" + whole[41:], b"\x1f\x8bno", whole[:-6] + b"\0" + whole[-5:]):
        (tmp_path / "own.jsonl.gz").write_bytes(damaged)
        assert refusal(tmp_path / "own.jsonl.gz").startswith("own.jsonl.gz: unreadable after line ")


class TestParquet:
    def test_single_precision_is_read_as_it_was_written(self, tmp_path: Path) -> None:
        pyarrow, parquet = pytest.importorskip("pyarrow"), pytest.importorskip("pyarrow.parquet")
        table = pyarrow.table({"question": ["1?", "2?"], "answer": pyarrow.array([0.1, 2.5e-3], pyarrow.float32())})
        parquet.write_table(table, tmp_path / "own.parquet")
        assert [answer for _, answer, _ in contents(tmp_path / "own.parquet")] == ["0.1", "0.0025"]

    def test_bytes_and_missing_values(self, tmp_path: Path) -> None:
        pyarrow, parquet = pytest.importorskip("pyarrow"), pytest.importorskip("pyarrow.parquet")
        rows = [{"question": "Né?".encode(), "answer": b"1", "rationale": float("nan")}]
        parquet.write_table(pyarrow.Table.from_pylist(rows), tmp_path / "own.parquet")
        assert contents(tmp_path / "own.parquet") == [("Né?", "1", None)]
        parquet.write_table(pyarrow.table({"question": ["1?"], "answer": [b"\xff"]}), tmp_path / "own.parquet")
        assert "row 1: answer holds bytes that are not UTF-8 text" in refusal(tmp_path / "own.parquet")

    def test_damage_and_repeated_columns_are_one_line(self, tmp_path: Path) -> None:
        pyarrow, parquet = pytest.importorskip("pyarrow"), pytest.importorskip("pyarrow.parquet")
        path = tmp_path / "own.parquet"
        columns = pyarrow.array(["1?"]), pyarrow.array(["1"]), pyarrow.array(["2"])
        parquet.write_table(pyarrow.Table.from_arrays(columns, names=["question", "answer", "answer"]), path)
        assert "2 columns are named 'answer'" in refusal(path)
        parquet.write_table(pyarrow.Table.from_pylist(ROWS * 50), path)
        whole = path.read_bytes()
        for damaged in (b"PAR1" + whole[9:], whole[:60] + b"\xff\xff" + whole[62:], whole[:-9]):
            path.write_bytes(damaged)
            assert "unreadable after row 0" in refusal(path)


def test_jsonl_of_a_line_separator_within_a_text_is_one_row(tmp_path: Path) -> None:
    path = write_jsonl(tmp_path / "own.jsonl", ['{"question": "one\u2028two\x85?", "answer": 1}'])
    assert contents(path) == [("one\u2028two\x85?", "1", None)]
