"""A model behind a server on localhost: retried, resumed, and nothing of the key on disk."""

from __future__ import annotations

import importlib.util
import json
import os
import signal
import time
from collections.abc import Callable

import pytest
from tests.annotation.teachers.faulty_server import FaultyServer
from tests.command import Command, run_command

from cotdistill.config import EvaluationConfig, Limits, ModelConfig, ServerSettings, validated
from cotdistill.errors import ConfigError, DataError, ModelError
from cotdistill.evaluation.evaluate import Evaluation, evaluate
from cotdistill.records import Question

SECRET = "sk-very-secret"
QUESTIONS = [Question(f"q{n}", "own", "test", f"{n} + 1?", str(n + 1), "number") for n in range(12)]


@pytest.fixture(autouse=True)
def key(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OWN_KEY", SECRET)


def reply(prompt: str) -> str:
    """Right but for 3 + 1."""
    number = int(prompt.split()[0])
    return f"It is one more. The answer is {number + (2 if number == 3 else 1)}."


def run(url: str, tmp_path, *, questions: list[Question] = QUESTIONS, **settings) -> Evaluation:
    limits = Limits(concurrency=4, max_retries=2)
    engine = ServerSettings(base_url=url, api_key_variable="OWN_KEY", limits=limits)
    config = EvaluationConfig(engine=engine, max_new_tokens=32, **settings)
    return evaluate(ModelConfig(model="some-model"), questions, target="rationale", config=config, runs=tmp_path)


def served_run(url: str, tmp_path, **settings) -> str:
    """The name of a run file in ``tmp_path`` that asks the server the questions above."""
    rows = [{"question": question.question, "answer": question.answer} for question in QUESTIONS]
    (tmp_path / "rows.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    values = {
        "task": "rows.jsonl",
        "student": "some-model",
        "training": None,
        "evaluation": {"engine": {"kind": "openai", "base_url": url, "api_key_variable": "OWN_KEY"}},
    }
    (tmp_path / "served.yaml").write_text(json.dumps(values | settings))
    return "served.yaml"


def test_answers_are_judged_and_kept_in_the_order_of_the_questions(tmp_path):
    def plan(prompt: str, attempt: int) -> str:
        return ("rate_limited", "error", "ok")[attempt] if prompt.startswith("5 ") else "ok"

    with FaultyServer(reply, plan) as server:
        done = run(server.url, tmp_path)
        assert server.attempts.total() == len(QUESTIONS) + 2
        assert server.most_under_way <= 4
        again = run(server.url, tmp_path)
        assert server.attempts.total() == len(QUESTIONS) + 2
    assert again.predictions == done.predictions
    assert [prediction.id for prediction in done] == [question.id for question in QUESTIONS]
    assert [prediction.id for prediction in done if not prediction.correct] == ["q3"]
    assert done.predictions[0].num_prompt_tokens == 100
    assert not [path for path in tmp_path.rglob("*") if path.is_file() and SECRET.encode() in path.read_bytes()]


def test_what_was_answered_is_not_asked_again(tmp_path):
    broken: list[bool] = [True]
    plan: Callable[[str, int], str] = lambda prompt, attempt: "error" if broken and prompt[0] in "78" else "ok"  # noqa: E731
    with FaultyServer(reply, plan) as server:
        started = time.monotonic()
        with pytest.raises(DataError, match=r"2 of 12 are unanswered \(status_500 2; the server says: oops\)"):
            run(server.url, tmp_path)
        assert time.monotonic() - started < 60
        broken.clear()
        asked = server.attempts.total()
        assert run(server.url, tmp_path).score.n == len(QUESTIONS)
        assert server.attempts.total() == asked + 2
        assert set(server.answered.values()) == {1}


def test_what_is_of_this_machine_alone_does_not_ask_again(tmp_path):
    with FaultyServer(reply) as server:
        first = run(server.url, tmp_path)
        assert run(server.url, tmp_path, max_batch_size=2, dtype="bfloat16").path == first.path
        assert server.attempts.total() == len(QUESTIONS)


def test_a_refused_key_ends_at_once_and_is_not_shown(tmp_path):
    with FaultyServer(reply, lambda prompt, attempt: "forbidden") as server:
        with pytest.raises(ModelError, match=r"some-model at .*: the key is refused \(status 401\)") as error:
            run(server.url, tmp_path)
        assert SECRET not in str(error.value)


def test_a_run_file_names_the_server(tmp_path):
    with FaultyServer(reply) as server:
        outcome = run_command(tmp_path, "run", served_run(server.url, tmp_path), "--json")
        assert outcome.status == 0, outcome.err
        assert server.attempts.total() > 0
        trained = run_command(tmp_path, "run", served_run(server.url, tmp_path, training={"epochs": 1}))
        assert "cannot be trained; set training: null" in trained.err


def test_an_output_that_goes_on_behind_a_stop_string_was_not_cut_by_the_limit(tmp_path):
    """Some servers ignore stop strings: what stands before one is whole, as of a model in this process."""
    with FaultyServer(lambda prompt: f"The answer is {int(prompt.split()[0]) + 1}###, and", lambda *_: "limited") as it:
        assert run(it.url, tmp_path, stop=("###",)).score.correct == len(QUESTIONS)


def test_a_server_that_is_gone_ends_the_work_soon(tmp_path):
    """And not after every question has waited for its last try; what was answered is kept."""
    many = [Question(f"q{n}", "own", "test", f"{n} + 1?", str(n + 1), "number") for n in range(500)]
    with FaultyServer(reply) as server:
        run(server.url, tmp_path)
    started = time.monotonic()
    with pytest.raises(ModelError, match="the server cannot be reached; check the server and run again"):
        run(server.url, tmp_path, questions=many)
    assert time.monotonic() - started < 10


def test_an_interrupt_ends_at_once_and_says_how_to_go_on(tmp_path):
    """Also where requests are under way that the server will never answer."""
    with FaultyServer(reply, lambda prompt, attempt: "silent") as server:
        command = Command(tmp_path, "run", served_run(server.url, tmp_path))
        while not server.attempts:
            time.sleep(0.02)
        time.sleep(0.5)  # the others are under way too, and the command waits for them
        assert command.process.pid is not None
        os.kill(command.process.pid, signal.SIGINT)
        outcome = command.wait(30)  # a request waits for two minutes; a crowded machine needs seconds to end
    assert outcome.status == 130
    assert outcome.err.splitlines()[-1] == "cotdistill: interrupted; run the same command again to continue"
    with FaultyServer(reply) as server:
        assert run_command(tmp_path, "run", served_run(server.url, tmp_path)).status == 0


def test_several_samples_vote(tmp_path):
    with FaultyServer(reply) as server:
        done = run(server.url, tmp_path, temperature=0.7, num_samples=3)
        assert server.attempts.total() == 3 * len(QUESTIONS)
    assert done.predictions[0].num_output_tokens == 60


def test_openai_itself_needs_a_key(tmp_path, monkeypatch):
    monkeypatch.delenv("OPENAI_API_KEY", raising=False)
    config = EvaluationConfig(engine=ServerSettings())
    with pytest.raises(ConfigError, match="OPENAI_API_KEY is not set"):
        evaluate(ModelConfig(model="m"), QUESTIONS, target="rationale", config=config, runs=tmp_path)


@pytest.mark.skipif(importlib.util.find_spec("vllm") is not None, reason="vllm is installed")
def test_a_student_is_tested_by_vllm_as_a_teacher_is_asked(tmp_path):
    config = validated(EvaluationConfig, {"engine": "vllm"}, where="evaluation")
    with pytest.raises(ConfigError, match=r"needs the package vllm; pip install 'cotdistill\[vllm\]', or choose"):
        evaluate(ModelConfig(model="builtin:nano-student"), QUESTIONS, target="rationale", config=config, runs=tmp_path)
