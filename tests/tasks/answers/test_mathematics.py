"""Answers in LaTeX and the benchmark MATH: rows of our own, and text that means harm."""

from __future__ import annotations

import gzip
import json
import time
from collections.abc import Iterator
from pathlib import Path
from queue import LifoQueue

import pytest

from cotdistill.config import BenchmarkTask
from cotdistill.engines.engine import Completion, Request
from cotdistill.errors import ConfigError, DataError
from cotdistill.evaluation.judging import Judging
from cotdistill.evaluation.readers import judge_of
from cotdistill.records import Question, Verdict
from cotdistill.tasks import load_task
from cotdistill.tasks.answers import mathematics as math_answers
from cotdistill.tasks.answers.reading import extract_answer, judge, same_answer
from cotdistill.tasks.benchmarks import benchmark


@pytest.mark.parametrize(
    ("output", "expected"),
    [
        (r"Half of it. The answer is $\frac{1}{2}$.", r"\frac{1}{2}"),
        (r"The answer is \frac{x+1}{2}.", r"\frac{x+1}{2}"),
        (r"So we get \[ x = \boxed{\frac{\sqrt{3}}{2}}. \]", r"\frac{\sqrt{3}}{2}"),
        (r"First \boxed{3}, but no: \boxed{4}.", "4"),
        (r"We have \boxed{3} here. So the answer is 4.", "4"),
        (r"The answer is 3. No: $\boxed{x^{2}}$", "x^{2}"),
        (r"The answer is \(\sqrt{2}\).", r"\sqrt{2}"),
        ("The answer is 3.5. That is all.", "3.5"),
        ("The answer is (1, 2].", "(1, 2]"),
        ("I cannot say.", None),
        ("The answer is .", None),
        (r"An open \boxed{\frac{1}{2}", None),
        ("The answer is " + "x+" * 400, None),
    ],
)
def test_the_stated_expression_is_read(output: str, expected: str | None) -> None:
    assert extract_answer(output, "math") == expected


@pytest.mark.parametrize(
    ("stated", "gold", "same"),
    [
        ("0.5", r"\frac{1}{2}", True),
        ("1/2", r"\dfrac{1}{2}", True),
        (r"\frac{\sqrt{2}}{2}", r"\frac{1}{\sqrt{2}}", True),
        ("x+1", "1+x", True),
        ("(1,2)", r"\left(1, 2\right)", True),
        (r"2\pi", r"\pi", False),
        ("[1,2]", "(1,2)", False),
        ("7", "8", False),
        (r"\text{Evelyn}", r"\text{Evelyn}", True),
    ],
)
def test_answers_are_compared_as_mathematics(stated: str, gold: str, same: bool) -> None:
    assert same_answer(stated, gold, "math") == same


@pytest.fixture
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(math_answers, "PATIENCE", 2.0)


@pytest.mark.parametrize(
    "stated",
    [
        "9^{9^{9^{9^{9^{9}}}}}",
        "{" * 150 + "}" * 149,
        "\\frac" * 60,
        "__import__('os').system('touch hacked')",
        "\x00\ud800\u202e<script>",
        "\\int " * 50 + "x",
    ],
)
def test_an_answer_that_means_harm_is_wrong_and_no_more(stated: str, impatient, tmp_path, monkeypatch) -> None:
    monkeypatch.chdir(tmp_path)
    started = time.monotonic()
    assert not same_answer(stated, "7", "math")
    assert time.monotonic() - started < 60  # a killed process, and the start of the next one
    assert list(tmp_path.iterdir()) == []
    assert same_answer("14/2", "7", "math")


