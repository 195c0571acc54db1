"""The training stage: what names it, what it writes, and what it refuses."""

from __future__ import annotations

import dataclasses
from typing import Any

import pytest
from tests.tiny import save_tiny

from cotdistill.config import LiveTeacher, ModelConfig, TrainingConfig
from cotdistill.records import Question, Rationale
from cotdistill.training.train import training_identity

QUESTION = Question("q", "own", "train", "Ann has 12 apples and gives 5 away. How many are left?", "7", "number")
RATIONALES = (Rationale(QUESTION, "12 - 5 = 7.", "me", 3, "cot"),)


@pytest.fixture(scope="module")
def student(tmp_path_factory: pytest.TempPathFactory) -> ModelConfig:
    return ModelConfig(model=str(save_tiny(tmp_path_factory.mktemp("models") / "student")))


def config_of(student: ModelConfig, **changes: Any) -> TrainingConfig:
    values = {"loss": [{"kind": "forward_kl"}], "signal": LiveTeacher(model=student), "dtype": "float32"}
    return TrainingConfig(**(values | changes))


CHANGES: list[dict[str, Any]] = [
    {"loss": [{"kind": "reverse_kl"}]},
    {"loss": [{"kind": "jensen_shannon"}]},
    {"loss": [{"kind": "forward_kl"}, {"kind": "cross_entropy"}]},
    {"loss": [{"kind": "forward_kl", "region": "answer"}]},
    {"loss": [{"kind": "forward_kl", "temperature": 2.0}]},
    {"loss": [{"kind": "cross_entropy"}], "signal": None},
    {"epochs": 1},
    {"learning_rate": 1e-4},
    {"batch_size": 2},
    {"max_length": 64},
    {"too_long": "error"},
    {"schedule": "linear"},
    {"dtype": "bfloat16"},
]


def test_whatever_changes_the_student_changes_its_key(student: ModelConfig) -> None:
    rationales = (
        RATIONALES,
        (dataclasses.replace(RATIONALES[0], rationale="5 of 12 go: 7."),),
        (dataclasses.replace(RATIONALES[0], rationale=None),),
    )
    identities = [training_identity(student, RATIONALES, config_of(student, **change), 0) for change in CHANGES]
    identities += [training_identity(student, rows, config_of(student), 0) for rows in rationales]
    identities.append(training_identity(student, RATIONALES, config_of(student), 1))
    cut = student.model_copy(update={"keep_layers": 1})
    identities.append(training_identity(cut, RATIONALES, config_of(student), 0))
    identities.append(training_identity(student, RATIONALES, config_of(student, signal=LiveTeacher(model=cut)), 0))
    assert len({repr(identity) for identity in identities}) == len(identities)


def test_how_often_checkpoints_are_written_changes_no_key(student: ModelConfig) -> None:
    keys = [training_identity(student, RATIONALES, config_of(student, checkpoint_every=n), 0) for n in (1, 100)]
    assert keys[0] == keys[1]
