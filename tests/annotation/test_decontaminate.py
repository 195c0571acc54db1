"""Decontamination: own examples, and the leaks that are known of the released data."""

from __future__ import annotations

import json
import random
from dataclasses import replace
from pathlib import Path

import pytest

from cotdistill.annotation import annotate
from cotdistill.annotation.decontaminate import find_overlap, overlap_by_set
from cotdistill.config import AnnotationConfig, BenchmarkTask, HumanTeacher
from cotdistill.records import Question
from cotdistill.storage.jsonl import read_rows
from cotdistill.tasks import load_task
from cotdistill.tasks.exemplars import exemplar_questions

LONG = "a train leaves the old station at noon and reaches the far harbour town some hours later"


def question(text: str, number: int = 0) -> Question:
    return Question(f"q{number}", "own", "train", text, "1", "number", human_rationale="It is one.")


def test_three_measures_of_overlap() -> None:
    training = [question(text) for text in ("How many?", "how  many", f"First: {LONG}!", "Something else?")]
    overlap = find_overlap(training, [question("How many?"), question(f"{LONG} again")])
    assert (overlap.exact, overlap.normalised, overlap.ngram) == ({0}, {0, 1}, {2})
    assert overlap.to_row() == {"exact": 1, "normalised": 2, "13_gram": 1}


def test_expressions_that_differ_in_their_signs_differ() -> None:
    overlap = find_overlap(
        [question("Close: [ ( <"), question("2 + 3 =")], [question("Close: < ( ["), question("2 - 3 =")]
    )
    assert overlap.to_row() == {"exact": 0, "normalised": 0, "13_gram": 0}


@pytest.mark.parametrize(("mode", "left"), [("off", 3), ("report", 3), ("questions", 2), ("ngrams", 1)])
def test_leaks_are_left_out_and_recorded(tmp_path: Path, mode: str, left: int) -> None:
    texts = ("How many?", f"First: {LONG}!", "Something else?")
    training = [question(text, number) for number, text in enumerate(texts)]
    config = AnnotationConfig.model_validate({"decontaminate": mode})
    evaluation = [question("how many"), question(f"{LONG} again")]
    made = annotate(training, HumanTeacher(), config, runs=tmp_path, evaluation=evaluation)
    assert len(made) == left
    assert made.dropped == ({"in_evaluation": 3 - left} if left < 3 else {})
    assert [dropped.id for dropped in made.left_out] == ["q0", "q1"][: 3 - left]


@pytest.mark.shared
@pytest.mark.parametrize(
    ("training", "evaluation", "leaked"),
    [
        ("eit_cot/stqa_human_annotation", "eit_cot/test_strategyqa", 290),
        ("strategyqa/strategyqa_train", "eit_cot/test_strategyqa", 260),
        ("flan_cot/strategyqa_train", "eit_cot/test_strategyqa", 260),
        ("strategyqa/strategyqa_dev", "eit_cot/test_strategyqa", 30),
        ("flan_cot/ecqa_train", "commonsenseqa/csqa_dev", 794),
        ("distilling_step_by_step/svamp_train_palm", "svamp/svamp_test", 236),
        ("openbookqa/obqa_train", "openbookqa/obqa_test", 23),  # 22 and one that differs in punctuation
        ("svamp/svamp_train", "svamp/svamp_test", 0),
        ("gsm8k/gsm8k_train", "gsm8k/gsm8k_test", 0),
        ("commonsenseqa/csqa_train", "commonsenseqa/csqa_dev", 0),
    ],
)
def test_known_leaks_are_found(shared_data: Path, training: str, evaluation: str, leaked: int) -> None:
    def read(name: str) -> list[Question]:
        rows = read_rows(shared_data / f"{name}.jsonl.gz")
        return [question(row["question"], number) for number, row in enumerate(rows)]

    tested = read(evaluation)
    # Counted as in the data's own README: evaluation questions that are in the training file.
    assert len(find_overlap(tested, read(training)).normalised) == leaked


def test_every_evaluation_set_and_its_exemplars_are_in_the_manifest(tmp_path: Path) -> None:
    training = [question(text, number) for number, text in enumerate(("How many?", "Something else?", LONG))]
    shown = Question("shot", "bbh/navigate", "few_shot", "something  else", "Yes", "yes_no")
    tested = Question("test", "bbh/navigate", "test", f"{LONG}, you say?", "Yes", "yes_no")
    evaluation = [question("How many?"), tested, shown]
    made = annotate(training, HumanTeacher(), AnnotationConfig(), runs=tmp_path, evaluation=evaluation)
    assert [rationale.id for rationale in made] == ["q2"]
    assert made.path is not None
    assert json.loads((made.path / "manifest.json").read_text("utf-8"))["contamination"] == {
        "left_out_by": "questions",
        "evaluation": {
            "bbh": {"questions": 1, "exact": 0, "normalised": 0, "13_gram": 1},
            "bbh exemplars": {"questions": 1, "exact": 0, "normalised": 1, "13_gram": 0},
            "own": {"questions": 1, "exact": 1, "normalised": 1, "13_gram": 0},
        },
    }


@pytest.mark.shared
def test_exemplars_in_the_training_data_are_found(shared_data: Path) -> None:
    tested = load_task(BenchmarkTask(name="bbh", data_dir=shared_data, num_test=1)).test
    exemplars = exemplar_questions(tested, shared_data)
    assert len(exemplars) == 81
    rows = list(read_rows(shared_data / "bbh/cot_prompt_exemplars.jsonl.gz"))
    training = [question(row["question"].partition("\nOptions:\n")[0].upper(), n) for n, row in enumerate(rows)]
    (count, overlap) = overlap_by_set(training, exemplars)["bbh exemplars"]
    assert (count, len(overlap.normalised)) == (81, 81)
    assert len(overlap.exact) < 81  # the training copy is in capitals
    assert [shot.answer for shot in exemplars] == [row["answer"] for row in rows]


def test_all_sets_are_compared_at_once_as_each_is_alone() -> None:
    draw = random.Random(0)
    words = ["a", "b", "7", "(", "and", "+"]

    def some(count: int) -> list[str]:
        return [" ".join(draw.choices(words, k=draw.choice((2, 3, 14, 20)))) for _ in range(count)]

    shared = some(20)
    training = [question(text) for text in [*some(200), *shared, f"{shared[-1]}!"]]
    sets = {name: [question(text) for text in [*some(40), *draw.sample(shared, 6)]] for name in ("one", "two", "three")}
    asked = [replace(each, task=f"{name}/part") for name, tested in sets.items() for each in tested]
    found = overlap_by_set(training, draw.sample(asked, len(asked)))
    assert found == {name: (46, find_overlap(training, tested)) for name, tested in sorted(sets.items())}
    assert all(overlap.exact and overlap.ngram for _, overlap in found.values())
