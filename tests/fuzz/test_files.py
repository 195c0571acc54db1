"""A file with anything in it is read, or refused in one line that names it."""

from __future__ import annotations

import csv
import gzip
import json
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.fuzz.bounded import BOUNDED, CELL, PIECES

from cotdistill.annotation.released.importers import import_rationales
from cotdistill.config import FileTask, load_experiment
from cotdistill.errors import CotDistillError
from cotdistill.tasks import load_task
from cotdistill.tasks.task import Task

pytestmark = pytest.mark.fuzz

OPTIONAL = ("id", "choices", "rationale", "task", "format", "source", "target")
ROW = st.fixed_dictionaries({"question": CELL, "answer": CELL}, optional=dict.fromkeys(OPTIONAL, CELL)) | CELL
ROWS = st.lists(ROW, max_size=5)
KEYS = ("task", "student", "teacher", "training", "arms", "grid", "comparisons", "x")
LIKELY_BYTES = st.lists(st.one_of(PIECES.map(lambda text: text.encode("utf-8", "replace")), st.binary(max_size=6)))


@pytest.fixture(scope="module")
def folder(tmp_path_factory) -> Path:
    return tmp_path_factory.mktemp("files")


def one_line(error: CotDistillError, path: Path) -> bool:
    return str(path) in str(error) and "\n" not in str(error)


def read(path: Path) -> Task | None:
    """The task of ``path``, or None where it was refused as it should be."""
    try:
        return load_task(FileTask(train=path, test=path))
    except CotDistillError as error:
        if not one_line(error, path):
            raise
        return None


@BOUNDED
@given(ROWS)
def test_rows_with_anything_in_their_cells(folder, rows):
    path = folder / "own.jsonl"
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    task = read(path)
    if task is not None:
        assert 0 < len(task.train) <= len(rows)
        assert all(question.question and question.answer for question in task.train)


@BOUNDED
@given(st.lists(st.tuples(st.text(min_size=1), st.integers()), min_size=1, max_size=5))
def test_a_table_says_the_same_as_rows(folder, rows):
    rows = [(text, answer) for text, answer in rows if text.strip() and "\x00" not in text and "\r" not in text]
    rows = [(text, answer) for text, answer in rows if text.isprintable()]
    if not rows:
        return
    lines, table = folder / "same.jsonl", folder / "same.csv"
    lines.write_text("".join(json.dumps({"question": q, "answer": a}) + "\n" for q, a in rows), encoding="utf-8")
    with table.open("w", encoding="utf-8", newline="") as file:
        csv.writer(file).writerows([("question", "answer"), *rows])
    one, other = read(lines), read(table)
    assert one is not None
    assert one == other


@BOUNDED
@given(st.sampled_from(["own.jsonl", "own.csv", "own.parquet", "own.jsonl.gz"]), LIKELY_BYTES)
def test_files_of_any_bytes(folder, name, parts):
    path = folder / name
    path.write_bytes(b"".join(parts))
    read(path)


SOUND = [
    {"question": f"What is {n} + {n}?", "rationale": f"{n} + {n} =\n{2 * n}.", "answer": 2 * n, "choices": None}
    for n in range(12)
]


def sound_file(path: Path) -> bytes:
    """The bytes of a file of sound rows, of the kind that its name says."""
    text = "".join(json.dumps(row) + "\n" for row in SOUND)
    if ".csv" in path.name or ".tsv" in path.name:
        with path.open("w", encoding="utf-8", newline="") as file:
            writer = csv.DictWriter(file, list(SOUND[0]), delimiter="\t" if ".tsv" in path.name else ";")
            writer.writeheader()
            writer.writerows(SOUND)
        text = path.read_text(encoding="utf-8")
    elif path.name.endswith(".json"):
        text = json.dumps(SOUND)
    elif path.name.endswith(".parquet"):
        pyarrow, parquet = pytest.importorskip("pyarrow"), pytest.importorskip("pyarrow.parquet")
        parquet.write_table(pyarrow.Table.from_pylist(SOUND), path)
        return path.read_bytes()
    return gzip.compress(text.encode(), mtime=0) if path.name.endswith(".gz") else text.encode()


def mutated(content: bytes, cuts: list[tuple[float, int, bytes]]) -> bytes:
    """``content`` with some bytes, at shares of its length, replaced by others."""
    for share, length, others in cuts:
        place = int(share * len(content))
        content = content[:place] + others + content[place + length :]
    return content


PIECE_BYTES = st.one_of(PIECES.map(lambda text: text.encode("utf-8", "surrogatepass")), st.binary(max_size=3))
CUTS = st.lists(st.tuples(st.floats(0, 1, exclude_max=True), st.integers(0, 12), PIECE_BYTES), min_size=1, max_size=4)


@settings(BOUNDED, max_examples=120)
@given(CUTS)
@pytest.mark.parametrize("name", ["m.jsonl", "m.json", "m.csv", "m.tsv", "m.parquet", "m.jsonl.gz", "m.csv.gz"])
def test_sound_files_that_were_changed_in_some_bytes(folder, name, cuts):
    path = folder / name
    path.write_bytes(mutated(sound_file(path), cuts))
    read(path)


@BOUNDED
@given(ROWS, st.integers(0, 200), st.binary(max_size=4))
def test_files_that_were_damaged(folder, rows, place, damage):
    path = folder / "damaged.jsonl.gz"
    whole = gzip.compress("".join(json.dumps(row) + "\n" for row in rows).encode(), mtime=0)
    path.write_bytes(whole[:place] + damage + whole[place + len(damage) :])
    read(path)


@settings(BOUNDED, max_examples=100)  # a fifth of a second for each key that does not exist
@given(
    st.dictionaries(
        st.sampled_from(["task", "student", "teacher", "training", "arms", "grid", "comparisons", "x"]), CELL
    )
)
def test_experiment_files_of_any_settings(folder, values):
    path = folder / "run.yaml"
    path.write_text(json.dumps(values), encoding="utf-8")
    refused_or_read(path)


@BOUNDED
@given(st.lists(st.one_of(PIECES, st.sampled_from(["task: ", "- ", "\n  ", "&a ", "*a", "!!", "{", "'", "|", "<<: "]))))
def test_experiment_files_of_any_text(folder, parts):
    path = folder / "run.yaml"
    path.write_text("".join(parts), encoding="utf-8", errors="replace")
    refused_or_read(path)


def refused_or_read(path: Path) -> None:
    try:
        load_experiment(path)
    except CotDistillError as error:
        if not one_line(error, path):
            raise


@BOUNDED
@given(st.sampled_from(["cot_collection", "flan_cot", "distilling_step_by_step", "eit_cot"]), ROWS)
def test_imports_of_anything(folder, source, rows):
    path = folder / "released.jsonl"
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    try:
        imported = import_rationales(source, path)
    except CotDistillError as error:
        if not one_line(error, path):
            raise
    else:
        assert len(imported.records) + sum(imported.unread.values()) == len(rows)
