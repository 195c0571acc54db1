"""lm-eval's samples as our records and back; and lm-eval itself, where it is installed."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from tests.tiny import save_tiny

from cotdistill.config import ModelConfig
from cotdistill.errors import ConfigError, DataError
from cotdistill.evaluation import harness
from cotdistill.evaluation.harness import evaluate_with_harness, export_samples, from_sample
from cotdistill.records import Prediction, Question
from cotdistill.storage.jsonl import read_rows

GENERATED: dict[str, Any] = {
    "doc_id": 4,
    "target": "7",
    "arguments": [["Q: 12 - 5?\nA:", {"until": ["\n\n"]}]],
    "resps": [["It is 7. So the answer is 7."]],
    "filtered_resps": ["7"],
    "filter": "get-answer",
    "metrics": ["exact_match"],
    "exact_match": 1.0,
}
CHOSEN: dict[str, Any] = {
    "doc_id": 0,
    "target": 1,
    "arguments": [["The sky is", " green"], ["The sky is", " blue"]],
    "resps": [[[-9.0, False]], [[-2.0, True]]],
    "filtered_resps": [[-9.0, False], [-2.0, True]],
    "filter": "none",
    "metrics": ["acc", "acc_norm"],
    "acc": 1.0,
    "acc_norm": 0.0,
}


def words(text: str) -> int:
    return len(text.split())


def test_a_generated_sample_keeps_output_and_the_harnesss_verdict():
    question, prediction = from_sample("bbh", GENERATED, num_tokens=words)
    assert (question.id, question.question, question.answer) == ("bbh-4", "Q: 12 - 5?\nA:", "7")
    assert prediction == Prediction(
        "bbh-4", "bbh", "7", "It is 7. So the answer is 7.", "7", "correct", num_prompt_tokens=5, num_output_tokens=8
    )
    assert from_sample("bbh", GENERATED | {"exact_match": 0.0}, num_tokens=words)[1].verdict == "wrong"
    unread = GENERATED | {"exact_match": 0.0, "filtered_resps": ["[invalid]"]}
    assert from_sample("bbh", unread, num_tokens=words)[1].verdict == "unreadable"


def test_a_sample_of_choices_gives_the_likeliest_one():
    question, prediction = from_sample("sky", CHOSEN, num_tokens=words)
    assert (prediction.output, prediction.answer, prediction.verdict) == ("blue", "blue", "correct")
    assert question.meta == {"metric": "acc"}
    by_length = from_sample("sky", CHOSEN, num_tokens=words, metric="acc_norm")
    assert by_length[1].verdict == "wrong"


def test_a_metric_that_is_no_verdict_is_refused():
    graded = CHOSEN | {"metrics": ["bleu"], "bleu": 31.5}
    del graded["acc"]
    with pytest.raises(ConfigError, match=r"lm-eval's task sky: none of its metrics \(bleu\) tells whether each item"):
        from_sample("sky", graded, num_tokens=words)
    with pytest.raises(ConfigError, match="its metric 'f1'"):
        from_sample("sky", CHOSEN, num_tokens=words, metric="f1")


QUESTIONS = [
    Question("a", "bbh/navigate", "test", "Do you return?", "Yes", "yes_no"),
    Question("b", "svamp", "test", "12 - 5?", "7", "number"),
]
PREDICTIONS = [
    Prediction("a", "bbh/navigate", "Yes", "The answer is Yes.", "Yes", "correct", 10, 5),
    Prediction("b", "svamp", "7", "\ud800 <b>seven</b>\x00", None, "unreadable", 10, 5),
]


def test_our_predictions_become_samples_that_we_can_read_back(tmp_path):
    written = export_samples(QUESTIONS, PREDICTIONS, tmp_path)
    assert {task: row["samples"] for task, row in written.items()} == {"bbh/navigate": 1, "svamp": 1}
    for prediction in PREDICTIONS:
        (row,) = read_rows(Path(written[prediction.task]["path"]))
        assert {"doc_id", "doc", "target", "arguments", "resps", "filtered_resps", "filter", "metrics"} < set(row)
        row["arguments"] = [[row["arguments"]["gen_args_0"]["arg_0"], {}]]
        back = from_sample(prediction.task, row, num_tokens=words)[1]
        assert (back.output, back.extracted, back.verdict) == (
            prediction.output, prediction.extracted, prediction.verdict,
        )  # fmt: skip
    with pytest.raises(DataError, match="the question 'b' of task svamp is missing"):
        export_samples(QUESTIONS[:1], PREDICTIONS, tmp_path)


GENERATING = """
task: own_sums
dataset_path: json
dataset_kwargs: {data_files: {test: DATA}}
test_split: test
output_type: generate_until
doc_to_text: "Q: {{question}}\\nA:"
doc_to_target: "{{answer}}"
generation_kwargs: {until: ["\\n"], max_gen_toks: 4, do_sample: false}
metric_list: [{metric: exact_match, aggregation: mean, higher_is_better: true}]
"""
CHOOSING = """
task: own_choices
dataset_path: json
dataset_kwargs: {data_files: {test: DATA}}
test_split: test
output_type: multiple_choice
doc_to_text: "{{question}}"
doc_to_choice: ["1", "2"]
doc_to_target: "{{answer|int - 1}}"
metric_list: [{metric: acc, aggregation: mean, higher_is_better: true}]
"""


def test_two_task_files_of_one_name_are_refused(tmp_path, monkeypatch):
    monkeypatch.setattr(harness, "_require_lm_eval", lambda: None)
    with pytest.raises(ConfigError, match="two of the tasks are called 'sums'"):
        evaluate_with_harness(ModelConfig(model="none"), ["a/sums.yaml", "b/sums.yaml"], runs=tmp_path)


def test_lm_eval_runs_its_tasks_on_a_student_and_no_task_twice(tmp_path, monkeypatch):
    pytest.importorskip("lm_eval", reason="lm-eval is not installed: pip install 'cotdistill[lm-eval]'")
    monkeypatch.setenv("HF_DATASETS_CACHE", str(tmp_path / "cache"))
    rows = [{"question": f"{n} - {n - 1 - n % 2}", "answer": str(1 + n % 2)} for n in range(3, 9)]
    data = tmp_path / "rows.jsonl"
    data.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    for name, text in (("sums", GENERATING), ("choices", CHOOSING)):
        (tmp_path / f"{name}.yaml").write_text(text.replace("DATA", str(data)), encoding="utf-8")
    tasks = [str(tmp_path / "sums.yaml"), str(tmp_path / "choices.yaml")]
    student = ModelConfig(model=str(save_tiny(tmp_path / "student")))
    done = evaluate_with_harness(student, tasks, runs=tmp_path / "runs", limit=4, max_batch_size=2, dtype="float32")
    assert {task: score.n for task, score in done.scores.items()} == {"own_choices": 4, "own_sums": 4}
    for prediction in done.predictions:
        if prediction.task == "own_choices":
            assert prediction.correct == (prediction.output == prediction.answer)
            assert prediction.output in ("1", "2")
    marks = {path: path.stat().st_mtime_ns for path in done.path.rglob("*.jsonl")}
    again = evaluate_with_harness(student, tasks, runs=tmp_path / "runs", limit=4, max_batch_size=2, dtype="float32")
    assert again == done
    assert {path: path.stat().st_mtime_ns for path in done.path.rglob("*.jsonl")} == marks


def test_tasks_that_cannot_run_here_are_refused_before_the_model_is_loaded(tmp_path, monkeypatch):
    pytest.importorskip("lm_eval", reason="lm-eval is not installed: pip install 'cotdistill[lm-eval]'")
    monkeypatch.setenv("HF_DATASETS_CACHE", str(tmp_path / "cache"))
    student = ModelConfig(model=str(save_tiny(tmp_path / "student")))
    monkeypatch.delattr(harness, "load_harness")
    (tmp_path / "rows.jsonl").write_text('{"question": "1?", "answer": "1"}\n', encoding="utf-8")
    for name in ("parses", "fails"):
        text = GENERATING.replace("DATA", str(tmp_path / "rows.jsonl")) + f"process_results: !function {name}.judge\n"
        (tmp_path / f"{name}.yaml").write_text(text, encoding="utf-8")
    (tmp_path / "parses.py").write_text("def parse_latex(text): pass\ndef judge(doc, results): return {}\n")
    (tmp_path / "fails.py").write_text("raise AssertionError('`antlr4` is\\nrequired')\n")
    monkeypatch.setattr(harness, "_version", lambda package: "4.13.2")
    for task, line in {
        "no_such_task": "tasks: lm-eval does not have such a task",
        f"{tmp_path}/fails.yaml": "fails.yaml: lm-eval cannot load the task (`antlr4` is required); check the",
        str(
            tmp_path / "parses.yaml"
        ): "parses.yaml: it reads LaTeX with antlr4-python3-runtime 4.11, but 4.13.2 is installed",
    }.items():
        with pytest.raises(ConfigError) as error:
            evaluate_with_harness(student, [task], runs=tmp_path / "runs")
        assert line in str(error.value)
        assert "\n" not in str(error.value)
