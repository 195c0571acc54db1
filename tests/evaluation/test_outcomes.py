"""Outcomes say of stored predictions what the predictions say themselves, without the texts."""

from __future__ import annotations

import random
from dataclasses import replace
from pathlib import Path

import pytest
from tests.stages import finished_evaluation

from cotdistill.errors import ArtifactError, DataError
from cotdistill.evaluation import stored as stored_module
from cotdistill.evaluation.diagnosis.flips import flips_by_task
from cotdistill.evaluation.outcomes import outcomes_in
from cotdistill.evaluation.read import read_evaluation
from cotdistill.evaluation.statistics.averages import averages, by_task
from cotdistill.evaluation.statistics.comparisons import compare, margin_p_value, pooled, trend
from cotdistill.evaluation.statistics.over_tasks import compare_over_tasks
from cotdistill.evaluation.stored import outcomes_of
from cotdistill.records import VERDICTS, Prediction, Question, Tally

ASKED = [Question(f"q{n}", f"task{n % 3}", "test", "How many?", str(n), "number") for n in range(30)]


def judged(seed: int) -> list[Prediction]:
    draw = random.Random(seed)
    made = []
    for one in ASKED:
        verdict = draw.choice(VERDICTS)
        stated = {"correct": one.answer, "wrong": "half\ud83d a face"}.get(verdict)
        tokens = draw.randrange(1, 99)
        samples = (None, None) if draw.random() < 0.5 else (Tally(4, draw.randrange(3), (1, 1)), tokens // 2)
        made.append(Prediction(one.id, one.task, one.answer, f"so\n{stated}", stated, verdict, 7, tokens, *samples))
    return made


@pytest.fixture
def stored(tmp_path: Path):
    """Two students' predictions in memory and on disk, the second's in another order."""
    plain = [judged(0), random.Random(1).sample(judged(1), len(ASKED))]
    folders = [finished_evaluation(tmp_path / str(n), ASKED, one) for n, one in enumerate(plain)]
    return plain, [read_evaluation(folder).predictions for folder in folders]


def test_statistics_are_the_same_of_what_is_stored(stored) -> None:
    plain, (a, b) = stored
    (c, d), names = plain, ("a", "b")
    assert averages(a) == averages(c)
    assert by_task(b) == by_task(d)
    assert compare(a, b) == compare(c, d)
    assert pooled([(a, b), (b, a)]) == pooled([(c, d), (d, c)])
    assert compare_over_tasks([(a, b)]) == compare_over_tasks([(c, d)])
    assert trend([[(a, b)], [(b, a)]]) == trend([[(c, d)], [(d, c)]])
    assert margin_p_value([(a, b)], 0.1, names=names) == margin_p_value([(c, d)], 0.1, names=names)
    assert flips_by_task(ASKED, a, b) == flips_by_task(ASKED, c, d)


def test_every_column_is_what_the_predictions_say(stored) -> None:
    for plain, kept in zip(*stored, strict=True):
        outcomes = outcomes_of(kept)
        assert [(*item, gold) for item, gold in zip(outcomes.items.places, outcomes.items.golds, strict=True)] == [
            (one.task, one.id, one.answer) for one in plain
        ]
        assert [VERDICTS[verdict] for verdict in outcomes.verdicts] == [one.verdict for one in plain]
        assert outcomes.stated.to_pylist() == outcomes_in(plain).stated.to_pylist()
        for name in ("num_prompt_tokens", "num_output_tokens"):
            assert getattr(outcomes, name).tolist() == [getattr(one, name) for one in plain]
        thought = [-1 if one.num_reasoning_tokens is None else one.num_reasoning_tokens for one in plain]
        assert outcomes.num_reasoning_tokens.tolist() == thought
        assert list(outcomes.tallies()) == [one.tally for one in plain]


def test_stored_predictions_are_read_one_by_one_or_all(stored) -> None:
    for plain, kept in zip(*stored, strict=True):
        assert list(kept) == plain
        assert [kept[place] for place in range(len(plain))] == plain
        assert (kept[-1], kept[3:7]) == (plain[-1], tuple(plain[3:7]))
        with pytest.raises(IndexError):
            kept[len(plain)]
    assert stored[1][0] != stored[1][1]


def test_students_that_were_asked_the_same_share_their_items(tmp_path: Path) -> None:
    read = [read_evaluation(finished_evaluation(tmp_path / str(n), ASKED, judged(n))).predictions for n in range(2)]
    assert outcomes_of(read[0]).items is outcomes_of(read[1]).items


def test_other_gold_answers_are_refused_from_disk_too(tmp_path: Path) -> None:
    changed = [replace(one, answer="0") if one.id == "q4" else one for one in judged(1)]
    folders = [finished_evaluation(tmp_path / str(n), ASKED, one) for n, one in enumerate((judged(0), changed))]
    a, b = (read_evaluation(folder).predictions for folder in folders)
    with pytest.raises(DataError, match="the gold answers of id 'q4' of task task1 differ: '4' and '0'"):
        compare(a, b)


def test_what_another_version_wrote_is_refused_in_one_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(stored_module, "NUMBERS", stored_module.NUMBERS[:-1])
    folder = finished_evaluation(tmp_path / "old", ASKED, judged(0))
    monkeypatch.undo()
    with pytest.raises(ArtifactError, match=f"another version wrote it, without .*delete {folder} and run again"):
        outcomes_of(read_evaluation(folder).predictions)
