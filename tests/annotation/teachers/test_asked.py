"""Teachers that are asked: against a real HTTP server that fails on purpose, and from a script."""

from __future__ import annotations

import json
import re
import signal
import subprocess
import sys
import time
from pathlib import Path
from random import Random
from typing import Any

import pytest
from tests.annotation.teachers.faulty_server import FaultyServer

from cotdistill.annotation import AnnotationRequest, annotate, make_annotation, plan
from cotdistill.config import AnnotationConfig, Limits, OpenAITeacher, Price, Sampling, ScriptedTeacher
from cotdistill.config.selection import GranularityMix
from cotdistill.engines.costs import PRICES, Budget, price_of
from cotdistill.errors import ConfigError, DataError, ModelError
from cotdistill.records import Question

pytest.importorskip("openai")

KEY = "sk-this-must-not-be-seen"
LEVEL = AnnotationConfig(granularity=3)


@pytest.fixture(autouse=True)
def key(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OPENAI_API_KEY", KEY)


def questions(number: int) -> list[Question]:
    return [Question(f"q{n}", "own", "train", f"What is {n} + 1?", str(n + 1), "number") for n in range(number)]


def asked_number(prompt: str) -> int:
    return int(re.findall(r"What is (\d+) \+ 1\?", prompt)[-1])


def right(prompt: str) -> str:
    number = asked_number(prompt)
    return f"We add one: {number} + 1 = {number + 1}.\nThe answer is {number + 1}."


def teacher(server: FaultyServer, **settings: Any) -> OpenAITeacher:
    limits = {"concurrency": 8, "timeout_seconds": 60} | settings.pop("limits", {})
    return OpenAITeacher(model="m", base_url=server.url, limits=Limits(**limits), **settings)


def log_rows(runs: Path) -> list[dict[str, Any]]:
    (log,) = runs.glob("completions/*/completions.jsonl")
    return [json.loads(line) for line in log.read_text("utf-8").split("\n") if line]


def test_answers_become_rationales_that_say_where_they_came_from(tmp_path: Path) -> None:
    with FaultyServer(right) as server:
        made = annotate(questions(20), teacher(server), LEVEL, runs=tmp_path)
        assert annotate(questions(20), teacher(server), LEVEL, runs=tmp_path) == made
    assert [r.rationale for r in made] == [f"We add one: {n} + 1 = {n + 1}." for n in range(20)]
    meta = made.records[0].meta
    assert (meta["teacher_answer"], meta["teacher_agrees"], meta["answer_conditioned"]) == ("1", True, False)
    assert (made.records[0].teacher, made.records[0].granularity) == ("m", 3)
    assert sum(server.attempts.values()) == 20
    assert server.most_under_way <= 8


def test_another_keep_reads_the_same_answers_again(tmp_path: Path) -> None:
    with FaultyServer(lambda prompt: f"{asked_number(prompt)} + 1 = 3.\nThe answer is 3.") as server:
        everything = annotate(questions(5), teacher(server), LEVEL, runs=tmp_path)
        verified = annotate(questions(5), teacher(server), LEVEL.model_copy(update={"keep": "verified"}), runs=tmp_path)
    assert (len(everything), len(verified), verified.dropped) == (5, 1, {"disagrees": 4})
    assert sum(server.attempts.values()) == 5


def test_cut_answers_are_counted_and_drawn_again(tmp_path: Path) -> None:
    def plan(prompt: str, attempt: int) -> str:
        return "limited" if asked_number(prompt) == 4 or attempt == asked_number(prompt) == 0 else "ok"

    with FaultyServer(right, plan) as server:
        made = annotate(questions(6), teacher(server), LEVEL, runs=tmp_path)
        again = teacher(server, max_draws=2, sampling=Sampling(temperature=1.0))
        drawn_twice = annotate(questions(6), again, LEVEL, runs=tmp_path)
    assert made.dropped == {"truncated": 2}
    assert drawn_twice.dropped == {"truncated": 1}


def test_every_question_is_answered_once_whatever_fails(tmp_path: Path) -> None:
    faults = ("rate_limited", "error", "silent", "cut", "truncated", "malformed")

    def plan(prompt: str, attempt: int) -> str:
        random = Random(f"{prompt}{attempt}")
        return random.choice(faults) if random.random() < 0.3 else "ok"

    with FaultyServer(right, plan) as server:
        asked = teacher(server, limits={"timeout_seconds": 3, "max_retries": 12})
        made = annotate(questions(60), asked, LEVEL, runs=tmp_path)
    assert set(server.faults) == {"ok", *faults}
    assert [r.id for r in made] == [f"q{n}" for n in range(60)]
    assert made.dropped == {}
    rows = log_rows(tmp_path)
    assert len({row["key"] for row in rows}) == len(rows) == 60


def test_what_stays_unanswered_is_listed_with_its_reason(tmp_path: Path) -> None:
    def plan(prompt: str, attempt: int) -> str:
        return {3: "error", 7: "malformed"}.get(asked_number(prompt), "ok")

    with FaultyServer(right, plan) as server:
        patient = teacher(server, limits={"max_retries": 1}, max_failed_share=0.5)
        made = annotate(questions(10), patient, LEVEL, runs=tmp_path)
        strict = teacher(server, limits={"max_retries": 0})
        with pytest.raises(DataError, match=r"2 of 10 are unanswered \(malformed_answer 1, status_500 1; the ser"):
            annotate(questions(10), strict, AnnotationConfig(granularity=4), runs=tmp_path)
    assert {(left.id, left.reason) for left in made.left_out} == {
        ("q3", "unanswered_status_500"),
        ("q7", "unanswered_malformed_answer"),
    }
    assert len(made) == 8


def test_a_spent_budget_stops_cleanly_and_a_larger_one_goes_on(tmp_path: Path) -> None:
    price = Price(input=10.0, output=10.0)
    sampling = Sampling(max_new_tokens=100)

    def limits(cost: float) -> dict[str, Any]:
        return {"max_cost": cost, "price": price}

    with FaultyServer(right) as server:
        poor = teacher(server, sampling=sampling, limits=limits(0.02))
        with pytest.raises(DataError, match=r"out_of_budget.*raise the budget, and run again"):
            annotate(questions(40), poor, LEVEL, runs=tmp_path)
        paid = len(log_rows(tmp_path))
        assert 0 < paid * 120 * 10 / 1e6 <= 0.02
        rich = teacher(server, sampling=sampling, limits=limits(1.0))
        assert len(annotate(questions(40), rich, LEVEL, runs=tmp_path)) == 40
    assert set(server.answered.values()) == {1}


def money(runs: Path, price: float = 10.0) -> float:
    return sum(row["input_tokens"] + row["output_tokens"] for row in log_rows(runs)) * price / 1e6


@pytest.mark.parametrize("counts_tokens", [True, False])
def test_one_budget_is_for_all_that_a_teacher_answers_however_often_it_is_asked(
    tmp_path: Path, counts_tokens: bool
) -> None:
    limits = {"max_cost": 0.05, "price": Price(input=10.0, output=10.0)}
    with FaultyServer(right, counts_tokens=counts_tokens) as server:
        poor = teacher(server, sampling=Sampling(max_new_tokens=100), limits=limits)
        assert len(annotate(questions(8), poor, LEVEL, runs=tmp_path)) == 8
        spent = money(tmp_path)
        assert 0.005 < spent < 0.05
        for level in (4, 4, 5):
            with pytest.raises(DataError, match="out_of_budget"):
                annotate(questions(80), poor, AnnotationConfig(granularity=level), runs=tmp_path)
            assert spent <= money(tmp_path) <= 0.05
        assert len(annotate(questions(8), poor, LEVEL.model_copy(update={"keep": "agree"}), runs=tmp_path)) == 8


def test_further_draws_that_the_budget_does_not_reach_are_not_done_without(tmp_path: Path) -> None:
    """An annotation that was finished with what the first draws gave would stay so under any larger budget."""
    seen: dict[str, int] = {}

    def second_time_right(prompt: str) -> str:
        seen[prompt] = seen.get(prompt, 0) + 1
        return right(prompt) if seen[prompt] > 1 else "The answer is 0."

    def drawing(server: FaultyServer, max_total_tokens: int) -> OpenAITeacher:
        sampling = Sampling(max_new_tokens=100, temperature=1.0)
        return teacher(server, max_draws=2, sampling=sampling, limits={"max_total_tokens": max_total_tokens})

    verified = LEVEL.model_copy(update={"keep": "verified"})
    with FaultyServer(second_time_right) as server:
        with pytest.raises(DataError, match=r"unanswered \(out_of_budget \d+\); raise the budget"):
            annotate(questions(10), drawing(server, 1600), verified, runs=tmp_path)
        assert len(annotate(questions(10), drawing(server, 5000), verified, runs=tmp_path)) == 10
    assert sum(server.answered.values()) == 20


def test_equal_prompts_are_asked_once(tmp_path: Path) -> None:
    same = [Question(f"q{n}", "own", "train", "What is 1 + 1?", "2", "number") for n in range(10)]
    with FaultyServer(right, latency=0.05) as server:
        before = plan(AnnotationRequest(same, teacher(server), LEVEL), tmp_path)
        made = annotate(same, teacher(server), LEVEL, runs=tmp_path)
    assert [(r.id, r.rationale) for r in made] == [(q.id, "We add one: 1 + 1 = 2.") for q in same]
    assert sum(server.attempts.values()) == before.estimate.requests == len(log_rows(tmp_path)) == 1


def test_equal_prompts_that_fail_are_all_listed(tmp_path: Path) -> None:
    same = [Question(f"q{n}", "own", "train", f"What is {n // 2} + 1?", "2", "number") for n in range(4)]
    with FaultyServer(right, lambda prompt, attempt: "ok" if asked_number(prompt) else "error", latency=0.05) as server:
        asked = teacher(server, limits={"max_retries": 0}, max_failed_share=0.5)
        made = annotate(same, asked, LEVEL, runs=tmp_path)
    assert [left.id for left in made.left_out] == ["q0", "q1"]
    assert [r.id for r in made] == ["q2", "q3"]


def test_where_the_key_is_found_changes_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ANOTHER_KEY", KEY)
    with FaultyServer(right) as server:
        one, other = teacher(server), teacher(server, api_key_variable="ANOTHER_KEY")
        made = annotate(questions(3), one, LEVEL, runs=tmp_path)
        assert annotate(questions(3), other, LEVEL, runs=tmp_path) == made
        assert sum(server.attempts.values()) == 3
    identity = json.loads(((made.path or tmp_path) / "identity.json").read_text("utf-8"))
    assert not {"api_key_variable", "limits"} & identity["teacher"].keys()


def test_the_levels_of_a_selection_share_one_budget(tmp_path: Path) -> None:
    mix = AnnotationConfig(selection=GranularityMix(shares={2: 0.5, 3: 0.5}))
    limits = {"max_cost": 0.03, "price": Price(input=10.0, output=10.0)}
    with FaultyServer(right) as server:
        asked = teacher(server, sampling=Sampling(max_new_tokens=100), limits=limits, max_failed_share=1.0)
        made = annotate(questions(80), asked, mix, runs=tmp_path)
    assert made.dropped["unanswered_out_of_budget"] > 0
    assert money(tmp_path) <= 0.03


def test_a_budget_that_draws_wait_for_serves_the_next_draw_too(tmp_path: Path) -> None:
    limits = {"max_total_tokens": 5000}
    with FaultyServer(lambda prompt: "The answer is -1.") as server:
        sampling = Sampling(max_new_tokens=900, temperature=1.0)
        asked = teacher(server, sampling=sampling, max_draws=2, max_failed_share=1.0, limits=limits)
        kept = LEVEL.model_copy(update={"keep": "verified"})
        with pytest.raises(DataError, match="no rationale is left"):
            annotate(questions(10), asked, kept, runs=tmp_path)
    assert {row["draw"] for row in log_rows(tmp_path)} == {0, 1}


def test_more_draws_are_asked_for_what_was_not_kept_only(tmp_path: Path) -> None:
    seen: dict[str, int] = {}

    def second_time_right(prompt: str) -> str:
        seen[prompt] = seen.get(prompt, 0) + 1
        return right(prompt) if asked_number(prompt) % 2 or seen[prompt] > 1 else "The answer is 0."

    with FaultyServer(second_time_right) as server:
        drawing = teacher(server, max_draws=3, sampling=Sampling(temperature=1.0, seed=0))
        made = annotate(questions(10), drawing, AnnotationConfig(keep="verified"), runs=tmp_path)
    assert len(made) == 10
    assert sum(server.attempts.values()) == 15
    assert [r.meta["draw"] for r in made] == [1, 0] * 5


def test_a_refused_key_ends_the_work_and_is_not_repeated(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    with FaultyServer(right, lambda prompt, attempt: "forbidden") as server:
        with pytest.raises(ModelError) as error:
            annotate(questions(50), teacher(server), LEVEL, runs=tmp_path)
        assert server.keys == {f"bearer {KEY}"}
    assert "the key is refused (status 401)" in str(error.value)
    assert sum(server.attempts.values()) <= 8
    written = "".join(path.read_text() for path in tmp_path.rglob("*") if path.is_file())
    shown = capfd.readouterr()
    assert KEY not in str(error.value) + written + shown.out + shown.err


def test_a_server_that_is_gone_ends_the_work_soon(tmp_path: Path) -> None:
    """And not after all questions have waited for their last tries; what was answered is kept."""
    with FaultyServer(right) as server:
        asked = teacher(server, limits={"concurrency": 2, "max_retries": 1})
        annotate(questions(5), asked, LEVEL, runs=tmp_path)
    started = time.monotonic()
    with pytest.raises(ModelError, match="the server cannot be reached; check the server and run again"):
        annotate(questions(500), asked, LEVEL, runs=tmp_path)
    assert time.monotonic() - started < 10
    assert len(log_rows(tmp_path)) == 5


def test_a_damaged_log_of_answers_is_named_by_its_line(tmp_path: Path) -> None:
    with FaultyServer(right) as server:
        annotate(questions(3), teacher(server), LEVEL, runs=tmp_path)
        (log,) = tmp_path.glob("completions/*/completions.jsonl")
        lines = log.read_text("utf-8").splitlines(keepends=True)
        log.write_text("".join([lines[0], "{\n", lines[2]]), encoding="utf-8")
        request = AnnotationRequest(questions(4), teacher(server), LEVEL)
        for look in (plan, make_annotation):
            with pytest.raises(DataError, match=r"completions.jsonl, line 2: malformed"):
                look(request, tmp_path)


def test_a_missing_key_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("OPENAI_API_KEY")
    with pytest.raises(ConfigError, match="OPENAI_API_KEY is not set; export OPENAI_API_KEY="):
        annotate(questions(1), OpenAITeacher(model="gpt-4o"), LEVEL, runs=tmp_path)


def test_requests_are_paced(tmp_path: Path) -> None:
    with FaultyServer(right) as server:
        started = time.monotonic()
        annotate(questions(11), teacher(server, limits={"requests_per_minute": 1200}), LEVEL, runs=tmp_path)
        assert time.monotonic() - started >= 10 * 60 / 1200


def test_prices_can_be_overridden_and_a_budget_needs_one() -> None:
    own = Price(input=1, output=2)
    assert price_of(OpenAITeacher(model="gpt-4o")) == PRICES["gpt-4o"]
    assert price_of(OpenAITeacher(model="gpt-4o", base_url="http://localhost/v1")) is None
    assert price_of(OpenAITeacher(model="gpt-4o", limits=Limits(price=own))) == own
    with pytest.raises(ConfigError, match="max_cost needs a price"):
        Budget(Limits(max_cost=1), None)


def test_answers_from_a_script(tmp_path: Path) -> None:
    script = tmp_path / "outputs.jsonl"
    script.write_text('{"id": "q1", "completion": "1 + 1 = 2.\\nThe answer is 2."}\n')
    made = annotate(questions(2), ScriptedTeacher(completions=script), LEVEL, runs=tmp_path)
    assert ([r.id for r in made], made.dropped) == (["q1"], {"unanswered_not_in_the_script": 1})


CHILD = """
import sys
from pathlib import Path
from cotdistill.annotation import AnnotationRequest, annotate, make_annotation, plan
from tests.annotation.teachers.test_asked import LEVEL, questions
from cotdistill.config import Limits, OpenAITeacher
teacher = OpenAITeacher(model="m", base_url=sys.argv[1], limits=Limits(concurrency=4))
annotate(questions(60), teacher, LEVEL, runs=Path(sys.argv[2]))
"""


@pytest.mark.slow
def test_killed_at_ten_moments_it_ends_with_the_same_records(tmp_path: Path) -> None:
    with FaultyServer(right, latency=0.05) as server:
        whole = annotate(questions(60), teacher(server), LEVEL, runs=tmp_path / "whole")
    with FaultyServer(right, latency=0.05) as server:
        command = [sys.executable, "-c", CHILD, server.url, str(tmp_path / "killed")]
        for answers in range(5, 55, 5):
            child = subprocess.Popen(command)
            while child.poll() is None and sum(server.answered.values()) < answers:
                time.sleep(0.005)
            child.send_signal(signal.SIGKILL)
            child.wait()
        subprocess.run(command, check=True)
        made = annotate(questions(60), teacher(server, limits={"concurrency": 4}), LEVEL, runs=tmp_path / "killed")
        # Of each kill at most the four answers that were under way are asked for again.
        assert sum(server.answered.values()) <= 60 + 10 * 4
    rows = log_rows(tmp_path / "killed")
    assert len({row["key"] for row in rows}) == len(rows) == 60
    # The address of the server is part of a key, and the two servers' ports differ.
    assert [r.to_row() | {"meta": r.meta | {"key": None}} for r in made] == [
        r.to_row() | {"meta": r.meta | {"key": None}} for r in whole
    ]


def test_a_plan_counts_what_is_left_and_asks_and_writes_nothing(tmp_path: Path) -> None:
    price = Price(input=1.0, output=2.0)
    with FaultyServer(right) as server:
        asked = teacher(server, limits={"price": price})
        before = plan(AnnotationRequest(questions(10), asked, LEVEL, evaluation=questions(2)), tmp_path)
        assert list(tmp_path.iterdir()) == []
        annotate(questions(6), asked, LEVEL, runs=tmp_path)
        between = plan(AnnotationRequest(questions(10), asked, LEVEL), tmp_path)
        made = annotate(questions(10), asked, LEVEL, runs=tmp_path)
        after = plan(AnnotationRequest(questions(10), asked, LEVEL), tmp_path)
        assert sum(server.attempts.values()) == 10
    assert (before.questions, before.estimate.requests, before.finished) == (8, 8, False)
    assert (between.questions, between.estimate.requests, between.path) == (10, 4, made.path)
    assert (after.estimate.requests, after.finished) == (0, True)
    assert before.estimate.cost == pytest.approx(
        (before.estimate.input_tokens + before.estimate.output_tokens * 2) / 1e6
    )
    assert 100 < before.estimate.input_tokens / 8 < 400
