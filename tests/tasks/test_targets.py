"""The invariant: a student that writes its training target to the letter is judged correct."""

from __future__ import annotations

from pathlib import Path

import pytest

from cotdistill.errors import DataError
from cotdistill.records import AnswerType, Question, Rationale
from cotdistill.storage.jsonl import read_rows
from cotdistill.tasks.answers.types import is_number, read_gold
from cotdistill.tasks.targets import misjudged, refuse_misjudged


def rationale(text: str | None, answer: str = "34", answer_type: AnswerType = "number", id_: str = "q") -> Rationale:
    return Rationale(Question(id_, "own", "train", "?", answer, answer_type), text, "own", None, "cot")


@pytest.mark.parametrize(
    "text",
    [
        None,
        "30 + 4 = 34.",
        "Q: How many are 30 and 4?\nThey are 34.",
        "<think>Is the answer is 6? No.</think>\n30 + 4 = 34.",
        "The answer is 6 at first sight, but 30 + 4 = 34.",
        "#### Step 1\nAdd 30 and 4.",
        "At first it cannot be determined.",
    ],
)
def test_rationales_that_keep_the_invariant(text: str | None) -> None:
    assert misjudged([rationale(text)]) == []
    assert misjudged([rationale(text)], "answer_then_rationale") == []


def test_a_row_that_breaks_it_is_named_with_what_is_read() -> None:
    texts = ["The answer is 6. It is so.\nQ: And 30 and 4?\nThey are 34.", "<think>30 + 4 = 34.", "30 + 4 = 34."]
    (found,) = misjudged([rationale(text, id_=f"q{place}") for place, text in enumerate(texts)])
    assert (found.id, found.answer, found.read, found.verdict) == ("q0", "34", "6", "wrong")
    assert str(found).startswith("q0 (answer '34'): '6' is read in ")


def test_few_such_rows_are_said_and_many_refused() -> None:
    bad = rationale("The answer is 6. It is so.\nQ: And 30 and 4?\nThey are 34.", id_="bad")
    rows = [rationale("30 + 4 = 34.")] * 30
    assert refuse_misjudged(rows, "rationale_then_answer", where="own") is None
    said = refuse_misjudged([*rows, bad], "rationale_then_answer", where="own")
    assert said is not None
    assert said.startswith("1 of 31 training targets are not judged correct, such as bad")
    with pytest.raises(DataError, match=r"own: 10 of 40 training targets are not judged correct, such as bad .*; fix"):
        refuse_misjudged([*rows, *[bad] * 10], "rationale_then_answer", where="own")


@pytest.mark.shared
@pytest.mark.slow
def test_every_row_with_a_rationale_keeps_the_invariant(shared_data: Path) -> None:
    broken: list[str] = []
    total = 0
    for path in sorted(shared_data.glob("*/*.jsonl.gz")):
        rows = [_row(row) for row in read_rows(path) if row.get("rationale") and row.get("answer")]
        known = [row for row in rows if row is not None]
        total += len(known)
        for target in ("rationale_then_answer", "answer_then_rationale"):
            broken += [str(row) for row in misjudged(known, target)]
    assert total > 300_000
    assert not broken, broken[:5]


def _row(row: dict) -> Rationale | None:
    answer, choices = row["answer"].strip(), tuple(row.get("choices") or ()) or None
    kinds: dict[str, AnswerType] = {"yes": "yes_no", "no": "yes_no", "true": "true_false", "false": "true_false"}
    plain: AnswerType = kinds.get(answer.lower(), "number" if is_number(answer) else "text")
    answer_type: AnswerType = "letter" if choices else plain
    gold = read_gold(answer, answer_type, choices)
    if gold is None:
        return None
    question = Question(row["id"], row["task"], "train", row["question"], gold, answer_type, choices)
    return Rationale(question, row["rationale"], "own", None, "cot")
