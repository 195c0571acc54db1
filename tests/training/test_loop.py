"""The training loop: a killed run resumes to the same bits, and what is not finite stops it."""

from __future__ import annotations

import math
import signal
from pathlib import Path

import pytest
import torch
from tests.command import die_before_change, new_process
from tests.tiny import tiny_model, tiny_tokenizer

from cotdistill.config import TrainingConfig
from cotdistill.errors import ArtifactError, TrainingError
from cotdistill.records import Question, Rationale
from cotdistill.storage.jsonl import read_rows
from cotdistill.training.data.examples import Example, make_examples
from cotdistill.training.loop import CHECKPOINT, METRICS, train_student
from cotdistill.training.schedules import learning_rate
from cotdistill.training.signals.live import LiveSignal


def examples() -> list[Example]:
    """Nine, so that an epoch of batches of four has three steps and a short last one."""
    rationales = [
        Rationale(
            Question(f"q{n}", "own", "train", f"What is {n} + {n}?", str(2 * n), "number"),
            f"{n} and {n} " + "make it " * n + f"{2 * n}.",
            "me",
            3,
            "cot",
        )
        for n in range(1, 10)
    ]
    return make_examples(rationales, tiny_tokenizer(), max_length=512, too_long="drop")[0]


def config(**changes: object) -> TrainingConfig:
    values = {"epochs": 2, "batch_size": 4, "learning_rate": 1e-2, "dtype": "float32", "checkpoint_every": 2}
    signal_of = {"loss": ["cross_entropy", "forward_kl"], "signal": {"kind": "live", "model": "the teacher below"}}
    return TrainingConfig.model_validate(values | signal_of | changes)


def train(folder: Path, weights: Path | None = None, dies_before: int | None = None) -> None:
    """Train a tiny student with dropout for six steps in ``folder``; its weights go to ``weights``."""
    folder.mkdir(parents=True, exist_ok=True)
    student = tiny_model(len(tiny_tokenizer()))
    student.config.attention_dropout = 0.1
    teacher = LiveSignal(tiny_model(len(tiny_tokenizer()), seed=1))
    if dies_before is not None:
        die_before_change(dies_before)
    train_student(student, examples(), config(), signal=teacher, seed=0, folder=folder)
    if weights:
        torch.save(student.state_dict(), weights)


def train_in_a_new_process(folder: Path, weights: Path, dies_before: int | None = None) -> int | None:
    process = new_process(train, folder, weights, dies_before)
    process.join(240)
    return process.exitcode


def metrics(folder: Path) -> list[dict[str, object]]:
    return [row | {"seconds": None} for row in read_rows(folder / METRICS)]


def test_a_training_killed_after_each_checkpoint_ends_as_an_unbroken_one(tmp_path: Path) -> None:
    """Each process dies a little later than the one before, until one gets to the end."""
    assert train_in_a_new_process(tmp_path / "unbroken", tmp_path / "unbroken.pt") == 0
    resumed_from, status = set(), None
    for dies_before in range(2, 60, 2):
        status = train_in_a_new_process(tmp_path / "killed", tmp_path / "killed.pt", dies_before)
        if status == 0:
            break
        assert status == -signal.SIGKILL
        checkpoint = tmp_path / "killed" / CHECKPOINT / "checkpoint.json"
        resumed_from.add(checkpoint.read_text()[:12] if checkpoint.exists() else None)
    assert status == 0
    assert len(resumed_from) >= 2, "no process had a checkpoint to go on from"
    unbroken, resumed = (torch.load(tmp_path / f"{name}.pt", weights_only=True) for name in ("unbroken", "killed"))
    assert all(torch.equal(unbroken[name], resumed[name]) for name in unbroken)
    assert metrics(tmp_path / "killed") == metrics(tmp_path / "unbroken")
    assert [row["step"] for row in metrics(tmp_path / "killed")] == [1, 2, 3, 4, 5, 6]


def test_training_lowers_the_loss_and_sums_up_what_it_did(tmp_path: Path) -> None:
    student = tiny_model(len(tiny_tokenizer()))
    cross_entropy = config(loss=["cross_entropy"], signal=None, epochs=4)
    summary = train_student(student, examples(), cross_entropy, signal=None, seed=0, folder=tmp_path)
    assert summary.num_steps == 12
    assert summary.num_tokens == 4 * sum(map(len, examples()))
    assert summary.num_loss_tokens == 4 * sum(example.num_loss_tokens for example in examples())
    assert summary.last_loss < 0.7 * summary.first_loss
    assert not student.training


