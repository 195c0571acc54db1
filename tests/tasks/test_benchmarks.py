"""Benchmarks: from a data folder, from the hub's rows, and what is said when neither can be had."""

from __future__ import annotations

import gzip
import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from tests.command import run_command

from cotdistill.config import BENCHMARKS, BenchmarkTask
from cotdistill.errors import DataError
from cotdistill.experiments.sizes import num_questions
from cotdistill.storage.jsonl import read_rows
from cotdistill.tasks import load_task
from cotdistill.tasks.benchmarks import benchmark
from cotdistill.tasks.load_benchmark import DATA_VARIABLE


def row(number: int, **changes: Any) -> dict[str, Any]:
    own = {"id": f"own-{number}", "question": f"What is {number} + 1?", "answer": f"{number + 1}.0", "choices": None}
    return own | changes


def write_svamp(folder: Path, train: list[dict[str, Any]], test: list[dict[str, Any]]) -> Path:
    (folder / "svamp").mkdir()
    for split, rows in (("train", train), ("test", test)):
        with gzip.open(folder / "svamp" / f"svamp_{split}.jsonl.gz", "wt") as file:
            file.writelines(json.dumps(row) + "\n" for row in rows)
    return folder


@pytest.mark.parametrize("name", BENCHMARKS)
def test_a_file_in_the_folder_is_a_benchmark_that_can_be_planned(name: str) -> None:
    """It is known by being there: to the config by its name, and to the plan by the sizes that it declares."""
    declared = benchmark(name)
    assert declared.name == name
    assert declared.sizes.keys() == declared.files.keys()
    train, test = num_questions(BenchmarkTask(name=name, num_train=5, num_test=1))
    assert (train, test) == (5 if "train" in declared.files else 0, declared.num_subtasks)


def test_plan_counts_a_benchmark_of_several_subtasks_without_its_data(tmp_path: Path) -> None:
    (tmp_path / "mine.yaml").write_text("task: math\nteacher: human\nstudent: builtin:nano-student\n")
    outcome = run_command(tmp_path, "plan", "mine.yaml")
    assert (outcome.status, outcome.err) == (0, "")
    assert "1 of 1 training" in outcome.out


def test_a_data_folder_is_read_and_limited(tmp_path: Path) -> None:
    human = row(1, rationale="1 and 1.", format="human")
    model = row(2, rationale="2 and 1.", format="cot")
    write_svamp(tmp_path, [human, model, row(3)], [row(8), row(9)])
    task = load_task(BenchmarkTask(name="svamp", data_dir=tmp_path, num_train=2, num_test=1))
    assert [question.id for question in task.train] == ["own-1", "own-2"]
    assert [question.id for question in task.test] == ["own-8"]
    assert [question.answer for question in task.train] == ["2", "3"]
    assert [question.human_rationale for question in task.train] == ["1 and 1.", None]


def test_the_environment_names_the_default_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(DATA_VARIABLE, str(write_svamp(tmp_path, [row(1)], [row(2)])))
    assert (
        load_task(BenchmarkTask(name="svamp")).fingerprint
        == load_task(BenchmarkTask(name="svamp", data_dir=tmp_path)).fingerprint
    )


def test_the_fingerprint_follows_the_content(tmp_path: Path) -> None:
    prints = set()
    for index, changes in enumerate([{}, {"answer": "3"}, {"question": "What else?"}, {"id": "other"}]):
        folder = tmp_path / str(index)
        folder.mkdir()
        write_svamp(folder, [row(1, **changes)], [row(2)])
        prints.add(load_task(BenchmarkTask(name="svamp", data_dir=folder)).fingerprint)
    assert len(prints) == 4


