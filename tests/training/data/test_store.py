"""Stored examples are those of the plain path, to the bit, and are made once."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
from tests.tiny import save_tiny, tiny_tokenizer
from tests.token_families import digits_split, sentence_piece

from cotdistill.config import ModelConfig, ProceduralTask, TrainingConfig
from cotdistill.errors import ArtifactError, DataError
from cotdistill.records import Rationale
from cotdistill.tasks.procedural import generate, write_rationale
from cotdistill.training.data import store
from cotdistill.training.data.batches import task_groups
from cotdistill.training.data.examples import Example, make_example, make_examples
from cotdistill.training.data.store import (
    StoredExamples,
    last_regions_of,
    lengths_of,
    make_tokens,
    tokenizer_identity,
    total_loss_tokens,
    write_examples,
)


def rationales(number: int) -> list[Rationale]:
    questions = generate(ProceduralTask(num_train=number, num_test=1))[0]
    return [
        Rationale(
            question,
            None if place % 7 == 3 else f"{write_rationale(question, 1 + place % 6, 'cot')} é <|im_end|> 東",
            "me",
            None if place % 7 == 3 else 1 + place % 6,
            "cot",
        )
        for place, question in enumerate(questions)
    ]


ROWS = rationales(2100)  # more than two chunks


def same(stored: Sequence[Example], plain: Sequence[Example]) -> bool:
    pairs = list(zip(stored, plain, strict=True))
    return all(one == other and one.key == other.key for one, other in pairs)


@pytest.mark.parametrize("family", [tiny_tokenizer(chat=True), digits_split(), sentence_piece()], ids=str)
def test_stored_examples_are_those_made_one_by_one(family: Any, tmp_path: Path) -> None:
    plain = [make_example(rationale, family) for rationale in ROWS]
    made, _ = make_examples(ROWS, family, max_length=10**6, too_long="error")
    highest = write_examples(tmp_path / "examples.arrow", made)
    stored = StoredExamples(tmp_path / "examples.arrow")
    assert same(stored, plain)
    assert highest == max(max(*one.input_ids, *one.targets) for one in plain)
    assert lengths_of(stored).tolist() == lengths_of(plain).tolist()
    assert last_regions_of(stored).tolist() == last_regions_of(plain).tolist()
    assert total_loss_tokens(stored) == total_loss_tokens(plain)
    assert stored[-1] == plain[-1]
    assert stored[1020:1030:3] == plain[1020:1030:3]
    with pytest.raises(IndexError):
        stored[len(plain)]


@pytest.mark.parametrize(
    "how",
    [
        {"target": "multi_task", "max_length": 200, "too_long": "drop"},
        {"target": "answer_then_rationale", "max_length": 120, "too_long": "cut_reasoning"},
        {"context": "rationale", "max_length": 10**6, "too_long": "error"},
    ],
    ids=str,
)
def test_they_are_the_same_under_every_setting(how: dict[str, Any], tmp_path: Path) -> None:
    plain, dropped = make_examples(ROWS, tiny_tokenizer(), **how)
    write_examples(tmp_path / "examples.arrow", plain)
    stored = StoredExamples(tmp_path / "examples.arrow")
    assert same(stored, plain)
    assert same([one.of_teacher() for one in stored], [one.of_teacher() for one in plain])
    assert task_groups(stored).tolist() == task_groups(plain).tolist()
    assert bool(dropped) == (how["too_long"] == "drop" or how["too_long"] == "cut_reasoning")


def settings(**changed: Any) -> TrainingConfig:
    return TrainingConfig.model_validate({"max_length": 200, **changed})


def test_only_what_changes_the_tokens_makes_them_anew(tmp_path: Path) -> None:
    student = ModelConfig(model=str(save_tiny(tmp_path / "student")))
    first = make_tokens(student, ROWS[:50], settings(), tmp_path)
    written = (first.path / "examples.arrow").stat().st_mtime_ns
    again = make_tokens(student, ROWS[:50], settings(learning_rate=1e-3, epochs=7, batch_size=3), tmp_path)
    assert again.path == first.path
    assert (again.path / "examples.arrow").stat().st_mtime_ns == written
    others = [
        make_tokens(student, ROWS[:50], settings(max_length=150), tmp_path),
        make_tokens(student, ROWS[:50], settings(target="answer_only"), tmp_path),
        make_tokens(student, ROWS[:49], settings(), tmp_path),
    ]
    assert len({first.path, *(other.path for other in others)}) == 4
    plain, dropped = make_examples(ROWS[:50], tiny_tokenizer(), max_length=200, too_long="drop")
    assert same(first.examples, plain)
    assert first.dropped == dropped
    assert sum(first.sources.values()) == 50
    assert first.lengths["whole"] == len(plain)


def test_a_killed_making_starts_again_and_leaves_nothing_behind(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    student = ModelConfig(model=str(save_tiny(tmp_path / "student")))
    whole = make_tokens(student, ROWS[:50], settings(), tmp_path / "whole")

    def killed(path: Path, examples: Any) -> int:
        path.write_bytes(b"half")
        raise KeyboardInterrupt

    with monkeypatch.context() as patched:
        patched.setattr(store, "write_examples", killed)
        with pytest.raises(KeyboardInterrupt):
            make_tokens(student, ROWS[:50], settings(), tmp_path / "killed")
    made = make_tokens(student, ROWS[:50], settings(), tmp_path / "killed")
    assert (made.path / "examples.arrow").read_bytes() == (whole.path / "examples.arrow").read_bytes()
    assert set(json.loads((made.path / "manifest.json").read_text())["files"]) == {
        "examples.arrow",
        "identity.json",
        "summary.json",
    }


def test_a_damaged_file_is_refused(tmp_path: Path) -> None:
    student = ModelConfig(model=str(save_tiny(tmp_path / "student")))
    made = make_tokens(student, ROWS[:50], settings(), tmp_path)
    data = bytearray((made.path / "examples.arrow").read_bytes())
    data[len(data) // 2] ^= 1
    (made.path / "examples.arrow").write_bytes(data)
    with pytest.raises(ArtifactError, match="checksum"):
        make_tokens(student, ROWS[:50], settings(), tmp_path)


def test_nothing_to_train_on_is_an_error(tmp_path: Path) -> None:
    student = ModelConfig(model=str(save_tiny(tmp_path / "student")))
    with pytest.raises(DataError, match="all 50 exceed"):
        make_tokens(student, ROWS[:50], settings(max_length=8), tmp_path)


def test_a_tokenizer_is_known_by_its_content_and_not_by_its_use() -> None:
    fresh, used, chat = tiny_tokenizer(), tiny_tokenizer(), tiny_tokenizer(chat=True)
    used(["a", "a long text"], padding=True, truncation=True, max_length=3)
    assert tokenizer_identity(fresh) == tokenizer_identity(used) != tokenizer_identity(chat)
