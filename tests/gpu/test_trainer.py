"""Training on the device: it learns, resumes to the same bits, and compiled layers train as plain ones do."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from tests.tiny import tiny_model, tiny_tokenizer
from tests.training.test_loop import config, examples, metrics

from cotdistill.config import ModelConfig, TrainingConfig
from cotdistill.errors import ModelError
from cotdistill.models.load.loading import load_model, load_tokenizer, resolve_dtype
from cotdistill.records import Question, Rationale
from cotdistill.training.data.batches import Batch
from cotdistill.training.data.examples import Example, make_examples
from cotdistill.training.loop import CHECKPOINT, train_student
from cotdistill.training.optimizer import check_optimizer
from cotdistill.training.rollouts import Rollouts
from cotdistill.training.signals.aligned import AlignedSignal
from cotdistill.training.signals.alignment import align
from cotdistill.training.signals.live import HiddenRows, LiveSignal, TeacherSignal

VOCABULARY = len(tiny_tokenizer())


class Broken(Exception):
    """What ends a training in its middle."""


class BreaksOff(LiveSignal):
    """A teacher that is lost at a batch."""

    def __init__(self, teacher: Any, batches: int):
        super().__init__(teacher)
        self.left = batches

    def rows(self, batch: Batch, *layers: Any) -> HiddenRows:
        self.left -= 1
        if self.left < 0:
            raise Broken
        return super().rows(batch, *layers)


def student_on(device: torch.device) -> Any:
    student = tiny_model(VOCABULARY, hidden=64).to(device)
    student.config.attention_dropout = 0.1
    return student


def teacher_on(device: torch.device) -> Any:
    return tiny_model(VOCABULARY, hidden=64, seed=1).to(device)


def train(student: Any, signal: TeacherSignal | None, folder: Path, settings: TrainingConfig) -> dict[str, Any]:
    folder.mkdir(exist_ok=True)
    train_student(student, examples(), settings, signal=signal, seed=0, folder=folder)
    return student.state_dict()


CHANGES = [{}, {"packing": True}, {"gradient_checkpointing": True}, {"optimizer": "adamw_8bit"}]


@pytest.mark.parametrize("changes", CHANGES, ids=str)
@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
def test_a_training_that_broke_off_resumes_to_the_same_bits(
    dtype: str, changes: dict[str, Any], device: torch.device, tmp_path: Path
) -> None:
    """Dropout, moments and the order of all sums included."""
    settings = config(dtype=dtype, **changes)
    try:
        check_optimizer(settings.optimizer)
    except ModelError as error:
        pytest.skip(str(error))
    unbroken = train(student_on(device), LiveSignal(teacher_on(device)), tmp_path / "unbroken", settings)
    with pytest.raises(Broken):
        train(student_on(device), BreaksOff(teacher_on(device), 4), tmp_path / "broken", settings)
    assert (tmp_path / "broken" / CHECKPOINT / "checkpoint.json").exists()
    resumed = train(student_on(device), LiveSignal(teacher_on(device)), tmp_path / "broken", settings)
    assert metrics(tmp_path / "broken") == metrics(tmp_path / "unbroken")
    assert all(torch.equal(unbroken[name], resumed[name]) for name in unbroken)


@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
def test_steps_on_own_samples_are_the_same_bits_twice(dtype: str, device: torch.device, tmp_path: Path) -> None:
    """What is drawn, what the cache of keys and values holds, and what is learnt from it."""
    settings = config(loss=["forward_kl"], dtype=dtype, on_policy={"share": 0.7, "max_new_tokens": 12})
    assert settings.on_policy is not None
    trained = []
    for run in ("first", "second"):
        (tmp_path / run).mkdir()
        student, signal = student_on(device), LiveSignal(teacher_on(device))
        rollouts = Rollouts(settings.on_policy, tiny_tokenizer(), 0, resolve_dtype(settings.dtype, device))
        folder = tmp_path / run
        train_student(student, examples(), settings, signal=signal, seed=0, folder=folder, rollouts=rollouts)
        trained.append(student.state_dict())
    assert metrics(tmp_path / "first") == metrics(tmp_path / "second")
    assert any("rollouts" in row for row in metrics(tmp_path / "first"))
    assert all(torch.equal(trained[0][name], trained[1][name]) for name in trained[0])


def aligned_examples(tokenizers: tuple[Any, Any]) -> tuple[list[Example], Any]:
    rationales = [
        Rationale(
            Question(f"q{n}", "own", "train", f"What is {n} + 5?", str(n + 5), "number"),
            f"First there are {n}, and then five more: that makes {n + 5}. " * 4,
            "me",
            None,
            "human",
        )
        for n in range(6)
    ]
    alignments = align(rationales, *tokenizers, "byte_offset")
    made = make_examples(rationales, tokenizers[0], max_length=1024, too_long="drop")[0]
    return [example for example in made if example.key in alignments.examples], alignments


def test_a_teacher_with_other_tokens_teaches_the_same_bits_twice(device: torch.device, tmp_path: Path) -> None:
    """Its spans and outcomes are sums of many numbers, whose order must not depend on which thread comes first."""
    names = "builtin:nano-student", "builtin:nano-teacher"
    student_config, teacher_config = (ModelConfig(model=name) for name in names)
    chosen, alignments = aligned_examples((load_tokenizer(student_config), load_tokenizer(teacher_config)))
    settings = config(loss=["forward_kl"], dtype="float32")
    trained = []
    for run in ("first", "second"):
        (tmp_path / run).mkdir()
        student = load_model(student_config, dtype=torch.float32, device=device)
        signal = AlignedSignal(LiveSignal(load_model(teacher_config, dtype=torch.float32, device=device)), alignments)
        train_student(student, chosen, settings, signal=signal, seed=0, folder=tmp_path / run)
        trained.append(student.state_dict())
    assert metrics(tmp_path / "first") == metrics(tmp_path / "second")
    assert all(torch.equal(trained[0][name], trained[1][name]) for name in trained[0])


def test_training_in_bfloat16_learns_what_float32_learns(device: torch.device, tmp_path: Path) -> None:
    last = []
    for dtype in ("float32", "bfloat16"):
        settings = config(loss=["cross_entropy"], signal=None, dtype=dtype, epochs=8)
        student = tiny_model(VOCABULARY, hidden=64).to(device)
        train(student, None, tmp_path / dtype, settings)
        losses = [float(str(row["loss"])) for row in metrics(tmp_path / dtype)]
        assert losses[-1] < 0.5 * losses[0]
        last.append(losses[-1])
    assert last[1] == pytest.approx(last[0], rel=0.2)


def test_compiled_layers_train_as_plain_ones(device: torch.device, tmp_path: Path) -> None:
    found = []
    for compiled in (False, True):
        folder = tmp_path / str(compiled)
        settings = config(loss=["cross_entropy"], signal=None, compile=compiled, packing=False, epochs=1)
        student = tiny_model(VOCABULARY, hidden=64).to(device)
        train(student, None, folder, settings)
        found.append([float(str(row["loss"])) for row in metrics(folder)])
    assert found[1] == pytest.approx(found[0], rel=1e-3)
