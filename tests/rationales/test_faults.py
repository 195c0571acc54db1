"""Verification: own rationales with one fault each, and precision and recall on a hand-labelled sample."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from cotdistill.annotation import collect_rationales
from cotdistill.annotation.keep import refusal
from cotdistill.config import AnnotationConfig, BenchmarkTask, DatasetTeacher, ProceduralTask, ProceduralTeacher
from cotdistill.granularities import GRANULARITIES
from cotdistill.rationales.faults import find_faults
from cotdistill.records import Question, Rationale
from cotdistill.tasks import load_task

LABELS = Path(__file__).parents[1] / "golden" / "rationale_labels.jsonl"


def rationale(text: str, answer: str = "76", **meta: object) -> Rationale:
    question = Question("q", "own", "train", "Ann has 50 pens and buys 24. How many has she then?", answer, "number")
    return Rationale(question, text, "someone", 3, "cot", {"teacher_answer": answer, "teacher_agrees": True} | meta)


def reasons(text: str, answer: str = "76", **meta: object) -> list[str]:
    return [fault.reason for fault in find_faults(rationale(text, answer, **meta))]


def test_a_conclusion_other_than_the_answer_is_found() -> None:
    assert reasons("50 + 24 = 74.") == ["leads_elsewhere"]
    assert reasons("50 + 24 = 74.", "74") == []
    assert reasons("She now has 75 pens.") == ["leads_elsewhere"]
    assert reasons("So we calculate 50 + 24.") == ["leads_elsewhere"]
    assert reasons("So we calculate 50 + 24.", "74") == []


def test_false_arithmetic_is_found_whatever_it_leads_to() -> None:
    assert reasons("50 + 24 = 76.") == ["false_arithmetic"]
    assert reasons("50 + 20 = 71, and 71 + 5 = 76.") == ["false_arithmetic"]


def test_a_plan_without_numbers_derives_nothing() -> None:
    assert reasons("Add what she buys to what she has.", "74") == ["answer_not_derived"]
    assert reasons("Add 24 to 50.", "74") == ["answer_not_derived"]
    assert reasons("We get 50 + 24 = ?", "74") == ["unfinished_equation"]
    assert reasons("There are two of them.", "2") == []


def test_a_check_behind_the_conclusion_is_not_the_conclusion() -> None:
    assert reasons("50 + 24 = 74.\nCheck: 74 - 24 = 50.", "74") == []
    assert reasons("1. Add: 50 + 24 = 74.\n2.", "74") == []


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("<Solution Path> 50 + 24 = 74.", "leaked_slot_name"),
        ("[Insert reasoning] 50 + 24 = 74.", "leaked_slot_name"),
        ("50 + 24 = 74. " + "so so so so so so so it is 74.", "repetition"),
        ("Then she has many more pens now. " * 6 + "50 + 24 = 74.", "repetition"),
        ("50 + 24 = 74 pens, because the", "truncated"),
        ("Она имеет пятьдесят ручек, и ещё двадцать четыре: 50 + 24 = 74.", "wrong_language"),
    ],
)
def test_marks_of_a_failed_generation_are_found(text: str, reason: str) -> None:
    assert reasons(text, "74")[0] == reason


def test_the_server_says_where_a_text_was_cut() -> None:
    assert reasons("50 + 24 = 74.", "74", finish_reason="length") == ["truncated"]
    assert reasons("50 + 24 = 74.", "74", finish_reason="stop") == []


def test_text_that_only_looks_faulty_passes() -> None:
    for text in (
        "50 + 24 = 74. Therefore,",  # what is left of "therefore, the answer is 74"
        "If x < 5 and y > 3, then <br> 50 + 24 = 74.",
        "Step 1: 50. Step 2: 24. Step 3: 50 + 24 = 74.",
        "No pens are lost, no pens are sold, no pens are given away: 50 + 24 = 74.",
    ):
        assert reasons(text, "74") == [], text


def test_keep_names_the_first_fault_and_shows_it() -> None:
    dropped = refusal(rationale("50 + 24 = 74."), "verified")
    assert dropped is not None
    assert (dropped.id, dropped.reason, dropped.rationale) == ("q", "leads_elsewhere", "50 + 24 = 74.")
    assert "50 + 24 = 74. (answer 76)" in dropped.evidence
    assert refusal(rationale("50 + 24 = 74."), "agree") is None


def test_the_solver_never_fails_verification() -> None:
    questions = load_task(ProceduralTask(num_train=100, num_test=10)).train
    for granularity in GRANULARITIES:
        for form in ("cot", "least_to_most", "rar", "symbolic"):
            annotation = AnnotationConfig(granularity=granularity, format=form, keep="verified")
            found = collect_rationales(questions, ProceduralTeacher(), annotation)
            assert found.dropped == {}, found.left_out[:2]


@pytest.mark.shared
def test_precision_and_recall_on_hand_labelled_rationales(shared_data: Path) -> None:
    """140 released SVAMP rationales, read and labelled by hand; the repository keeps their ids only.

    ``uniform`` was drawn from all; ``flagged`` from those that an earlier state of the checks called inconsistent.
    """
    labels = {row["id"]: row for row in map(json.loads, LABELS.read_text().splitlines())}
    questions = load_task(BenchmarkTask(name="svamp", data_dir=shared_data)).train
    outcomes: list[tuple[str, str, set[str]]] = []
    for teacher, finest in (("chatgpt", 6), ("gemini", 6), ("llama", 4)):
        for level in range(1, finest + 1):
            config = DatasetTeacher(teacher=teacher)  # pyright: ignore[reportArgumentType]
            for found in collect_rationales(questions, config, AnnotationConfig(granularity=level), shared_data):
                if label := labels.get(found.meta["source"].split("/")[1]):
                    outcomes.append((label["sample"], label["label"], {fault.reason for fault in find_faults(found)}))
    assert len(outcomes) == len(labels) == 140

    def shares(sample: str) -> tuple[float, float]:
        faulty = [label != "sound" for drawn, label, _ in outcomes if drawn == sample]
        called = [bool(faults) for drawn, _, faults in outcomes if drawn == sample]
        hits = sum(f and c for f, c in zip(faulty, called, strict=True))
        return hits / sum(called), hits / sum(faulty)

    assert min(shares("uniform")) >= 0.95
    assert min(shares("flagged")) >= 0.95
    inconsistent = {"false_arithmetic", "leads_elsewhere"}
    called = [(label, bool(faults & inconsistent)) for _, label, faults in outcomes]
    hits = called.count(("inconsistent", True))
    assert hits / sum(is_called for _, is_called in called) >= 0.85
    assert hits / sum(label == "inconsistent" for label, _ in called) >= 0.9
