"""A user's own questions as tasks of an experiment: what is trained on, what is tested, under which names."""

from __future__ import annotations

import gzip
import json
from pathlib import Path
from typing import Any

import pytest
from tests.command import run_command
from tests.tasks.own import write_jsonl, write_parquet

from cotdistill.config import CellConfig, FileTask, validated
from cotdistill.errors import ConfigError, DataError
from cotdistill.tasks import load_task


def rows(first: int, count: int) -> list[dict[str, Any]]:
    return [
        {"question": f"What is {n}\n+ {n}?", "answer": 2 * n, "rationale": f"{n} + {n} = {2 * n}."}
        for n in range(first, first + count)
    ]


@pytest.fixture
def lab(tmp_path: Path) -> Path:
    for name, (first, count) in {"train": (0, 60), "easy": (100, 30), "hard": (200, 20)}.items():
        write_jsonl(tmp_path / f"{name}.jsonl", rows(first, count))
    return tmp_path


def cell(lab: Path, **settings: Any) -> CellConfig:
    values = {"task": {"train": "train.jsonl", "test": "easy.jsonl"}, "student": "builtin:nano-student"}
    return validated(CellConfig, values | settings, where="mine.yaml", folder=lab)


def names(config: CellConfig) -> dict[str, int]:
    """The number of test questions by the name of their task."""
    counts: dict[str, int] = {}
    for task in config.evaluation.tasks or (config.task,):
        for question in load_task(task).test:
            counts[question.task] = counts.get(question.task, 0) + 1
    return counts


def test_a_file_that_is_tested_on_is_so_whole_under_its_own_name(lab: Path) -> None:
    two = {"easy": 30, "hard": 20}
    assert names(cell(lab)) == {"easy": 30}
    assert names(cell(lab, evaluation={"tasks": ["easy.jsonl", "hard.jsonl"]})) == two
    with_train = [{"train": "train.jsonl", "test": f"{name}.jsonl"} for name in two]
    assert names(cell(lab, evaluation={"tasks": with_train})) == two
    own = [{"test": "easy.jsonl", "name": "first"}, {"test": "hard.jsonl", "num_test": 5}]
    assert names(cell(lab, evaluation={"tasks": own})) == {"first": 30, "hard": 5}


def test_a_test_file_is_the_same_task_wherever_it_is_named(lab: Path) -> None:
    assert load_task(cell(lab).task).test == load_task(FileTask(test=lab / "easy.jsonl")).test


def test_a_task_may_have_a_test_alone(lab: Path) -> None:
    task = load_task(FileTask(test=lab / "easy.jsonl"))
    assert (task.name, len(task.train), len(task.test)) == ("easy", 0, 30)


def test_two_tasks_of_one_name_are_refused(lab: Path) -> None:
    (lab / "more").mkdir()
    write_jsonl(lab / "more" / "easy.jsonl", rows(300, 5))
    with pytest.raises(ConfigError, match=r"two of the tasks are called 'easy'; give them names: \{name: NAME, test"):
        cell(lab, evaluation={"tasks": ["easy.jsonl", "more/easy.jsonl"]})
    named = {"name": "more-easy", "test": "more/easy.jsonl"}
    assert names(cell(lab, evaluation={"tasks": ["easy.jsonl", named]})) == {"easy": 30, "more-easy": 5}


def test_the_file_that_is_trained_on_is_not_tested_on_whole(lab: Path) -> None:
    with pytest.raises(ConfigError, match=r"tests on all of train.jsonl, which is trained on; write \{train: train"):
        cell(lab, evaluation={"tasks": ["train.jsonl"]})
    assert names(cell(lab, evaluation={"tasks": ["train.jsonl"]}, training=None)) == {"train": 60}
    held_out = cell(lab, task="train.jsonl", evaluation={"tasks": [{"train": "train.jsonl"}, "hard.jsonl"]})
    assert names(held_out)["train"] == len(load_task(held_out.task).test) < 30


def test_a_task_without_a_training_side_trains_nothing(lab: Path) -> None:
    with pytest.raises(ConfigError, match=r"nothing to train on; give task.train, or set training: null"):
        cell(lab, task={"test": "easy.jsonl"})


def test_a_file_task_without_a_file_is_refused(lab: Path) -> None:
    with pytest.raises(ConfigError, match="needs a file; give train, test or both"):
        cell(lab, task={"kind": "file"})


