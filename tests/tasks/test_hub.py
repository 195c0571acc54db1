"""Benchmarks read as from the hub: tiny data sets of our own writing in the shape of the hub's, one a benchmark."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from cotdistill.config import BenchmarkTask
from cotdistill.errors import ConfigError
from cotdistill.records import Question
from cotdistill.tasks import Task
from cotdistill.tasks.benchmarks import benchmark
from cotdistill.tasks.load_benchmark import DATA_VARIABLE, load_benchmark

CHOICES = {"label": ["A", "B", "C"], "text": ["rain", "wind", "snow"]}
NUMBERED = {"label": ["1", "2", "3"], "text": ["rain", "wind", "snow"]}

LETTER_INPUT = "Which is drier?\nOptions:\n(A) rain\n(B) wind"


@pytest.fixture
def hub(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """Loads a benchmark whose hub data set is a local one with these rows, by config and split."""
    monkeypatch.delenv(DATA_VARIABLE, raising=False)
    monkeypatch.setenv("HF_DATASETS_CACHE", str(tmp_path / "cache"))

    def load(name: str, rows: dict[tuple[str, str], list[dict[str, Any]]], **settings: Any) -> Task:
        pytest.importorskip("datasets")
        folder = tmp_path / "hub"
        folder.mkdir()
        card = ["---", "configs:"]
        for config in dict.fromkeys(config for config, _ in rows):
            card += [f"- config_name: {config}", "  data_files:"]
            for split in (split for one, split in rows if one == config):
                lines = [json.dumps(row) + "\n" for row in rows[config, split]]
                (folder / f"{config}-{split}.jsonl").write_text("".join(lines))
                card += [f"  - split: {split}", f"    path: {config}-{split}.jsonl"]
        (folder / "README.md").write_text("\n".join([*card, "---", ""]))
        declared = replace(benchmark(name), hub=str(folder))
        return load_benchmark(declared, BenchmarkTask(name=name, **settings))

    return load


def facts(question: Question) -> tuple[Any, ...]:
    return question.id, question.task, question.question, question.choices, question.answer


def test_aqua(hub):
    row = {"question": "What is 2 + 1?", "options": ["A)2", "B) 3"], "correct": "B", "rationale": "2 + 1 = 3"}
    task = hub("aqua", {("raw", "train"): [row], ("raw", "test"): [row]})
    assert facts(task.test[0]) == ("aqua-test-00000", "aqua", "What is 2 + 1?", ("2", "3"), "B")
    assert task.train[0].human_rationale == "2 + 1 = 3"


def test_commonsenseqa_is_tested_on_its_development_split(hub):
    row = {"id": "7a", "question": "What falls white?", "choices": CHOICES, "answerKey": "C"}
    rows = {("default", "train"): [row], ("default", "validation"): [row | {"id": "7b"}]}
    assert [q.id for q in hub("commonsenseqa", rows).test] == ["csqa-7b"]


def test_openbookqa(hub):
    row = {"id": "x", "question_stem": "What falls white?", "choices": CHOICES, "answerKey": "C "}
    task = hub("openbookqa", {("main", "train"): [row], ("main", "test"): [row]})
    assert facts(task.test[0]) == ("obqa-test-00000", "openbookqa", "What falls white?", ("rain", "wind", "snow"), "C")


def test_strategyqa(hub):
    row = {"qid": "9", "question": "Is snow warm?", "facts": "Snow is frozen.", "answer": False}
    task = hub("strategyqa", {("default", "train"): [row], ("default", "test"): [row]})
    assert facts(task.test[0]) == ("strategyqa-9", "strategyqa", "Is snow warm?", None, "False")
    assert task.test[0].human_rationale == "Snow is frozen."


@pytest.mark.parametrize(("choices", "key"), [(CHOICES, "C"), (NUMBERED, "3")])
@pytest.mark.parametrize("level", ["Challenge", "Easy"])
def test_arc_labels_are_letters_or_numbers(hub, choices, key, level):
    row = {"id": "M1", "question": "What falls white?", "choices": choices, "answerKey": key}
    task = hub(f"arc_{level.lower()}", {(f"ARC-{level}", "train"): [row], (f"ARC-{level}", "test"): [row]})
    assert (task.test[0].id, task.test[0].answer) == ("arc-M1", "C")


def test_mmlu_has_subjects_for_subtasks(hub):
    rows = [
        {"question": "2 + 1?", "subject": subject, "choices": ["1", "2", "3", "4"], "answer": 2}
        for subject in ("sums", "history", "sums")
    ]
    task = hub("mmlu", {("all", "test"): rows}, subtasks=["sums"], num_test=1)
    assert task.train == ()
    assert [facts(q) for q in task.test] == [("mmlu-00000", "mmlu/sums", "2 + 1?", ("1", "2", "3", "4"), "C")]


def test_bbh_reads_only_the_subtasks_that_are_wanted(hub):
    rows = {
        ("navigate", "test"): [{"input": "Back?\nOptions:\n- Yes\n- No", "target": "No"}],
        ("snarks", "test"): [{"input": LETTER_INPUT, "target": "(B)"}] * 2,
    }
    task = hub("bbh", rows, subtasks=["navigate", "snarks"])
    assert [facts(q) for q in task.test] == [
        ("bbh-navigate-000", "bbh/navigate", "Back?\nOptions:\n- Yes\n- No", None, "No"),
        ("bbh-snarks-000", "bbh/snarks", "Which is drier?", ("rain", "wind"), "B"),
        ("bbh-snarks-001", "bbh/snarks", "Which is drier?", ("rain", "wind"), "B"),
    ]
    assert task.test[1].meta["input"] == LETTER_INPUT


def test_an_unknown_subtask_is_named(hub):
    rows = {("all", "test"): [{"question": "?", "subject": "sums", "choices": ["1", "2"], "answer": 1}]}
    with pytest.raises(ConfigError, match="mmlu has no subtask 'sum'; did you mean 'sums'"):
        hub("mmlu", rows, subtasks=["sum"])
