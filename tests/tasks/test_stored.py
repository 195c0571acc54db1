"""The questions of a file or generator as a stage: what loading gives, made once, found again by content."""

from __future__ import annotations

import gzip
import json
from pathlib import Path

import pytest
from tests.stages import alter_a_byte

from cotdistill.annotation.annotate import AnnotationRequest, annotation_identity
from cotdistill.config import (
    AnnotationConfig,
    BenchmarkTask,
    CellConfig,
    FileTask,
    HumanTeacher,
    ModelConfig,
    ProceduralTask,
    ProceduralTeacher,
)
from cotdistill.errors import DataError
from cotdistill.experiments.make import annotation_request
from cotdistill.experiments.work import Work
from cotdistill.storage.stored import content_of
from cotdistill.tasks import load_task, stored
from cotdistill.tasks.stored import bare_tasks, stored_task

ROWS = [
    {"question": f"What is {n} + {n}?\u2028", "answer": str(2 * n), "level": n % 3}
    | ({} if n % 4 == 1 else {"rationale": f"Twice {n} is {2 * n}."})
    for n in range(40)
]
CHOICES = [{"question": f"Pick {n}.", "answer": "ABC"[n % 3], "choices": ["x", "y", f"z{n}"]} for n in range(12)]
TALKS = [
    {"messages": [{"role": "user", "content": f"{n}?"}, {"role": "assistant", "content": f"So it is. #### {n}"}]}
    for n in range(9)
]


def task_of(folder: Path, rows: list[dict], **settings: object) -> FileTask:
    folder.mkdir(exist_ok=True)
    file = folder / "own.jsonl"
    file.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    return FileTask(train=file, **settings)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("rows", "settings"),
    [
        ([*ROWS, *ROWS[:5]], {"keep_columns": ("level",), "num_train": 20, "num_test": 3}),
        ([*ROWS, *CHOICES], {"test_share": 0.5}),
        (TALKS, {}),
        ([{"id": f"own {n}", **row} for n, row in enumerate(ROWS)], {"answer_type": "text"}),
    ],
    ids=["plain", "choices", "conversations", "own ids"],
)
def test_questions_and_their_keys_are_those_that_loading_gives(
    tmp_path: Path, rows: list[dict], settings: dict[str, object]
) -> None:
    config = task_of(tmp_path, rows, **settings)
    plain, kept = load_task(config), stored_task(config, tmp_path / "runs")
    assert (list(kept.train), list(kept.test)) == (list(plain.train), list(plain.test))
    assert (kept.name, kept.dropped, kept.fingerprint) == (plain.name, plain.dropped, plain.fingerprint)
    assert (len(kept.train), len(kept.test)) == (len(plain.train), len(plain.test))
    assert [content_of(kept.train), content_of(kept.test)] == [content_of(plain.train), content_of(plain.test)]
    assert bare_tasks(kept.train) == bare_tasks(plain.train)
    requests = [AnnotationRequest(task.train, HumanTeacher(), AnnotationConfig()) for task in (plain, kept)]
    assert annotation_identity(requests[0], tmp_path) == annotation_identity(requests[1], tmp_path)


def test_a_file_is_read_once_wherever_it_lies_and_again_once_it_changes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    runs, read = tmp_path / "runs", []
    original = stored.own_questions
    monkeypatch.setattr(stored, "own_questions", lambda config: (read.append(config), original(config))[1])
    first = stored_task(task_of(tmp_path, ROWS), runs)
    assert stored_task(task_of(tmp_path / "moved", ROWS), runs).path == first.path
    assert len(read) == 1
    changed = stored_task(task_of(tmp_path, ROWS[1:]), runs)
    other_settings = stored_task(task_of(tmp_path, ROWS, test_share=0.5), runs)
    named = stored_task(task_of(tmp_path, ROWS, name="sums"), runs)
    assert len({first.path, changed.path, other_settings.path, named.path}) == len(read) == 4
    assert {question.task for question in named.train} == {"sums"}


