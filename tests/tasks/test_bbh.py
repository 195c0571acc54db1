"""BIG-Bench-Hard: its columns, its faults, its few-shot prompts, and scores that are known."""

from __future__ import annotations

import gzip
import json
from collections import Counter
from pathlib import Path

import pytest
import yaml

from cotdistill.config import BenchmarkTask
from cotdistill.errors import ConfigError, DataError
from cotdistill.records import Question
from cotdistill.storage.jsonl import read_rows
from cotdistill.tasks import load_task
from cotdistill.tasks.answers.reading import judge
from cotdistill.tasks.benchmarks.bbh import ANSWER_TYPES, FAULTY, GROUPS, columns
from cotdistill.tasks.few_shot import PROMPTS_FILE, few_shot_texts, harness_prompts, official_prompts
from cotdistill.tasks.load_benchmark import DATA_VARIABLE

CODEX_ACCURACY = Path(__file__).parents[1] / "golden" / "codex_bbh_accuracy.json"


def write_prompts(folder: Path, subtasks=tuple(ANSWER_TYPES)) -> Path:
    (folder / "bbh").mkdir()
    with gzip.open(folder / PROMPTS_FILE, "wt") as file:
        for name in subtasks:
            text = f"Never train on this. canary GUID 0-0\n-----\nDo {name}.\n\nQ: one?\nA: Let's think. So.\n"
            file.write(json.dumps({"task": name, "prompt_raw": text}) + "\n")
    return folder


def bbh_question(subtask: str = "navigate") -> Question:
    return Question("q", f"bbh/{subtask}", "test", "Back?", "No", "yes_no", meta={"input": "Back?\nOptions:\n- Yes"})


def test_the_groups_are_made_of_subtasks():
    named = [name for names in GROUPS.values() for name in names]
    assert set(named) <= set(ANSWER_TYPES)
    assert set(ANSWER_TYPES) - set(named) == {
        "formal_fallacies",
        "penguins_in_a_table",
        "reasoning_about_colored_objects",
    }
    assert len(ANSWER_TYPES) == 27


@pytest.mark.parametrize(
    ("subtask", "text", "answer", "expected"),
    [
        ("snarks", "Which?\nOptions:\n(A) x\n(B) y z", "(B)", ("Which?", ["x", "y z"], "letter")),
        ("snarks", "Which?\nOptions:\n(A) x y", "(A)", ("Which?\nOptions:\n(A) x y", None, "letter")),
        ("ruin_names", "Which?\nOptions:\n(A) x\n(B) y", "x, y", ("Which?\nOptions:\n(A) x\n(B) y", None, "text")),
        ("navigate", "Back?\nOptions:\n- Yes\n- No", "No", ("Back?\nOptions:\n- Yes\n- No", None, "yes_no")),
    ],
)
def test_options_with_letters_become_choices_and_faults_do_not_pass_for_them(subtask, text, answer, expected):
    made = columns({"id": "q", "question": text, "answer": answer}, subtask)
    assert (made["question"], made["choices"], made["answer_type"]) == expected
    assert made["meta"] == {"input": text, "target": answer}


def test_the_canary_never_reaches_a_prompt(tmp_path):
    prompts = official_prompts(write_prompts(tmp_path))
    assert prompts["navigate"] == "Do navigate.\n\nQ: one?\nA: Let's think. So."
    (text,) = few_shot_texts([bbh_question()], 3, tmp_path)
    assert text == f"{prompts['navigate']}\n\nQ: Back?\nOptions:\n- Yes\nA: Let's think step by step.\n"


def test_few_shot_prompts_of_other_tasks_and_missing_ones_are_refused(tmp_path, monkeypatch):
    other = Question("q", "svamp", "test", "?", "1", "number")
    with pytest.raises(ConfigError, match=r"few_shot: there is no official prompt with 3 examples for task 'svamp'"):
        few_shot_texts([other], 3, write_prompts(tmp_path, ["navigate"]))
    with pytest.raises(DataError, match="no prompt for boolean_expressions"):
        few_shot_texts([bbh_question()], 3, tmp_path)
    monkeypatch.setenv(DATA_VARIABLE, str(tmp_path / "elsewhere"))
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    with pytest.raises(DataError, match="or pip install lm-eval"):
        official_prompts(None)


def test_prompts_are_put_together_from_the_harness_task_files(tmp_path):
    samples = [{"input": "one?", "target": "So no."}, {"input": "two?", "target": "So yes."}]
    task = {"dataset_name": "navigate", "description": "Do it.\n\n", "fewshot_config": {"samples": samples}}
    file = tmp_path / "navigate.yaml"
    file.write_text(yaml.safe_dump(task))
    opening = "A: Let's think step by step."
    expected = f"Do it.\n\nQ: one?\n{opening}\nSo no.\n\nQ: two?\n{opening}\nSo yes."
    assert harness_prompts([file]) == {"navigate": expected}


@pytest.mark.shared
def test_the_whole_of_bbh_loads_and_its_faults_are_left_out_on_demand(shared_data):
    whole = load_task(BenchmarkTask(name="bbh", data_dir=shared_data))
    sound = load_task(BenchmarkTask(name="bbh", data_dir=shared_data, exclude_faulty=True))
    assert (len(whole.train), len(whole.test), len(sound.test), sound.dropped) == (0, 6511, 6501, {"faulty": 10})
    assert {question.task for question in whole.test} == {f"bbh/{name}" for name in ANSWER_TYPES}
    assert {q.id for q in whole.test} - {q.id for q in sound.test} == FAULTY
    unlettered = [q.id for q in whole.test if q.answer_type == "letter" and q.choices is None]
    assert unlettered == ["bbh-snarks-088"]
    few = load_task(BenchmarkTask(name="bbh", data_dir=shared_data, subtasks=["navigate", "snarks"], num_test=3))
    assert Counter(q.task for q in few.test) == {"bbh/navigate": 3, "bbh/snarks": 3}


@pytest.mark.shared
def test_every_faulty_openbookqa_item_exists(shared_data):
    task = load_task(BenchmarkTask(name="openbookqa", data_dir=shared_data, exclude_faulty=True))
    assert (len(task.train), len(task.test), task.dropped) == (4950, 500, {"faulty": 7})


@pytest.mark.shared
def test_real_prompts_have_three_examples_and_no_canary(shared_data):
    for text in official_prompts(shared_data).values():
        assert text.count("\n\nQ: ") == 3
        assert "canary" not in text


@pytest.mark.shared
def test_codex_scores_on_each_task_what_its_release_says(shared_data):
    questions = {q.id: q for q in load_task(BenchmarkTask(name="bbh", data_dir=shared_data)).test}
    correct, claimed = Counter(), Counter()
    for row in read_rows(shared_data / "bbh" / "code_davinci_002_cot.jsonl.gz"):
        _, verdict = judge(row["output"], questions[row["meta"]["bbh_id"]], finished=True)
        correct[row["task"]] += verdict == "correct"
        claimed[row["task"]] += row["meta"]["teacher_correct"]
    sizes = Counter(q.task.partition("/")[2] for q in questions.values())
    golden = json.loads(CODEX_ACCURACY.read_text())
    assert dict(correct) == dict(claimed)
    assert {task: [correct[task], sizes[task]] for task in sizes} == golden
    assert 100 * sum(correct[task] / sizes[task] for task in sizes) / 27 == pytest.approx(73.71, abs=0.005)