@pytest.mark.parametrize(
    ("train", "message"),
    [
        ([], "no rows"),
        ([row(1), row(1)], "line 2: id 'own-1' is already used in "),
        ([row(1), row(2, answer="some")], "line 2: answer 'some' is not of type number"),
        ([row(1, answer=None)], "line 1: row has no 'answer'"),
    ],
)
def test_faulty_rows_are_named(tmp_path: Path, train: list[dict[str, Any]], message: str) -> None:
    write_svamp(tmp_path, train, [row(9)])
    with pytest.raises(DataError) as error:
        load_task(BenchmarkTask(name="svamp", data_dir=tmp_path))
    assert message in str(error.value)
    assert "\n" not in str(error.value)


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"svamp_train\.jsonl\.gz: no such file; check data_dir"):
        load_task(BenchmarkTask(name="svamp", data_dir=tmp_path))


def test_without_a_network_one_line_says_what_to_do(tmp_path: Path) -> None:
    script = (
        "from cotdistill.config import BenchmarkTask\nfrom cotdistill.errors import DataError\n"
        "from cotdistill.tasks import load_task\n"
        "try:\n    load_task(BenchmarkTask(name='gsm8k'))\nexcept DataError as error:\n    print(error)"
    )
    environment = {key: value for key, value in os.environ.items() if key != DATA_VARIABLE}
    environment |= {"HF_HUB_OFFLINE": "1", "HF_HOME": str(tmp_path)}
    result = subprocess.run([sys.executable, "-c", script], env=environment, capture_output=True, text=True, check=True)
    assert result.stdout.count("\n") == 1
    assert result.stdout.startswith("gsm8k: ")
    assert "set data_dir (or $COTDISTILL_DATA) to a folder that holds gsm8k/gsm8k_train.jsonl.gz" in result.stdout


def test_hub_rows_become_questions() -> None:
    svamp = benchmark("svamp").from_hub(
        {"ID": "chal-0", "Body": "Ann has 3 pens. ", "Question": "How many?", "Answer": "3.0"}, "train", 0
    )
    assert svamp == {"id": "svamp-chal-0", "question": "Ann has 3 pens. How many?", "answer": "3.0"}
    solution = "Ann has 2*600=<<2*600=1200>>1200 pens.\nThat is all.\n#### 1,200"
    gsm8k = benchmark("gsm8k").from_hub({"question": "How many?", "answer": solution}, "test", 7)
    assert gsm8k["id"] == "gsm8k-test-00007"
    assert gsm8k["rationale"] == "Ann has 2*600=1200 pens.\nThat is all."
    assert gsm8k["answer"].strip() == "1,200"


@pytest.mark.shared
def test_hub_and_data_folder_agree_on_every_gsm8k_row(shared_data: Path) -> None:
    for split in ("train", "test"):
        for index, local in enumerate(read_rows(shared_data / "gsm8k" / f"gsm8k_{split}.jsonl.gz")):
            hub_row = {"question": local["question"], "answer": local["meta"]["solution_raw"]}
            made = benchmark("gsm8k").from_hub(hub_row, split, index)
            assert (made["id"], made["rationale"]) == (local["id"], local["rationale"])
            assert made["answer"].strip().replace(",", "") == local["answer"]


@pytest.mark.shared
def test_hub_and_data_folder_agree_on_every_svamp_row(shared_data: Path) -> None:
    for split, count in (("train", 700), ("test", 300)):
        rows = list(read_rows(shared_data / "svamp" / f"svamp_{split}.jsonl.gz"))
        assert len(rows) == count
        for index, local in enumerate(rows):
            hub_row = local["meta"] | {"Answer": str(local["meta"]["Answer_raw"])}
            made = benchmark("svamp").from_hub(hub_row, split, index)
            assert (made["id"], made["question"]) == (local["id"], local["question"])


@pytest.mark.shared
def test_real_benchmarks_load_whole(shared_data: Path) -> None:
    sizes = {
        "svamp": (700, 300),
        "gsm8k": (7473, 1319),
        "aqua": (254, 254),
        "commonsenseqa": (9741, 1221),
        "openbookqa": (4957, 500),
        "strategyqa": (2061, 229),
    }
    for name, size in sizes.items():
        task = load_task(BenchmarkTask(name=name, data_dir=shared_data))
        assert (len(task.train), len(task.test)) == size
        assert (task.test[0].choices is None) == (task.test[0].answer_type != "letter")
