"""A student outside of experiments: asked a bare question, it answers as in its evaluation."""

from __future__ import annotations

import contextlib
import json
import re
import urllib.request
from pathlib import Path
from typing import Any

import pytest
from tests.annotation.teachers.test_server import transformers_serve
from tests.command import run_command

from cotdistill.annotation import annotate
from cotdistill.config import AnnotationConfig, EvaluationConfig, ModelConfig, TrainingConfig, TransformersTeacher
from cotdistill.errors import DataError
from cotdistill.evaluation.evaluate import evaluate
from cotdistill.evaluation.harness import load_harness
from cotdistill.records import Prediction, Question, Rationale
from cotdistill.tasks.prompts import prompt_text
from cotdistill.tasks.reasoning import split_reasoning
from cotdistill.training.stage import Student, train


def rationales(number: int) -> list[Rationale]:
    questions = [Question(f"q{n}", "own", "train", f"What is {n} + {n}?", str(2 * n), "number") for n in range(number)]
    return [Rationale(one, f"{n} + {n} = {2 * n}.", "someone", None, "cot") for n, one in enumerate(questions)]


def trained_and_tested(runs: Path, **changes: Any) -> tuple[Student, list[Prediction]]:
    """A student that has learned the form of its answers, and its own outputs for three of its questions."""
    settings = TrainingConfig.model_validate({"epochs": 1, "learning_rate": 1e-3, "dtype": "float32"} | changes)
    student = train(ModelConfig(model="builtin:nano-student"), rationales(64), settings, seed=0, runs=runs)
    questions = [rationale.question for rationale in rationales(64)[10:13]]
    config = EvaluationConfig(max_new_tokens=40, dtype="float32")
    tested = evaluate(ModelConfig(model=str(student.model)), questions, target=student.target, config=config, runs=runs)
    return student, list(tested.predictions)


def test_a_bare_question_gets_the_answer_of_the_evaluation(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Asked by our command, and by the lines of the student's own card."""
    student, predictions = trained_and_tested(tmp_path / "runs")
    asked = [f"What is {n} + {n}?" for n in range(10, 13)]
    outcome = run_command(tmp_path, "ask", student.path, *asked, "--json", "--max-new-tokens", "40")
    replies = [json.loads(line) for line in outcome.out.splitlines()]
    assert [reply["question"] for reply in replies] == asked
    assert [reply["text"] for reply in replies] == [prediction.output.strip() for prediction in predictions]
    (snippet,) = re.findall(r"```python\n(.*?)```", (student.model / "README.md").read_text("utf-8"), re.DOTALL)
    monkeypatch.chdir(student.model)
    exec(compile(snippet.replace("What is 17 + 25?", asked[0]), "README.md", "exec"), {})
    assert capsys.readouterr().out.strip() == predictions[0].output.strip()
    assert [reply["num_prompt_tokens"] for reply in replies] == [each.num_prompt_tokens for each in predictions]


def test_what_cannot_be_asked_is_one_line(tmp_path: Path) -> None:
    for words in (("ask", "no-such-folder/x", "2 + 2?"), ("ask", "builtin:nano-student", "2 " * 5000)):
        outcome = run_command(tmp_path, *words, environment={"HF_HUB_OFFLINE": "1"})
        assert (outcome.status, outcome.err.count("\n")) == (2, 1)


WAYS: list[dict[str, Any]] = [{"target": "answer_only"}, {"target": "answer_then_rationale"}, {"response": "think"}]


@pytest.mark.parametrize("changes", WAYS, ids=str)
def test_a_bare_question_is_put_to_every_student_as_it_was_trained(changes: dict[str, Any], tmp_path: Path) -> None:
    student, predictions = trained_and_tested(tmp_path / "runs", **changes)
    asked = [f"What is {n} + {n}?" for n in range(10, 13)]
    outcome = run_command(tmp_path, "ask", student.path, *asked, "--json", "--max-new-tokens", "40")
    replies = [json.loads(line) for line in outcome.out.splitlines()]
    assert [reply["text"].strip() for reply in replies] == [said(each.output) for each in predictions]
    assert [reply["num_prompt_tokens"] for reply in replies] == [each.num_prompt_tokens for each in predictions]


def said(output: str) -> str:
    """What is said behind the thought."""
    return split_reasoning(output)[1].strip()


def test_nobody_instructs_a_student_twice(tmp_path: Path) -> None:
    """Neither our evaluation, nor an annotation that it writes as a teacher, nor lm-eval, with or without its template.

    Prompts are as long as those of the model that it was made from, whose template adds nothing.
    """
    student, predictions = trained_and_tested(tmp_path / "runs")
    own, base = ModelConfig(model=str(student.model)), ModelConfig(model="builtin:nano-student")
    questions = [rationale.question for rationale in rationales(64)[10:13]]
    config = EvaluationConfig(max_new_tokens=4, dtype="float32")
    untrained = evaluate(base, questions, target=student.target, config=config, runs=tmp_path / "runs")
    assert [each.num_prompt_tokens for each in untrained] == [each.num_prompt_tokens for each in predictions]
    written = []
    for model in (own, base):
        teacher = TransformersTeacher.model_validate({"model": model.model, "sampling": {"max_new_tokens": 4}})
        runs = tmp_path / Path(model.model).name
        with contextlib.suppress(DataError):  # what it writes in so few tokens is no rationale
            annotate(questions, teacher, AnnotationConfig(granularity=1, keep="all"), runs=runs)
        (log,) = runs.glob("completions/*/completions.jsonl")
        written.append(sorted(json.loads(line)["input_tokens"] for line in log.read_text().splitlines()))
    assert written[0] == written[1]
    pytest.importorskip("lm_eval")
    harnesses = [load_harness(model, dtype="float32") for model in (own, base)]
    asked = prompt_text(questions[0], student.target)
    assert harnesses[0].tok_encode(asked) == harnesses[1].tok_encode(asked)
    turns = [{"role": "user", "content": asked}]
    shown = [harness.apply_chat_template(turns) for harness in harnesses]
    assert shown[0] == shown[1]
    bare = harnesses[0].apply_chat_template([{"role": "user", "content": questions[0].question}])
    assert bare == shown[0], "a task of lm-eval that uses the template asks the student as it was trained"


@pytest.mark.slow
@pytest.mark.parametrize("changes", [{}, *(pytest.param(each, marks=pytest.mark.full) for each in WAYS)], ids=str)
def test_a_server_answers_a_bare_question_as_ask_does(changes: dict[str, Any], tmp_path: Path) -> None:
    student, predictions = trained_and_tested(tmp_path / "runs", **changes)
    with transformers_serve(student.model, tmp_path / "server.log", seconds=120) as url:
        for number, prediction in zip(range(10, 13), predictions, strict=True):
            turns = [{"role": "user", "content": f"What is {number} + {number}?"}]
            body = {"model": str(student.model), "messages": turns, "max_tokens": 40, "temperature": 0}
            request = urllib.request.Request(
                f"{url}/chat/completions", json.dumps(body).encode(), {"Content-Type": "application/json"}
            )
            with urllib.request.urlopen(request, timeout=120) as reply:
                answered = json.load(reply)["choices"][0]["message"]["content"]
            assert answered.strip() == prediction.output.removeprefix("<think>").strip()  # the prompt has opened it