def test_damaged_questions_are_set_aside_and_read_again(tmp_path: Path) -> None:
    config, runs = task_of(tmp_path, ROWS), tmp_path / "runs"
    made = stored_task(config, runs)
    assert made.path is not None
    before = (made.path / "train.jsonl").read_bytes()
    alter_a_byte(made.path / "train.jsonl")
    assert list(stored_task(config, runs).train) == list(load_task(config).train)
    assert (made.path / "train.jsonl").read_bytes() == before


def test_a_file_with_an_error_is_refused_as_in_memory(tmp_path: Path) -> None:
    config = task_of(tmp_path, [*ROWS, {"question": "And?", "answer": ""}])
    with pytest.raises(DataError, match="line 41: question has no answer"):
        stored_task(config, tmp_path / "runs")
    with pytest.raises(DataError, match="no such file"):
        stored_task(FileTask(train=tmp_path / "none.jsonl"), tmp_path / "runs")


def test_what_only_plans_writes_nothing(tmp_path: Path) -> None:
    work = Work(tmp_path / "runs", print, writes=False)
    assert len(work.load(GENERATED).train) == 40
    assert len(work.load(task_of(tmp_path, ROWS)).train) > 20
    assert not (tmp_path / "runs").exists()


def made_again(*_: object) -> None:
    raise AssertionError("the questions are made or read again")


GENERATED = ProceduralTask(kinds=("navigate", "word_sorting"), num_train=40, num_test=10)


def test_generated_questions_are_those_in_memory_and_give_annotations_the_same_keys(tmp_path: Path) -> None:
    plain, kept = load_task(GENERATED), stored_task(GENERATED, tmp_path / "runs")
    assert (kept.name, list(kept.train), list(kept.test)) == (plain.name, list(plain.train), list(plain.test))
    for decontaminate in ("off", "questions"):
        config = AnnotationConfig(decontaminate=decontaminate)
        requests = [
            AnnotationRequest(task.train, ProceduralTeacher(), config, evaluation=task.test) for task in (plain, kept)
        ]
        assert annotation_identity(requests[0], tmp_path) == annotation_identity(requests[1], tmp_path)


def test_a_benchmark_in_a_data_folder_is_kept_as_well(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "data" / "gsm8k").mkdir(parents=True)
    for split, number in (("train", 9), ("test", 4)):
        rows = [
            {"id": f"{split}-{n}", "question": f"How much is {n} + 1?", "answer": str(n + 1)}
            | ({"rationale": f"{n} + 1 = {n + 1}", "format": "human"} if n % 2 else {})
            for n in range(number)
        ]
        text = "".join(json.dumps(row) + "\n" for row in rows)
        (tmp_path / "data" / "gsm8k" / f"gsm8k_{split}.jsonl.gz").write_bytes(gzip.compress(text.encode()))
    config = BenchmarkTask(name="gsm8k", data_dir=tmp_path / "data", num_train=7)
    plain, kept = load_task(config), stored_task(config, tmp_path / "runs")
    assert (kept.name, list(kept.train), list(kept.test)) == (plain.name, list(plain.train), list(plain.test))
    assert kept.fingerprint == plain.fingerprint
    monkeypatch.setattr(stored, "load_task", made_again)
    (tmp_path / "data").rename(tmp_path / "moved")
    moved = config.model_copy(update={"data_dir": tmp_path / "moved"})
    assert stored_task(moved, tmp_path / "runs").path == kept.path
    (tmp_path / "moved" / "gsm8k" / "gsm8k_test.jsonl.gz").unlink()
    monkeypatch.undo()
    with pytest.raises(DataError, match="no such file"):
        stored_task(moved, tmp_path / "runs")


def test_another_process_learns_the_keys_of_generated_questions_and_neither_makes_nor_reads_them(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    cell = CellConfig(task=GENERATED, student=ModelConfig(model="builtin:nano-student"), teacher=ProceduralTeacher())
    before = annotation_identity(annotation_request(cell, Work(tmp_path, print)), tmp_path)
    monkeypatch.setattr(stored, "load_task", made_again)
    monkeypatch.setattr(stored.StoredQuestions, "__iter__", made_again)
    assert annotation_identity(annotation_request(cell, Work(tmp_path, print)), tmp_path) == before