# ---- plan -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", ["own.jsonl", "own.JSONL", "own.CSV", "own.csv.gz", "own.jsonl.gz", "own.parquet"])
def test_plan_counts_the_rows_that_it_read(tmp_path: Path, kind: str) -> None:
    table = "question,rationale,answer\n" + "".join(
        f'"{r["question"]}",{r["rationale"]},{r["answer"]}\n' for r in rows(0, 60)
    )
    text = "".join(json.dumps(row) + "\n" for row in rows(0, 60)) if "json" in kind.lower() else table
    if kind.endswith("parquet"):
        write_parquet(tmp_path / kind, rows(0, 60))
    else:
        (tmp_path / kind).write_bytes(gzip.compress(text.encode()) if kind.endswith(".gz") else text.encode())
    (tmp_path / "mine.yaml").write_text(f"task: {kind}\nteacher: human\nstudent: builtin:nano-student\n")
    outcome = run_command(tmp_path, "plan", "mine.yaml")
    task = load_task(FileTask(train=tmp_path / kind))
    assert len(task.train) + len(task.test) == 60
    line = f"questions of own: {len(task.train)} to train on, {len(task.test)} to test on; answers: number (2; 4; 6)"
    assert outcome.out.startswith(f"{line}\n")
    as_json = json.loads(run_command(tmp_path, "plan", "mine.yaml", "--json").out)
    assert as_json["tasks"][0]["answers"]["number"] == {"count": 60, "examples": ["2", "4", "6"]}


def test_plan_shows_what_a_letter_stands_for_and_what_is_left_out(tmp_path: Path) -> None:
    choice = {"question": "Which?", "choices": ["rain " * 30, "wind"], "answer": "A"}
    write_jsonl(tmp_path / "own.jsonl", [choice, choice, choice | {"question": "What?", "answer": "wind"}])
    (tmp_path / "mine.yaml").write_text("task: {test: own.jsonl}\nstudent: builtin:nano-student\ntraining: null\n")
    outcome = run_command(tmp_path, "plan", "mine.yaml")
    assert outcome.out.startswith(
        "questions of own: 0 to train on, 2 to test on; "
        "answers: letter (A: rain rain rain rain rain rain rain ...; B: wind); dropped: 1 repeated\n"
    )


# ---- the hub --------------------------------------------------------------------------------------------------------


@pytest.fixture
def data_set(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A data set in the shape of the hub's: Parquet files, one a split, with a class label."""
    datasets = pytest.importorskip("datasets")
    monkeypatch.setenv("HF_DATASETS_CACHE", str(tmp_path / "cache"))
    folder = tmp_path / "weather"
    folder.mkdir()
    label = datasets.ClassLabel(names=["A", "B", "C", "D"])
    features = datasets.Features(
        {"text": datasets.Value("string"), "options": datasets.List(datasets.Value("string")), "label": label}
    )
    for split, count in (("train", 8), ("validation", 3)):
        content = [
            {"text": f"{split} {n}?", "options": ["sun", "2", "rain", "0"], "label": n % 4} for n in range(count)
        ]
        datasets.Dataset.from_list(content, features=features).to_parquet(folder / f"{split}.parquet")
    return folder


COLUMNS = {"question": "text", "choices": "options", "answer": "label"}


def test_a_hub_data_set_is_read_by_its_columns_and_labels(data_set: Path) -> None:
    hub = {"hub": "./weather", "test": "validation", "columns": COLUMNS}
    config = cell(data_set.parent, task=hub)
    task = load_task(config.task)
    assert (task.name, len(task.train), len(task.test)) == ("weather", 8, 3)
    assert [(q.question, q.answer, q.choices) for q in task.test[:2]] == [
        ("validation 0?", "A", ("sun", "2", "rain", "0")),
        ("validation 1?", "B", ("sun", "2", "rain", "0")),
    ]
    named = cell(data_set.parent, evaluation={"tasks": [hub | {"name": "mine", "train": None}]}, training=None)
    assert names(named) == {"mine": 3}


def test_a_hub_data_set_without_a_test_split_holds_out_a_share(data_set: Path) -> None:
    config = cell(data_set.parent, task={"hub": "./weather", "test": None, "test_share": 0.5, "columns": COLUMNS})
    task = load_task(config.task)
    assert len(task.train) + len(task.test) == 8


@pytest.mark.parametrize(
    ("hub", "line"),
    [
        ({"hub": "./weather"}, 'weather from the hub (Unknown split "test"'),
        ({"hub": "./absent"}, "absent from the hub ("),
        ({"hub": "nobody/nothing-here"}, "cannot load nobody/nothing-here from the hub ("),
    ],
)
def test_a_hub_data_set_that_cannot_be_had_is_one_line(
    data_set: Path, monkeypatch: pytest.MonkeyPatch, hub: dict[str, Any], line: str
) -> None:
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    with pytest.raises(DataError) as error:
        load_task(cell(data_set.parent, task=hub | {"columns": COLUMNS}).task)
    assert line in str(error.value)
    assert str(error.value).isprintable()
    assert "check its name, subset, splits (test: null holds out a share of train)" in str(error.value)
