"""Extractors side by side: what each reads, what the audit says of an evaluation, and that no text can stall them."""

from __future__ import annotations

import json
import time
from collections import Counter
from pathlib import Path

import pytest
from tests.stages import finished_evaluation

from cotdistill.cli import main
from cotdistill.config import BenchmarkTask
from cotdistill.errors import DataError
from cotdistill.evaluation.diagnosis.audit import audit
from cotdistill.evaluation.diagnosis.extractors import EXTRACTORS
from cotdistill.evaluation.read import read_evaluation
from cotdistill.records import ANSWER_TYPES, VERDICTS, Prediction, Question
from cotdistill.storage.jsonl import read_rows, write_rows
from cotdistill.tasks import load_task
from cotdistill.tasks.answers.reading import judge

GOLDEN = Path(__file__).parents[2] / "golden" / "released_verdicts.jsonl"

CHOICES = ("rain", "wind", "snow")


def question(answer="B", answer_type="letter", target=None) -> Question:
    choices = CHOICES if answer_type == "letter" else None
    return Question("q", "own", "test", "?", answer, answer_type, choices, meta={"target": target or answer})


def prediction(output: str, answer="B") -> Prediction:
    return Prediction("q", "own", answer, output, None, "unreadable", 5, 5)


@pytest.mark.parametrize(
    ("output", "answer_type", "expected"),
    [
        ("It blows.\nThe answer is B.", "letter", ["B", "B", "B", "B", None]),
        ("It blows. So the answer is (B).", "letter", [None, "B", "B", None, "(B)"]),
        ("It blows, thus (B).", "letter", [None, None, "B", None, None]),
        ("The answer is A. No:\nThe answer is B.", "letter", ["B", "B", "B", "A", None]),
        ("1 + 2 = 3", "number", [None, None, "3", None, None]),
        ("The answer is 3 + 4.\nThe answer is 1,207.", "number", ["1207", "1207", "1207", "1207", None]),
        ("so the answer is 12.\n\nQ: 5", "number", [None, "12", "12", None, "12"]),
        ("The answer is True.", "true_false", ["True", "True", "True", "True", None]),
        ("Nothing here", "letter", [None] * 5),
        ("", "number", [None] * 5),
    ],
)
def test_what_each_extractor_reads(output, answer_type, expected):
    asked = question(answer_type=answer_type)
    names = ("template", "statement", "flexible", "paper", "harness")
    assert [EXTRACTORS[name].extract(output, asked) for name in names] == expected
    assert tuple(EXTRACTORS) == names


def test_the_harness_compares_letter_by_letter():
    harness = EXTRACTORS["harness"]
    assert harness.same("(B)", question(target="(B)"))
    assert not harness.same("B", question(target="(B)"))
    assert not harness.same("Yes", question("Yes", "yes_no", target="yes"))


def test_the_audit_counts_by_extractor_and_shows_disagreements():
    questions = [Question(f"q{i}", "own", "test", "?", "B", "letter", CHOICES) for i in range(4)]
    outputs = ["The answer is B.", "So it is (B)", "The answer is A.", "no idea"]
    predictions = [
        Prediction(q.id, q.task, "B", output, None, "wrong", 1, 1) for q, output in zip(questions, outputs, strict=True)
    ]
    result = audit(questions, predictions)
    assert result.n == 4
    assert result.accuracy == {"template": 0.25, "statement": 0.25, "flexible": 0.5, "paper": 0.25, "harness": 0.0}
    assert result.unreadable == {"template": 2, "statement": 2, "flexible": 1, "paper": 2, "harness": 4}
    assert [item.id for item in result.disagreements] == ["q0", "q1"]
    assert result.disagreements[1].correct["flexible"]
    assert not result.disagreements[1].correct["statement"]


def test_the_audit_reads_an_evaluation_and_names_what_is_missing(tmp_path):
    with pytest.raises(DataError, match="this is not an evaluation; give the folder of an evaluation"):
        read_evaluation(tmp_path)
    found = read_evaluation(finished_evaluation(tmp_path, [question()], [prediction("The answer is B.")]))
    assert (found.questions, tuple(found.predictions)) == ((question(),), (prediction("The answer is B."),))
    with pytest.raises(DataError, match="the question 'q' of task own is missing"):
        audit([], found.predictions)


def test_the_audit_in_words_escapes_what_models_wrote(tmp_path, capsys, monkeypatch):
    finished_evaluation(tmp_path, [question()], [prediction("It is (B)\x1b[31m\n")])
    monkeypatch.setattr("sys.argv", ["cotdistill", "audit", str(tmp_path)])
    with pytest.raises(SystemExit) as ended:
        main()
    printed = capsys.readouterr().out
    assert ended.value.code == 0
    assert "1 items; extractors disagree on 1" in printed
    assert "It is (B)\\u001b[31m\\n" in printed
    assert "\x1b" not in printed


@pytest.mark.parametrize("name", list(EXTRACTORS))
def test_no_megabyte_of_text_stalls_an_extractor(name):
    pieces = ["the answer is ", "The answer is ", "9", "1,", "(", "(A", "yes ", "\n", " ", "the answer is \n", "-", "."]
    slow = []
    for index, piece in enumerate(pieces):
        text = piece * (1_000_000 // len(piece))
        started = time.process_time()
        EXTRACTORS[name].extract(text, question("1", ANSWER_TYPES[index % len(ANSWER_TYPES)]))
        if time.process_time() - started > 1:
            slow.append(piece)
    assert not slow


@pytest.mark.shared
def test_golden_verdicts_of_released_outputs(shared_data):
    """Chosen by task and by what the releases' own parsing says; where that differs from ours, each was looked at."""
    cases = list(read_rows(GOLDEN))
    assert len(cases) >= 300
    assert {case["answer_type"] for case in cases} == {*ANSWER_TYPES} - {"math"}, "no set of MATH is released with them"
    assert set(Counter(case["verdict"] for case in cases)) == set(VERDICTS)
    bbh = {q.id: q for q in load_task(BenchmarkTask(name="bbh", data_dir=shared_data)).test}
    wrong = []
    for file in dict.fromkeys(case["file"] for case in cases):
        rows = {row["id"]: row for row in read_rows(shared_data / f"{file}.jsonl.gz")}
        for case in (case for case in cases if case["file"] == file):
            row = rows[case["id"]]
            asked = bbh.get(row["meta"].get("bbh_id")) or Question.from_row(row | {"answer_type": case["answer_type"]})
            extracted, verdict = judge(row["output"][: case["cut"]], asked, finished=case["cut"] is None)
            if verdict != case["verdict"] or extracted != case.get("extracted", extracted):
                wrong.append((case, extracted, verdict))
    assert not wrong, json.dumps(wrong[:5])


def test_an_evaluation_that_is_not_finished_is_not_audited(tmp_path):
    """What is there of it has the longest prompts, and its accuracy would be that of these."""
    asked = [question(), Question("r", "own", "test", "?", "B", "letter", CHOICES)]
    write_rows(tmp_path / "questions.jsonl", (one.to_row() for one in asked))
    write_rows(tmp_path / "predictions.jsonl", [prediction("The answer is B.").to_row()])
    with pytest.raises(DataError, match="this evaluation is not finished; run the command that began it again"):
        read_evaluation(tmp_path)
