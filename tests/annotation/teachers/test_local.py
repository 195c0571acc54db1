"""Teachers that run in this process: the same answers as one at a time, kept, resumed, and never asked for twice."""

from __future__ import annotations

import importlib.util
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from cotdistill.annotation import annotate
from cotdistill.annotation.teachers.prompting import teacher_prompt
from cotdistill.config import AnnotationConfig, TransformersTeacher, VLLMTeacher, validated
from cotdistill.engines.engine import Completion, Request
from cotdistill.engines.local import Batch
from cotdistill.engines.transformers_engine import TransformersEngine
from cotdistill.errors import ConfigError, DataError
from cotdistill.records import Question

LEVEL = AnnotationConfig(granularity=1, keep="all")


def teacher(**sampling: Any) -> TransformersTeacher:
    settings = {"max_new_tokens": 12} | sampling
    return validated(
        TransformersTeacher,
        {"model": "builtin:nano-student", "sampling": settings, "max_batch_size": 4},
        where="test",
    )


def questions(number: int) -> list[Question]:
    """Of very different lengths, so that batches are padded."""
    return [
        Question(f"q{n}", "own", "train", f"What is {' + '.join([str(n)] * (1 + n))}?", str(n * (n + 1)), "number")
        for n in range(number)
    ]


def log_rows(runs: Path) -> list[dict[str, Any]]:
    (log,) = runs.glob("completions/*/completions.jsonl")
    return [json.loads(line) for line in log.read_text().splitlines()]


class Interrupted(Exception):
    pass


@pytest.fixture
def batches(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """The sizes of the batches that were generated."""
    sizes: list[int] = []
    complete = TransformersEngine._complete

    def counted(self: TransformersEngine, batch: Batch) -> Iterator[Completion]:
        sizes.append(len(batch))
        return complete(self, batch)

    monkeypatch.setattr(TransformersEngine, "_complete", counted)
    return sizes


@pytest.mark.parametrize("sampling", [{}, {"temperature": 0.8, "top_p": 0.9, "seed": 3}])
def test_batches_give_what_single_prompts_give(tmp_path: Path, sampling: dict[str, Any]) -> None:
    made = annotate(questions(10), teacher(**sampling), LEVEL, runs=tmp_path)
    alone = TransformersEngine.open(teacher(**sampling))
    rows = {row["question"]: row for row in log_rows(tmp_path)}
    assert len(made) == len(rows) == 10
    assert [r.teacher for r in made] == ["builtin:nano-student"] * 10
    for question in questions(10)[::3]:
        row = rows[question.id]
        prompt = teacher_prompt(question, 1, "cot", answer_conditioned=False)
        ((single,),) = alone.generate([Request(row["key"], prompt, question.id)])
        assert isinstance(single, Completion)
        assert single.to_row() == row
    assert len({row["text"] for row in rows.values()}) > 1


@pytest.mark.usefixtures("batch_dependent")
def test_an_interrupted_run_goes_on_with_the_same_batches(
    tmp_path: Path, batches: list[int], monkeypatch: pytest.MonkeyPatch
) -> None:
    """A prompt that is too long is never answered, so that it must not count where the others are cut into batches."""
    asked = [*questions(40), Question("long", "own", "train", "What is 1?" + " And 2?" * 2000, "1", "number")]
    whole = annotate(asked, teacher(), LEVEL, runs=tmp_path / "whole")
    counted = TransformersEngine._complete

    def interrupted(self: TransformersEngine, batch: Batch) -> Iterator[Completion]:
        if len(batches) == 5:
            raise Interrupted
        return counted(self, batch)

    with monkeypatch.context() as patch:
        patch.setattr(TransformersEngine, "_complete", interrupted)
        with pytest.raises(Interrupted):
            annotate(asked, teacher(), LEVEL, runs=tmp_path / "cut")
    resumed = annotate(asked, teacher(), LEVEL, runs=tmp_path / "cut")
    assert batches == [16, 16, 8, 16, 16, 8]
    assert whole.dropped["unanswered_prompt_too_long"] == 1
    assert (resumed.records, resumed.dropped) == (whole.records, whole.dropped)


def test_equal_prompts_are_answered_once(tmp_path: Path, batches: list[int]) -> None:
    same = [Question(f"q{n}", "own", "train", "What is 1 + 1?", "2", "number") for n in range(6)]
    made = annotate([*same, *questions(3)], teacher(), LEVEL, runs=tmp_path)  # one of the three is the same again
    assert (batches, len(log_rows(tmp_path))) == ([3], 3)
    assert len({r.rationale for r in made.records[:6]}) == 1


def test_answers_serve_the_next_annotation_that_asks_the_same(tmp_path: Path, batches: list[int]) -> None:
    annotate(questions(6), teacher(), LEVEL, runs=tmp_path)
    agreeing = LEVEL.model_copy(update={"keep": "agree", "decontaminate": "off"})
    with pytest.raises(DataError, match="no rationale is left"):
        annotate(questions(6), teacher(), agreeing, runs=tmp_path)
    assert batches == [6]


def test_a_stop_string_ends_an_answer_before_it(tmp_path: Path) -> None:
    whole = annotate(questions(4), teacher(), LEVEL, runs=tmp_path)
    stop = log_rows(tmp_path)[0]["text"].split()[1]
    annotate(questions(4), teacher(stop=[stop]), LEVEL, runs=tmp_path)
    cut = log_rows(tmp_path)[len(whole) :]
    assert all(stop not in row["text"] for row in cut)
    assert any(row["text"] and row["finish_reason"] == "stop" for row in cut)


def test_a_prompt_that_leaves_no_room_is_listed_and_the_others_are_answered(tmp_path: Path) -> None:
    long = Question("long", "own", "train", "What is 1?" + " And 2?" * 2000, "1", "number")
    asked = teacher(max_new_tokens=4)
    with pytest.raises(DataError, match=r"1 of 2 are unanswered \(prompt_too_long 1\); lower max_new_tokens"):
        annotate([*questions(1), long], asked, LEVEL, runs=tmp_path)
    made = annotate([*questions(40), long], asked, LEVEL, runs=tmp_path)
    assert (len(made), made.dropped) == (40, {"unanswered_prompt_too_long": 1})


def test_draws_without_a_temperature_are_refused() -> None:
    with pytest.raises(ConfigError, match=r"max_draws above 1 needs a sampling.temperature above 0"):
        validated(TransformersTeacher, {"model": "builtin:nano-student", "max_draws": 2}, where="teacher")


@pytest.mark.skipif(importlib.util.find_spec("vllm") is not None, reason="vllm is installed")
def test_a_missing_vllm_is_one_line_with_the_remedy(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"needs the package vllm; pip install 'cotdistill\[vllm\]', or choose"):
        annotate(questions(1), VLLMTeacher(model="builtin:nano-student"), LEVEL, runs=tmp_path)  # pyright: ignore