@pytest.mark.parametrize("text", ["\\boxed{", "\\boxed{}", "$", "{", "answer is $", "\\boxed{{}"])
def test_a_megabyte_is_read_at_once(text: str) -> None:
    question = Question("q", "math/algebra", "test", "?", "7", "math")
    started = time.process_time()
    judge(text * (1_000_000 // len(text)), question, finished=True)
    assert time.process_time() - started < 1


def test_a_cut_answer_is_truncated() -> None:
    question = Question("q", "math/algebra", "test", "?", "12", "math")
    assert judge("The answer is 1", question, finished=False) == (None, "truncated")
    assert judge(r"Thus \boxed{12}. And", question, finished=False) == ("12", "correct")


def test_a_data_folder_and_the_hub_give_problems_by_subject(tmp_path: Path) -> None:
    rows = [
        {"id": f"own-{n}", "task": subject, "question": f"What is {n}/2?", "answer": rf"$\frac{{{n}}}{{2}}$",
         "rationale": "Halve it.", "format": "human"}
        for n, subject in enumerate(("algebra", "geometry", "algebra"))
    ]  # fmt: skip
    (tmp_path / "math").mkdir()
    for split in ("train", "test"):
        with gzip.open(tmp_path / "math" / f"math_{split}.jsonl.gz", "wt") as file:
            file.writelines(json.dumps(row) + "\n" for row in rows)
    task = load_task(BenchmarkTask(name="math", data_dir=tmp_path, subtasks=("algebra",)))
    assert [question.id for question in task.test] == ["own-0", "own-2"]
    assert [question.answer for question in task.train] == [r"\frac{0}{2}", r"\frac{2}{2}"]
    assert task.test[0].task == "math/algebra"
    assert task.test[0].human_rationale == "Halve it."
    solution = r"We have $\boxed{1}$ at first, then $\boxed{\frac{3}{4}}$."
    row = {"problem": "How much?", "solution": solution, "level": "Level 1", "subtask": "geometry"}
    found = benchmark("math").from_hub(row, "test", 12)
    assert (found["id"], found["answer"]) == ("math-geometry-test-0012", r"\frac{3}{4}")


def test_a_solution_without_a_box_is_named(tmp_path: Path) -> None:
    (tmp_path / "math").mkdir()
    row = {"id": "own-1", "task": "algebra", "question": "What?", "answer": None}
    for split in ("train", "test"):
        with gzip.open(tmp_path / "math" / f"math_{split}.jsonl.gz", "wt") as file:
            file.write(json.dumps(row) + "\n")
    with pytest.raises(DataError, match="line 1: row has no 'answer'"):
        load_task(BenchmarkTask(name="math", data_dir=tmp_path))


@pytest.fixture
def two_judges(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """As on a machine with three processors."""
    judges = [math_answers._Judge() for _ in range(2)]
    idle = LifoQueue()
    for each in judges:
        idle.put(each)
    monkeypatch.setattr(math_answers, "_idle", idle)
    math_answers.same_math.cache_clear()
    yield
    assert idle.qsize() == 2
    for each in judges:
        each.stop()


@pytest.mark.usefixtures("two_judges")
def test_verdicts_found_ahead_by_several_processes_are_those_found_one_by_one() -> None:
    answers = {f"k{n}": f"So it is $\\frac{{{n}}}{{{2 + n % 3}}}$ at last. The answer is {n}/2." for n in range(12)}
    asked = {key: Question(key, "math/algebra", "test", "?", f"{n}/2", "math") for n, key in enumerate(answers)}
    plain = judge_of("cotdistill", asked.values())
    completions = [Completion.of(Request(key, ""), text, "stop", 1, 1) for key, text in answers.items()]
    with Judging(plain, {key: one for key, one in asked.items() if key != "k3"}) as judging:
        judging.begin(completions[:8])
        judging.begin(completions[4:])  # as a resumed evaluation may say what it has said before
        found = [judging(one, asked[one.key]) for one in completions]
    assert found == [plain(one.whole, asked[one.key], True) for one in completions]
    assert {verdict for _, verdict in found} == {"correct"}


@pytest.mark.usefixtures("two_judges")
def test_what_fails_ahead_fails_where_it_is_asked() -> None:
    def broken(text: str, question: Question, finished: bool) -> tuple[str | None, Verdict]:
        raise ConfigError("comparing answers in LaTeX needs a package")

    one, asked = Completion.of(Request("k", ""), "7", "stop", 1, 1), Question("k", "t", "test", "?", "7", "math")
    with Judging(broken, {"k": asked}) as judging:
        judging.begin([one])
        with pytest.raises(ConfigError, match="needs a package"):
            judging(one, asked)
