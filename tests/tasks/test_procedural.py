"""Procedural questions: the same everywhere, splits that cannot overlap, and texts that do not change unnoticed.

``python tests/tasks/test_procedural.py`` writes the golden file again, after a change of texts that is meant.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections import Counter
from pathlib import Path

import pytest

from cotdistill.config import PROCEDURAL_KINDS, ProceduralTask
from cotdistill.errors import ConfigError
from cotdistill.records import Question
from cotdistill.tasks.procedural import generate, generate_split, write_rationale
from cotdistill.tasks.procedural.words import CATEGORIES, NAMES, SORTING_WORDS

GOLDEN = Path(__file__).parents[1] / "golden" / "procedural.json"
SPLITS = ("train", "test", "pretrain")


def texts(questions: list[Question]) -> set[str]:
    return {question.question for question in questions}


def test_generate_fills_both_splits_with_kinds_taking_turns() -> None:
    train, test = generate(ProceduralTask(num_train=25, num_test=10))
    assert (len(train), len(test)) == (25, 10)
    assert [question.task for question in test] == [f"procedural/{kind}" for kind in PROCEDURAL_KINDS]
    assert {question.split for question in train} == {"train"}
    assert train[11].id == "procedural-date_understanding-train-00001"
    assert len({question.id for question in train + test}) == 35


def test_order_of_kinds_does_not_matter() -> None:
    forward = generate(ProceduralTask(num_train=30, num_test=13, seed=4))
    backward = generate(ProceduralTask(kinds=PROCEDURAL_KINDS[::-1], num_train=30, num_test=13, seed=4))
    assert forward == backward


def test_a_kind_alone_has_the_questions_it_has_among_others() -> None:
    together, _ = generate(ProceduralTask(num_train=50))
    alone, _ = generate(ProceduralTask(kinds=("dyck_languages",), num_train=5))
    assert [question for question in together if question.task == "procedural/dyck_languages"] == alone


def test_more_questions_only_add_to_fewer() -> None:
    config = ProceduralTask()
    assert generate_split(config, "pretrain", 60, 1)[:23] == generate_split(config, "pretrain", 23, 1)


def test_hash_randomisation_changes_nothing_and_torch_is_not_loaded() -> None:
    code = (
        "import sys; from cotdistill.config import ProceduralTask; from cotdistill.tasks.procedural import *;"
        "train, test = generate(ProceduralTask(num_train=40, num_test=20));"
        "print([(q.to_row(), write_rationale(q, 4, 'symbolic')) for q in train + test]);"
        "assert 'torch' not in sys.modules"
    )
    outputs = {
        subprocess.run(
            [sys.executable, "-c", code], env={**os.environ, "PYTHONHASHSEED": seed}, capture_output=True, check=True
        ).stdout
        for seed in ("1", "2")
    }
    assert len(outputs) == 1


def test_no_text_is_in_two_splits_whatever_the_seeds() -> None:
    """At difficulty 1 the splits are so full that a leak would show."""
    config = ProceduralTask(difficulty=1)
    by_split = [
        set().union(*(texts(generate_split(config, split, 800, seed)) for seed in range(3))) for split in SPLITS
    ]
    assert sum(map(len, by_split)) == len(set().union(*by_split))


def test_splits_and_seeds_differ() -> None:
    config = ProceduralTask()
    assert not texts(generate_split(config, "train", 100, 0)) <= texts(generate_split(config, "train", 100, 1))


@pytest.mark.parametrize("difficulty", [1, 4])
def test_no_question_is_twice_in_a_split(difficulty: int) -> None:
    for kind in PROCEDURAL_KINDS:
        questions = generate_split(ProceduralTask(kinds=(kind,), difficulty=difficulty), "train", 300, 0)
        assert len(texts(questions)) == 300


def test_answers_are_balanced() -> None:
    for kind in ("boolean_expressions", "navigate", "web_of_lies"):
        counts = Counter(q.answer for q in generate_split(ProceduralTask(kinds=(kind,)), "test", 200, 0))
        assert set(counts.values()) == {100}
    for kind in ("date_understanding", "logical_deduction", "tracking_shuffled_objects"):
        questions = generate_split(ProceduralTask(kinds=(kind,)), "train", 400, 0)
        most_frequent = max(Counter(question.answer for question in questions).values()) / 400
        assert most_frequent < 1.3 / len(questions[0].choices or ())


def test_exhausted_split_says_how_many_there_are() -> None:
    config = ProceduralTask(kinds=("dyck_languages",), difficulty=1, num_train=5000)
    with pytest.raises(ConfigError, match=r"dyck_languages at difficulty 1 .* split train: 4\d\d found, 5000 wanted"):
        generate(config)


def test_unknown_split_is_refused() -> None:
    with pytest.raises(ConfigError, match=r"unknown split 'tset'.*test"):
        generate_split(ProceduralTask(), "tset", 10, 0)


def test_word_lists_have_no_duplicates_and_categories_do_not_overlap() -> None:
    for words in (NAMES, SORTING_WORDS, sum(CATEGORIES.values(), ())):
        assert len(set(words)) == len(words)


def golden_rows() -> dict[str, dict[str, object]]:
    rows = {}
    for question in generate_split(ProceduralTask(), "train", len(PROCEDURAL_KINDS), 0):
        row = {key: question.to_row()[key] for key in ("id", "question", "choices", "answer", "answer_type", "meta")}
        rows[question.task] = row | {"rationale": write_rationale(question, 3, "cot").splitlines()}
    return rows


def test_texts_are_those_of_the_golden_file() -> None:
    assert golden_rows() == json.loads(GOLDEN.read_text(encoding="utf-8"))


if __name__ == "__main__":
    GOLDEN.write_text(json.dumps(golden_rows(), indent=2) + "\n", encoding="utf-8")
