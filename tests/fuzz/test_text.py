"""Whatever a model writes is read without an error, and what is read from it keeps its promises."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.fuzz.bounded import BOUNDED, WRITTEN

from cotdistill.evaluation.diagnosis.extractors import EXTRACTORS
from cotdistill.rationales.faults import REASONS, find_faults
from cotdistill.records import ANSWER_TYPES, AnswerType, Question, Rationale
from cotdistill.tasks.answers.reading import judge, same_answer, statement_seam
from cotdistill.tasks.answers.stripping import clean_rationale, split_statement
from cotdistill.tasks.answers.types import read_answer, read_gold

pytestmark = pytest.mark.fuzz

IN_THIS_PROCESS = st.sampled_from([kind for kind in ANSWER_TYPES if kind != "math"])
"""LaTeX is compared by a process of its own, a second for each that it cannot compare."""

CHOICES = st.one_of(st.none(), st.lists(WRITTEN.filter(str.strip), min_size=2, max_size=6).map(tuple))


def question(kind: AnswerType, gold: str, choices: tuple[str, ...] | None = None) -> Question:
    return Question("q", "own", "test", "What is 1 + 1?", gold, kind, choices)


@BOUNDED
@given(WRITTEN, IN_THIS_PROCESS, CHOICES, st.booleans(), st.booleans())
def test_a_verdict_agrees_with_what_was_read(text, kind, choices, finished, first):
    asked = question(kind, "1", choices)
    extracted, verdict = judge(text, asked, finished=finished, first=first)
    if extracted is None:
        assert verdict == ("unreadable" if finished else "truncated")
    else:
        assert verdict == ("correct" if same_answer(extracted, "1", kind) else "wrong")


@BOUNDED
@given(WRITTEN, IN_THIS_PROCESS, CHOICES)
def test_a_gold_answer_that_is_stated_is_correct(text, kind, choices):
    """Whatever stands before it, and however the gold answer was written."""
    gold = read_gold(text, kind, choices)
    if gold is None:
        return
    assert same_answer(gold, gold, kind)
    if kind in ("number", "yes_no", "true_false", "letter"):
        assert judge(f"{text}\nThe answer is {gold}.", question(kind, gold, choices), finished=True) == (
            gold,
            "correct",
        )


@BOUNDED
@given(WRITTEN, IN_THIS_PROCESS, CHOICES)
def test_what_was_read_is_read_again_as_itself(text, kind, choices):
    stated = read_answer(text, kind, choices)
    if stated is not None and kind in ("number", "letter", "yes_no", "true_false"):
        assert read_answer(stated, kind, choices) == stated


@BOUNDED
@given(WRITTEN)
def test_a_rationale_is_split_within_its_text(text):
    reasoning, stated = split_statement(text)
    assert len(reasoning) <= len(text) + 1, "marks are closed, nothing else is added"
    assert stated is None or stated in text
    assert 0 <= statement_seam(text) <= len(text)
    assert 0 <= statement_seam(text, first=True) <= len(text)


@BOUNDED
@given(WRITTEN)
def test_a_clean_rationale_stays_as_it_is(text):
    clean = clean_rationale(text)
    assert clean == clean.strip()
    assert clean_rationale(clean) == clean


@BOUNDED
@given(WRITTEN, WRITTEN, st.sampled_from(["cot", "least_to_most", "rar", "symbolic"]))
def test_faults_are_found_in_anything(text, asked, form):
    rationale = Rationale(Question("q", "own", "train", asked, "5", "number"), text, "t", None, form)
    reasons = [fault.reason for fault in find_faults(rationale)]
    assert reasons == sorted(reasons, key=REASONS.index)


@BOUNDED
@given(WRITTEN, IN_THIS_PROCESS, CHOICES)
def test_every_extractor_reads_anything(text, kind, choices):
    asked = question(kind, "1", choices)
    for extractor in EXTRACTORS.values():
        found = extractor.extract(text, asked)
        assert found is None or isinstance(extractor.same(found, asked), bool)
