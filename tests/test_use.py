"""A student outside of experiments: asked a bare question, it answers as in its evaluation."""

from __future__ import annotations

import json
import re
import urllib.request
from pathlib import Path

import pytest
from tests.annotation.teachers.test_server import transformers_serve
from tests.command import run_command

from cotdistill.config import EvaluationConfig, ModelConfig, TrainingConfig
from cotdistill.evaluation.evaluate import evaluate
from cotdistill.records import Prediction, Question, Rationale
from cotdistill.training.stage import Student, train


def rationales(number: int) -> list[Rationale]:
    questions = [Question(f"q{n}", "own", "train", f"What is {n} + {n}?", str(2 * n), "number") for n in range(number)]
    return [Rationale(one, f"{n} + {n} = {2 * n}.", "someone", None, "cot") for n, one in enumerate(questions)]


def trained_and_tested(runs: Path) -> tuple[Student, list[Prediction]]:
    """A student that has learned the form of its answers, and its own outputs for three of its questions."""
    settings = TrainingConfig(epochs=1, learning_rate=1e-3, dtype="float32")
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


@pytest.mark.slow
def test_a_server_answers_a_bare_question_as_ask_does(tmp_path: Path) -> None:
    student, predictions = trained_and_tested(tmp_path / "runs")
    with transformers_serve(student.model, tmp_path / "server.log", seconds=120) as url:
        for number, prediction in zip(range(10, 13), predictions, strict=True):
            turns = [{"role": "user", "content": f"What is {number} + {number}?"}]
            body = {"model": str(student.model), "messages": turns, "max_tokens": 40, "temperature": 0}
            request = urllib.request.Request(
                f"{url}/chat/completions", json.dumps(body).encode(), {"Content-Type": "application/json"}
            )
            with urllib.request.urlopen(request, timeout=120) as reply:
                said = json.load(reply)["choices"][0]["message"]["content"]
            assert said.strip() == prediction.output.strip()
