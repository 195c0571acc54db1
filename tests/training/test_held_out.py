"""What a training holds out, and what its validation finds there: the same questions for all, asked as in the test."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path
from typing import Any

import pytest
from safetensors.torch import load_file
from tests.tiny import save_tiny

from cotdistill.config import CachedTeacher, EvaluationConfig, LiveTeacher, ModelConfig, TrainingConfig
from cotdistill.errors import ConfigError, DataError
from cotdistill.evaluation.evaluate import evaluate
from cotdistill.records import Question, Rationale
from cotdistill.storage.jsonl import read_rows, write_rows
from cotdistill.storage.stored import StoredRecords, joined
from cotdistill.training.held_out import Checks, HeldOut, drawn, held_out, ids_of
from cotdistill.training.job import TrainingJob
from cotdistill.training.stage import Student, capture_signals, train, training_identity

TESTED = EvaluationConfig(max_new_tokens=16, dtype="float32")


def rationale(n: int, text: str = "Twice as many.") -> Rationale:
    question = Question(f"q{n}", "own", "train", f"What is {n} + {n}?", str(2 * n), "number")
    return Rationale(question, text, "me", 3, "cot")


RATIONALES = [rationale(n) for n in range(1, 21)]
FILE = HeldOut([rationale(n).question for n in (50, 51, 52)], [rationale(n) for n in (50, 51, 52)], TESTED)


@pytest.fixture(scope="module")
def models(tmp_path_factory: pytest.TempPathFactory) -> tuple[ModelConfig, ModelConfig]:
    """A student and a teacher."""
    folder = tmp_path_factory.mktemp("models")
    return tuple(ModelConfig(model=str(save_tiny(folder / str(seed), seed=seed))) for seed in (0, 1))  # type: ignore


def config_of(**changes: Any) -> TrainingConfig:
    values = {"epochs": 2, "batch_size": 5, "learning_rate": 1e-2, "dtype": "float32"}
    return TrainingConfig.model_validate(values | changes)


def share(**changes: Any) -> dict[str, Any]:
    return {"validation": {"share": 0.25, "questions": 3, **changes}}


def file(**changes: Any) -> dict[str, Any]:
    return {"validation": {"data": "read by whoever gives it", "questions": 2, **changes}}


def found(student: Student, name: str = "validation.jsonl") -> list[dict[str, Any]]:
    return list(read_rows(student.path / name))


def weights(student: Student) -> dict[str, Any]:
    return load_file(student.model / "model.safetensors")


def test_the_same_questions_are_held_out_whatever_is_taught_and_in_whatever_order() -> None:
    questions = [one.question for one in RATIONALES]
    chosen = held_out(questions, 0.25)
    assert 0 < len(chosen) < 10
    renamed = [dataclasses.replace(one, id=f"x{one.id}", question=f"  {one.question.upper()}") for one in questions]
    assert [one.id for one in held_out(renamed, 0.25)] == [f"x{one.id}" for one in chosen]
    assert {one.id for one in chosen} <= {one.id for one in held_out(questions, 0.5)}
    assert drawn(questions, 4) == drawn(questions[::-1], 4)
    both = [rationale(n, text) for n in range(1, 21) for text in ("One way.", "Another way.")]
    for target in ("rationale_then_answer", "multi_task"):
        assert ids_of(both, config_of(target=target), 0.25) == {one.id for one in chosen}


def test_what_is_held_out_is_not_trained_on_and_is_asked_as_in_the_test(
    models: tuple[ModelConfig, ModelConfig], tmp_path: Path
) -> None:
    """The kept student, tested on the same questions, says to the letter what it said in the training."""
    held = HeldOut(held_out((one.question for one in RATIONALES), 0.25), evaluation=TESTED)
    config, said = config_of(**share(keep="best", by="loss"), epochs=4, learning_rate=0.05), []
    made = train(models[0], RATIONALES, config, seed=0, runs=tmp_path, held=held, say=said.append)
    summary = made.summary["validation"]
    number = len(held.questions)
    assert summary["held_out"] == {"questions": number, "examples": number, "asked": 3}
    assert made.summary["num_examples"] == len(RATIONALES) - number
    rows = found(made)
    assert summary["kept_step"] == min(rows, key=lambda row: row["loss"])["step"]
    asked = drawn(held.questions, 3)
    tested = evaluate(
        ModelConfig(model=str(made.model)), asked, target=made.target, config=TESTED, runs=tmp_path / "tested"
    )
    samples = [row for row in found(made, "validation_samples.jsonl") if row["step"] == summary["kept_step"]]
    for sample, prediction in zip(samples, tested, strict=True):
        assert sample == {"step": summary["kept_step"]} | prediction.to_row()
    assert f"step {summary['kept_step']} of {made.summary['num_steps']}" in (made.model / "README.md").read_text()
    assert sum(line.startswith("step ") for line in said) == len(rows)


def test_a_file_of_questions_changes_nothing_of_the_training(
    models: tuple[ModelConfig, ModelConfig], tmp_path: Path
) -> None:
    plain = train(models[0], RATIONALES, config_of(), seed=0, runs=tmp_path)
    checked = train(models[0], RATIONALES, config_of(**file()), seed=0, runs=tmp_path, held=FILE)
    assert checked.path != plain.path
    assert all((weights(plain)[name] == weights(checked)[name]).all() for name in weights(plain))
    assert checked.summary["num_examples"] == len(RATIONALES)
    assert [set(row) >= {"loss", "accuracy"} for row in found(checked)] == [True, True]
    bare = dataclasses.replace(FILE, rationales=[dataclasses.replace(one, rationale=None) for one in FILE.rationales])
    unread = train(models[0], RATIONALES, config_of(**file()), seed=0, runs=tmp_path, held=bare)
    assert ["loss" in row for row in found(unread)] == [False, False]
    answers = [dataclasses.replace(one, rationale=None) for one in RATIONALES]
    short = train(models[0], answers, config_of(**file()), seed=0, runs=tmp_path, held=bare)
    assert set(found(short)[0]["regions"]["0_cross_entropy_all"]) == {"answer"}


@pytest.mark.parametrize("validation", [share(), file()], ids=["share", "file"])
def test_a_captured_teacher_is_compared_on_held_out_examples_as_a_live_one(
    models: tuple[ModelConfig, ModelConfig], tmp_path: Path, validation: dict[str, Any]
) -> None:
    student, teacher = models
    loss, held = {"loss": ["forward_kl"]}, FILE if "data" in validation["validation"] else None
    stored = config_of(**loss, **validation, signal=CachedTeacher(model=teacher))
    live = config_of(**loss, **validation, signal=LiveTeacher(model=teacher))
    (captured,) = capture_signals(student, RATIONALES, stored, runs=tmp_path, held=held)
    plain = config_of(**loss, signal=CachedTeacher(model=teacher))
    same = capture_signals(student, RATIONALES, plain, runs=tmp_path)[0].folder == captured.folder
    assert same == (held is None), "a share is among what is captured without validation"
    one, other = (
        found(train(student, RATIONALES, config, seed=0, runs=tmp_path / config.signal.kind, held=held))  # type: ignore
        for config in (stored, live)
    )
    assert [row["loss"] for row in one] == pytest.approx([row["loss"] for row in other], rel=1e-6)


def test_a_training_without_validation_has_the_name_that_it_had(models: tuple[ModelConfig, ModelConfig]) -> None:
    plain = training_identity(models[0], RATIONALES, config_of(), 0)
    assert "validation" not in {*plain, *plain["training"]}
    names = [
        repr(training_identity(models[0], RATIONALES, config_of(**validation), 0, held))
        for validation, held in (
            (file(), FILE),
            (file(keep="best"), FILE),
            (file(), dataclasses.replace(FILE, questions=FILE.questions[:1])),
            (file(), dataclasses.replace(FILE, rationales=FILE.rationales[:1])),
            (file(), dataclasses.replace(FILE, evaluation=EvaluationConfig(max_new_tokens=17))),
        )
    ]
    assert len(set(names)) == len(names)
    unasked = dataclasses.replace(FILE, evaluation=TESTED.model_copy(update={"temperature": 0.2, "num_samples": 4}))
    assert repr(training_identity(models[0], RATIONALES, config_of(**file()), 0, unasked)) == names[0]


def test_other_processes_get_what_is_held_out_with_the_job(models: tuple[ModelConfig, ModelConfig]) -> None:
    for own in (None, Path("/somewhere/tokens")):
        checks = Checks(tuple(FILE.questions), "rationale", TESTED, frozenset({"q1", "q2"}), 3, own)
        job = TrainingJob(models[0], Path("/a"), [], config_of(**share()), 0, Path("/b"), Path("/c"), checks)
        assert TrainingJob.from_json(job.to_json()) == job


def test_rationales_that_lie_in_a_file_are_handed_over_as_its_path(
    models: tuple[ModelConfig, ModelConfig], tmp_path: Path
) -> None:
    write_rows(tmp_path / "rationales.jsonl", (rationale.to_row() for rationale in RATIONALES))
    stored = StoredRecords(tmp_path / "rationales.jsonl", Rationale.from_row)
    job = TrainingJob(models[0], Path("/a"), [stored, RATIONALES[:2]], config_of(**share()), 0, Path("/b"), Path("/c"))
    told = json.loads(job.to_json())["rationales"]
    assert told == [str(stored.path), [rationale.to_row() for rationale in RATIONALES[:2]]]
    assert list(joined(TrainingJob.from_json(job.to_json()).rationales)) == [*RATIONALES, *RATIONALES[:2]]


def test_a_share_that_leaves_nothing_and_a_file_that_nobody_read_are_refused(
    models: tuple[ModelConfig, ModelConfig], tmp_path: Path
) -> None:
    with pytest.raises(DataError, match=r"1e-06 of 20 rationales holds out 0; choose another share"):
        train(models[0], RATIONALES, config_of(**share(share=1e-6)), seed=0, runs=tmp_path)
    with pytest.raises(ConfigError, match=r"training\.validation\.data: nothing has read the file"):
        train(models[0], RATIONALES, config_of(**file()), seed=0, runs=tmp_path)