def test_micro_batches_change_no_step_but_for_rounding(tmp_path: Path) -> None:
    losses = []
    for budget in (1, 200, 100_000):
        folder = tmp_path / str(budget)
        folder.mkdir()
        student = tiny_model(len(tiny_tokenizer()))
        plain = config(loss=["cross_entropy"], signal=None, max_batch_tokens=budget)
        train_student(student, examples(), plain, signal=None, seed=0, folder=folder)
        losses.append([row["loss"] for row in metrics(folder)])
    assert losses[1] == pytest.approx(losses[0], rel=1e-4)
    assert losses[2] == pytest.approx(losses[0], rel=1e-4)


@pytest.mark.parametrize("poison", [math.nan, math.inf])
def test_a_loss_that_is_not_finite_stops_training_and_names_step_and_examples(tmp_path: Path, poison: float) -> None:
    student = tiny_model(len(tiny_tokenizer()))
    with torch.no_grad():
        student.model.layers[0].mlp.down_proj.weight[0, 0] = poison
    plain = config(loss=["cross_entropy"], signal=None)
    with pytest.raises(TrainingError) as raised:
        train_student(student, examples(), plain, signal=None, seed=0, folder=tmp_path)
    line = str(raised.value)
    assert line.startswith("step 1, examples q")
    assert "lower training.learning_rate" in line
    assert "\n" not in line
    assert not (tmp_path / CHECKPOINT).exists()


def test_what_was_trained_before_a_loss_that_is_not_finite_is_kept(tmp_path: Path) -> None:
    """The rate is far too high: the loss leaves the numbers some steps in, after a checkpoint."""
    student = tiny_model(len(tiny_tokenizer()))
    wild = config(loss=["cross_entropy"], signal=None, learning_rate=1e18, checkpoint_every=1, epochs=20)
    with pytest.raises(TrainingError, match="step "):
        train_student(student, examples(), wild, signal=None, seed=0, folder=tmp_path)
    done = metrics(tmp_path)
    assert done
    assert all(math.isfinite(float(str(row["loss"]))) for row in done)
    assert f'"step": {len(done)}' in (tmp_path / CHECKPOINT / "checkpoint.json").read_text()


def test_a_damaged_checkpoint_stops_training_before_it_starts(tmp_path: Path) -> None:
    checkpoint = tmp_path / CHECKPOINT
    checkpoint.mkdir()
    (checkpoint / "checkpoint.json").write_text('{"step": 2, "sha256": {}}')
    student = tiny_model(len(tiny_tokenizer()))
    with pytest.raises(ArtifactError, match="the checkpoint is corrupted; delete"):
        train_student(
            student, examples(), config(loss=["cross_entropy"], signal=None), signal=None, seed=0, folder=tmp_path
        )


def test_an_example_that_is_longer_than_the_students_positions_is_refused(tmp_path: Path) -> None:
    student = tiny_model(len(tiny_tokenizer()))
    long = Example("q1", [5] * 600, [5] * 600, examples()[0].regions[-1:] * 600)
    with pytest.raises(TrainingError, match=r"rationale q1: 600 tokens .* set training\.max_length: 512"):
        train_student(
            student, [long], config(loss=["cross_entropy"], signal=None), signal=None, seed=0, folder=tmp_path
        )


def test_a_number_of_steps_comes_before_epochs_and_is_where_the_schedule_ends(tmp_path: Path) -> None:
    """Two of six steps of the two epochs, and eight: more than they have."""
    for steps in (2, 8):
        settings = config(max_steps=steps, loss=["cross_entropy"], signal=None)
        folder, model = tmp_path / str(steps), tiny_model(len(tiny_tokenizer()))
        folder.mkdir()
        totals = train_student(model, examples(), settings, signal=None, seed=0, folder=folder)
        rates = [row["learning_rate"] for row in read_rows(folder / METRICS)]
        assert totals.num_steps == len(rates) == steps
        assert rates == [learning_rate(settings, step, steps) for step in range(steps)]
    assert settings.epochs_of(16) == 2.0
