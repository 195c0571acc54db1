"""Servers whose models think, refuse settings or answer nothing: what is paid for is logged and counted, once."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest
from tests.annotation.teachers.test_asked import LEVEL, log_rows, questions

from cotdistill.annotation import annotate
from cotdistill.config import EvaluationConfig, Limits, ModelConfig, OpenAITeacher, Price, Sampling, ServerSettings
from cotdistill.errors import DataError, ModelError
from cotdistill.evaluation.evaluate import evaluate

pytest.importorskip("openai")

Reply = Callable[[dict[str, Any]], tuple[int, Any]]
"""Status and body for the body of a request."""


@contextmanager
def server(reply: Reply) -> Iterator[tuple[str, list[dict[str, Any]]]]:
    """Its base URL, and the bodies of the requests that it was sent."""
    seen: list[dict[str, Any]] = []

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_POST(self) -> None:
            body = json.loads(self.rfile.read(int(self.headers["content-length"])))
            seen.append(body)
            status, answer = reply(body)
            data = json.dumps(answer).encode()
            self.send_response(status)
            self.send_header("content-length", str(len(data)))  # some servers name no content type
            self.end_headers()
            self.wfile.write(data)

        def log_message(self, format: str, *args: object) -> None:
            pass

    running = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    running.daemon_threads = True
    threading.Thread(target=running.serve_forever, args=(0.02,), daemon=True).start()
    try:
        yield f"http://127.0.0.1:{running.server_address[1]}/v1", seen
    finally:
        running.shutdown()
        running.server_close()


def message(finish: str = "stop", usage: Any = None, **fields: Any) -> tuple[int, Any]:
    usage = {"prompt_tokens": 100, "completion_tokens": 60} if usage is None else usage
    choice = {"index": 0, "message": {"role": "assistant", **fields}, "finish_reason": finish}
    return 200, {"choices": [choice], "usage": usage}


def teacher(url: str, **settings: Any) -> OpenAITeacher:
    limits = Limits(**{"concurrency": 2, "max_retries": 2} | settings.pop("limits", {}))
    return OpenAITeacher(model="m", base_url=url, limits=limits, **settings)


STATED = "One more than it was.\nThe answer is 1."


@pytest.mark.parametrize("field", ["reasoning_content", "reasoning"])
def test_reasoning_is_kept_apart_from_the_text(tmp_path: Path, field: str) -> None:
    with server(lambda body: message(content=STATED, **{field: "Let me see."})) as (url, _):
        made = annotate(questions(3), teacher(url), LEVEL, runs=tmp_path)
    assert {row["reasoning"] for row in log_rows(tmp_path)} == {"Let me see."}
    assert {rationale.rationale for rationale in made} == {"One more than it was."}


def test_parts_of_text_and_thinking_are_told_apart(tmp_path: Path) -> None:
    thinking = {"type": "thinking", "thinking": [{"type": "text", "text": "Hm."}]}
    with server(lambda body: message(content=[thinking, {"type": "text", "text": STATED}])) as (url, _):
        annotate(questions(1), teacher(url), LEVEL, runs=tmp_path)
    (row,) = log_rows(tmp_path)
    assert (row["reasoning"], row["text"]) == ("Hm.", STATED)


@pytest.mark.parametrize(
    ("finish", "fields", "reason"),
    [
        (
            "length",
            {"content": None, "reasoning_content": "And so on"},
            "truncated_reasoning 4.*; raise max_new_tokens",
        ),
        ("stop", {"content": None, "reasoning_content": "Done."}, "empty_completion 4"),
        ("stop", {"content": ""}, "empty_completion 4"),
        ("stop", {"content": None, "refusal": "I must not."}, "refused 4"),
        ("content_filter", {"content": "One mo"}, "refused 4"),
        ("error", {"content": "One mo"}, r"broken_off 4\); set teacher.max_draws"),
    ],
)
def test_what_is_paid_for_is_logged_and_counted_and_not_asked_for_again(
    tmp_path: Path, finish: str, fields: dict[str, Any], reason: str
) -> None:
    with server(lambda body: message(finish, **fields)) as (url, seen):
        for _ in range(2):
            with pytest.raises(DataError, match=rf"4 of 4 are unanswered \({reason}"):
                annotate(questions(4), teacher(url), LEVEL, runs=tmp_path)
        assert len(seen) == len(log_rows(tmp_path)) == 4
        with pytest.raises(DataError, match="4 of 4"):  # another limit is another completion
            annotate(questions(4), teacher(url, sampling=Sampling(max_new_tokens=4000)), LEVEL, runs=tmp_path)
        assert len(seen) == 8


def test_empty_completions_count_against_the_budget(tmp_path: Path) -> None:
    limits = {"max_cost": 0.2, "price": Price(input=100, output=400)}
    with server(lambda body: message(content=None, reasoning="Hm.")) as (url, seen):
        asked = teacher(url, limits=limits, sampling=Sampling(max_new_tokens=60))
        with pytest.raises(DataError, match="out_of_budget"):
            annotate(questions(30), asked, LEVEL, runs=tmp_path)
    paid = len(seen) * (100 * 100 + 60 * 400) / 1e6
    assert 0.1 < paid <= 0.2
    assert len(log_rows(tmp_path)) == len(seen)


@pytest.mark.parametrize(
    "usage", ["many", {"prompt_tokens": "100", "completion_tokens": None}, {"completion_tokens": -5}, [1], {"x": True}]
)
def test_a_count_of_tokens_that_is_no_number_leaves_the_answer_readable(tmp_path: Path, usage: Any) -> None:
    with server(lambda body: message(usage=usage, content=STATED)) as (url, _):
        annotate(questions(2), teacher(url), LEVEL, runs=tmp_path)
    rows = log_rows(tmp_path)
    assert all(row["input_tokens"] > 100 and row["output_tokens"] == len(STATED) // 4 + 1 for row in rows)


def test_only_what_is_set_is_sent(tmp_path: Path) -> None:
    with server(lambda body: message(content=STATED)) as (url, seen):
        annotate(questions(1), teacher(url), LEVEL, runs=tmp_path)
        assert seen[-1].keys() == {"model", "messages", "max_tokens"}
        extra = {"chat_template_kwargs": {"enable_thinking": True}, "max_tokens": None, "max_completion_tokens": 9}
        settings = {"system": "Be brief.", "reasoning_effort": "low", "extra_body": extra}
        sampling = Sampling(temperature=0, top_p=0.9, seed=3)
        annotate(questions(1), teacher(url, sampling=sampling, **settings), LEVEL, runs=tmp_path)
    body = seen[-1]
    assert body.pop("messages")[0] == {"role": "system", "content": "Be brief."}
    assert body == {
        "model": "m",
        "temperature": 0,
        "top_p": 0.9,
        "seed": 3,
        "reasoning_effort": "low",
        "chat_template_kwargs": {"enable_thinking": True},
        "max_completion_tokens": 9,
    }
    assert len(log_rows(tmp_path)) == 2


def test_an_evaluated_model_may_take_no_temperature(tmp_path: Path) -> None:
    def reply(body: dict[str, Any]) -> tuple[int, Any]:
        if "temperature" in body:
            return 400, {"error": {"message": "'temperature' does not support 0 with this model."}}
        return message(content="The answer is 1.")

    with server(reply) as (url, _):
        engine = ServerSettings(base_url=url, limits=Limits(concurrency=2))
        asked = (ModelConfig(model="m"), questions(2))
        with pytest.raises(DataError, match=r"status_400 2; the server says: 'temperature' does not support 0"):
            evaluate(*asked, target="rationale", config=EvaluationConfig(engine=engine), runs=tmp_path)
        config = EvaluationConfig(engine=engine, temperature=None)
        assert evaluate(*asked, target="rationale", config=config, runs=tmp_path).score.correct == 1


@pytest.mark.parametrize(
    ("status", "answer", "problem"),
    [
        (400, {"error": {"message": "Missing parameter:\nchat_template_kwargs"}}, "says: Missing parameter: chat_"),
        (422, {"detail": "too long"}, "says: too long"),
        (200, {"error": {"message": "Provider returned error", "code": 502}}, "says: Provider returned error"),
        (
            404,
            {"error": {"message": "The model m does not exist"}},
            r"\(status 404\): The model m does not exist; fix",
        ),
        (404, "gone", r"\(status 404\)(: gone)?; fix that"),
    ],
)
def test_an_error_has_the_servers_own_words_once_and_on_one_line(
    tmp_path: Path, status: int, answer: Any, problem: str
) -> None:
    with (
        server(lambda body: (status, answer)) as (url, _),
        pytest.raises((DataError, ModelError), match=problem) as error,
    ):
        annotate(questions(3), teacher(url, limits={"max_retries": 0}), LEVEL, runs=tmp_path)
    assert "\n" not in str(error.value)
    assert not log_rows(tmp_path)
