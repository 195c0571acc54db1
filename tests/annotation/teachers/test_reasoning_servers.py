"""Servers whose models think, refuse settings or answer nothing: what is paid for is logged and counted, once."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from tests.annotation.teachers.reasoning_server import MODES, THOUGHT, counting, message, server, stated
from tests.annotation.teachers.test_asked import LEVEL, log_rows, questions

from cotdistill.annotation import Rationales, annotate
from cotdistill.config import EvaluationConfig, Limits, ModelConfig, OpenAITeacher, Price, Sampling, ServerSettings
from cotdistill.errors import CotDistillError, DataError, ModelError
from cotdistill.evaluation.evaluate import evaluate

pytest.importorskip("openai")


def teacher(url: str, **settings: Any) -> OpenAITeacher:
    limits = Limits(**{"concurrency": 2, "max_retries": 2} | settings.pop("limits", {}))
    return OpenAITeacher(model="m", base_url=url, limits=limits, **settings)


STATED = "One more than it was.\nThe answer is 1."
FEW = {"max_retries": 1, "timeout_seconds": 5}


def paid(runs: Path) -> list[tuple[int, int]]:
    """What the log says was paid; no log is nothing paid."""
    logs = [*runs.glob("completions/*/completions.jsonl")]
    return sorted((row["input_tokens"], row["output_tokens"]) for row in (log_rows(runs) if logs else []))


@pytest.mark.parametrize("mode", MODES)
def test_paid_is_logged_is_counted_and_nothing_is_asked_for_twice(tmp_path: Path, mode: str) -> None:
    with server(MODES[mode]) as (url, seen):
        for _ in range(2):
            refused = ""
            try:
                made = annotate(questions(6), teacher(url, limits=FEW), LEVEL, runs=tmp_path)
                assert len(made) + sum(made.dropped.values()) == 6
            except CotDistillError as error:
                refused = str(error)
            assert "\n" not in refused
            assert paid(tmp_path) == sorted(seen.paid)
            assert set(seen.answered.values()) <= {1}


@pytest.mark.parametrize("mode", ["thinktag", "think-noopen", "channels", "parts", "reasoner-and-text"])
def test_reasoning_is_told_apart_from_the_text_however_it_comes(tmp_path: Path, mode: str) -> None:
    def by(use: str) -> Rationales:
        return annotate(questions(3), teacher(url, reasoning=use), LEVEL, runs=tmp_path)

    with server(MODES[mode]) as (url, seen):
        apart, taught, dropped = by("as_response"), by("as_rationale"), by("drop")
        assert len(seen) == 3, "another use reads the same answers again"
    said = "One more than it was."
    assert {(one.rationale, one.reasoning) for one in apart} == {(said, THOUGHT)}
    assert {(one.rationale, one.reasoning) for one in taught} == {(THOUGHT, None)}
    assert {(one.rationale, one.reasoning) for one in dropped} == {(said, None)}
    assert all(one.meta["teacher_agrees"] for made in (apart, taught, dropped) for one in made)
    assert any(THOUGHT in str(row) for row in log_rows(tmp_path)), "the log keeps what came"


@pytest.mark.parametrize("mode", ["reasoner", "reasoner-null"])
def test_where_the_text_holds_no_rationale_the_reasoning_is_one(tmp_path: Path, mode: str) -> None:
    with server(MODES[mode]) as (url, _):
        made = annotate(questions(3), teacher(url), LEVEL, runs=tmp_path)
        with pytest.raises(DataError, match="empty_completion 3" if mode == "reasoner-null" else "empty_rationale 3"):
            annotate(questions(3), teacher(url, reasoning="drop"), LEVEL, runs=tmp_path)
    assert all((one.rationale or "").startswith("Let me see.") and one.reasoning is None for one in made)
    assert {(one.meta["reasoning"], one.meta["teacher_agrees"]) for one in made} == {("as_rationale", True)}


@pytest.mark.parametrize(
    ("mode", "reason"),
    [
        ("thinks-too-long", "truncated_reasoning 4.*; raise max_new_tokens"),
        ("tag-cut", "truncated_reasoning 4.*; raise max_new_tokens"),
        ("hidden-cut", "truncated_reasoning 4.*; raise max_new_tokens"),
        ("tools", "empty_completion 4"),
        ("refuses", "refused 4"),
        ("filtered", "refused 4"),
        ("ends-in-error", r"broken_off 4\); set teacher.max_draws"),
        ("content-number", "malformed_answer 4"),
        ("content-list", "malformed_answer 4"),
        ("content-deep", "malformed_answer 4"),
    ],
)
def test_an_answer_of_no_use_is_not_asked_for_again(tmp_path: Path, mode: str, reason: str) -> None:
    with server(MODES[mode]) as (url, seen):
        for _ in range(2):
            with pytest.raises(DataError, match=rf"4 of 4 are unanswered \({reason}"):
                annotate(questions(4), teacher(url), LEVEL, runs=tmp_path)
        assert len(seen) == len(log_rows(tmp_path)) == 4


def test_a_larger_limit_asks_only_for_what_was_cut(tmp_path: Path) -> None:
    def reply(body: dict[str, Any]) -> tuple[int, Any]:
        needed = 5000 if "What is 2" in body["messages"][-1]["content"] else 60
        if body["max_tokens"] < needed:
            usage = {"prompt_tokens": 100, "completion_tokens": body["max_tokens"]}
            return message("length", content=None, reasoning_content=THOUGHT, usage=usage)
        usage = {"prompt_tokens": 100, "completion_tokens": needed}
        return message(content=stated(body), usage=usage)

    def under(limit: int) -> Rationales:
        asked = teacher(url, sampling=Sampling(max_new_tokens=limit), max_failed_share=0.5)
        return annotate(questions(4), asked, LEVEL, runs=tmp_path)

    with server(reply) as (url, seen):
        assert under(1000).dropped == {"unanswered_truncated_reasoning": 1}
        assert len(seen) == 4
        assert under(2000).dropped == {"unanswered_truncated_reasoning": 1}
        assert [body["max_tokens"] for body in seen.bodies] == [1000] * 4 + [2000]
        assert under(6000).dropped == under(8000).dropped == {}
        assert [body["max_tokens"] for body in seen.bodies[4:]] == [2000, 6000]
        assert under(1000).dropped == {"unanswered_truncated_reasoning": 1}, "as it was"
        assert len(seen) == 6


def test_empty_completions_count_against_the_budget(tmp_path: Path) -> None:
    limits = {"max_cost": 0.2, "price": Price(input=100, output=400)}
    with server(lambda body: message(content=None, reasoning="Hm.")) as (url, seen):
        asked = teacher(url, limits=limits, sampling=Sampling(max_new_tokens=60))
        with pytest.raises(DataError, match="out_of_budget"):
            annotate(questions(30), asked, LEVEL, runs=tmp_path)
    paid = len(seen) * (100 * 100 + 60 * 400) / 1e6
    assert 0.1 < paid <= 0.2
    assert len(log_rows(tmp_path)) == len(seen)


def test_a_server_that_ignores_the_limit_exceeds_the_budget_by_what_is_in_flight(tmp_path: Path) -> None:
    limits = {"max_cost": 10.0, "price": Price(input=100, output=400), "concurrency": 3}
    each = (100 * 100 + 5000 * 400) / 1e6
    with server(MODES["boundless"]) as (url, seen):
        for number in (30, 40):
            asked = teacher(url, limits=limits, sampling=Sampling(max_new_tokens=60))
            with pytest.raises(DataError, match="out_of_budget"):
                annotate(questions(number), asked, LEVEL, runs=tmp_path)
            assert len(seen) * each <= 10.0 + 3 * each
        assert len(seen) == len(log_rows(tmp_path))


@pytest.mark.parametrize(
    "usage",
    [
        "many",
        {"prompt_tokens": 1e30, "completion_tokens": float("nan")},
        {"completion_tokens": 10**30},
        {"prompt_tokens": "100", "completion_tokens": None},
        {"completion_tokens": -5},
        [1],
        {"x": True},
    ],
)
def test_a_count_of_tokens_that_is_no_number_leaves_the_answer_readable(
    tmp_path: Path, usage: Any, capsys: pytest.CaptureFixture[str]
) -> None:
    with server(counting(usage)) as (url, _):
        annotate(questions(2), teacher(url), LEVEL, runs=tmp_path)
    rows = log_rows(tmp_path)
    assert all(row["input_tokens"] > 100 and row["output_tokens"] == len(STATED) // 4 + 1 for row in rows)
    assert not any(row["counted"] for row in rows)
    assert "2 of 2 answers come without a usable count of tokens" in capsys.readouterr().err


def test_a_count_that_is_whole_but_written_with_a_point_is_a_count(tmp_path: Path) -> None:
    with server(counting({"prompt_tokens": 70.0, "completion_tokens": 8.0})) as (url, _):
        annotate(questions(1), teacher(url), LEVEL, runs=tmp_path)
    (row,) = log_rows(tmp_path)
    assert (row["input_tokens"], row["output_tokens"], row["counted"]) == (70, 8, True)


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


@pytest.mark.parametrize(
    ("mode", "settings", "problem"),
    [
        ("o-like", {"limit_field": "max_completion_tokens"}, "the server says: Unsupported parameter: 'max_tokens'"),
        (
            "needs-extra",
            {"extra_body": {"chat_template_kwargs": {"enable_thinking": True}}},
            "the server says: missing required body parameter chat_template_kwargs.enable_thinking",
        ),
        ("slow", {}, "timeout.*; raise limits.timeout_seconds and run again"),
    ],
)
def test_what_a_server_needs_is_said_after_few_requests_and_can_be_given(
    tmp_path: Path, mode: str, settings: dict[str, Any], problem: str
) -> None:
    with server(MODES[mode]) as (url, seen):
        hasty = {"concurrency": 4, "max_retries": 0, "timeout_seconds": 0.1 if mode == "slow" else 5}
        with pytest.raises(ModelError, match=problem):
            annotate(questions(50), teacher(url, limits=hasty), LEVEL, runs=tmp_path)
        assert len(seen) <= 8
        assert len(annotate(questions(6), teacher(url, limits=FEW, **settings), LEVEL, runs=tmp_path)) == 6


def test_an_evaluated_model_may_take_no_temperature(tmp_path: Path) -> None:
    def reply(body: dict[str, Any]) -> tuple[int, Any]:
        if "temperature" in body:
            return 400, {"error": {"message": "'temperature' does not support 0 with this model."}}
        return message(content="The answer is 1.")

    with server(reply) as (url, _):
        engine = ServerSettings(base_url=url, limits=Limits(concurrency=2))
        asked = (ModelConfig(model="m"), questions(2))
        with pytest.raises(ModelError, match=r"status_400; the server says: 'temperature' does not support 0"):
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
