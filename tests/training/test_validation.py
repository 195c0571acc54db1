"""Validation while training: it disturbs nothing, tells the best step, and survives a kill to the same bits."""

from __future__ import annotations

import signal
from pathlib import Path
from typing import Any

import pytest
import torch
from tests.command import die_before_change, new_process
from tests.tiny import tiny_model, tiny_tokenizer

from cotdistill.config import EvaluationConfig, TrainingConfig, Validation
from cotdistill.records import Question, Rationale
from cotdistill.storage.jsonl import read_rows
from cotdistill.training.data.examples import make_examples
from cotdistill.training.held_out import Checks
from cotdistill.training.loop import CHECKPOINT, METRICS, TrainingSummary, train_student
from cotdistill.training.rollouts import Rollouts
from cotdistill.training.signals.live import LiveSignal
from cotdistill.training.validation import SAMPLES, VALIDATION, Asking, History, Watch, due_steps


def rationale(n: int) -> Rationale:
    question = Question(f"q{n}", "own", "train", f"What is {n} + {n}?", str(2 * n), "number")
    return Rationale(question, f"{n} and {n} " + "make it " * n + f"{2 * n}.", "me", 3, "cot")


TRAINED, HELD_OUT = [rationale(n) for n in range(1, 10)], [rationale(n) for n in range(10, 14)]
LIVE = {"loss": ["cross_entropy", "forward_kl"], "signal": {"kind": "live", "model": "the teacher below"}}
ON_POLICY = {"loss": ["forward_kl"], "signal": LIVE["signal"], "on_policy": {"max_new_tokens": 6}}


def config_of(**changes: Any) -> TrainingConfig:
    """Nine examples in batches of four: an epoch of three steps, the last of them short."""
    values = {"epochs": 2, "batch_size": 4, "learning_rate": 1e-2, "dtype": "float32", "checkpoint_every": 2}
    return TrainingConfig.model_validate(values | LIVE | changes)


def trained(folder: Path, **changes: Any) -> tuple[dict[str, torch.Tensor], TrainingSummary]:
    """The weights of a tiny student with dropout, trained in ``folder``, and the summary."""
    folder.mkdir(parents=True, exist_ok=True)
    config, tokenizer = config_of(**changes), tiny_tokenizer()
    student, watch = tiny_model(len(tokenizer)), None
    student.config.attention_dropout = 0.1
    examples, held = (
        make_examples(rows, tokenizer, max_length=512, too_long="drop")[0] for rows in (TRAINED, HELD_OUT)
    )
    if config.validation:
        asked = tuple(each.question for each in HELD_OUT)[: config.validation.questions]
        checks = Checks(asked, "rationale", EvaluationConfig(max_new_tokens=12, max_batch_size=3), frozenset(), 4)
        watch = Watch(config.validation, held, Asking(checks, tokenizer, torch.float32))
    rollouts = Rollouts(config.on_policy, tokenizer, 3, torch.float32) if config.on_policy else None
    teacher = LiveSignal(tiny_model(len(tokenizer), seed=1))
    summary = train_student(
        student, examples, config, signal=teacher, seed=0, folder=folder, rollouts=rollouts, watch=watch
    )
    return student.state_dict(), summary


def records(folder: Path, name: str) -> list[dict[str, Any]]:
    return [{key: value for key, value in row.items() if key != "seconds"} for row in read_rows(folder / name)]


@pytest.mark.parametrize("changes", [LIVE, ON_POLICY, {"packing": True}], ids=["live", "on policy", "packed"])
def test_a_training_that_is_watched_is_the_same_training(tmp_path: Path, changes: dict[str, Any]) -> None:
    alone, _ = trained(tmp_path / "alone", **changes)
    watched, summary = trained(tmp_path / "watched", **changes, validation={"share": 0.3, "every": {"steps": 1}})
    assert all(torch.equal(alone[name], watched[name]) for name in alone)
    steps = [
        {name: value for name, value in row.items() if name != "validation"}
        for row in records(tmp_path / "watched", METRICS)
    ]
    assert steps == records(tmp_path / "alone", METRICS)
    found = records(tmp_path / "watched", VALIDATION)
    assert [row["step"] for row in found] == [1, 2, 3, 4, 5, 6]
    assert len(records(tmp_path / "watched", SAMPLES)) == 6 * len(HELD_OUT)
    assert summary.validation
    assert (summary.validation["kept_step"], summary.validation["kept_because"]) == (6, "the last step")


def test_the_loss_of_held_out_examples_is_what_a_step_on_them_would_show(tmp_path: Path) -> None:
    """One step, at a rate that moves nothing, in which they are the examples."""
    changes: dict[str, Any] = {"learning_rate": 1e-30, "epochs": 1, "batch_size": 9}
    trained(tmp_path / "watched", **changes, validation={"share": 0.3})
    tokenizer = tiny_tokenizer()
    held = make_examples(HELD_OUT, tokenizer, max_length=512, too_long="drop")[0]
    teacher = LiveSignal(tiny_model(len(tokenizer), seed=1))
    (tmp_path / "step").mkdir()
    config = config_of(**changes)
    train_student(tiny_model(len(tokenizer)), held, config, signal=teacher, seed=0, folder=tmp_path / "step")
    (found,), (step,) = records(tmp_path / "watched", VALIDATION), records(tmp_path / "step", METRICS)
    assert found["loss"] == pytest.approx(step["loss"], rel=1e-5)
    assert found["terms"] == pytest.approx(step["terms"], rel=1e-5)
    assert found["num_loss_tokens"] == step["num_loss_tokens"]
    for name, mean in found["terms"].items():
        parts = found["regions"][name]
        assert set(parts) == {"rationale", "answer"}
        assert min(parts.values()) < mean < max(parts.values())


@pytest.mark.parametrize("by", ["accuracy", "loss"])
def test_the_student_has_the_weights_of_the_best_step(tmp_path: Path, by: str) -> None:
    """At a rate at which it gets worse after a while: what is kept is what an end at that step would have given."""
    wild: dict[str, Any] = {"learning_rate": 0.05, "schedule": "constant", "epochs": 4}
    validation = {"share": 0.3, "every": {"steps": 1}, "keep": "best", "by": by}
    kept, summary = trained(tmp_path / "best", **wild, validation=validation)
    assert summary.validation
    rows = records(tmp_path / "best", VALIDATION)
    values = [row[by] for row in rows]
    wanted = values.index(max(values) if by == "accuracy" else min(values)) + 1
    assert summary.validation["kept_step"] == wanted < 12
    assert summary.validation["kept"]["loss"] == rows[wanted - 1]["loss"]
    there, _ = trained(tmp_path / "there", **wild | {"epochs": wanted / 3})
    assert all(torch.equal(kept[name], there[name]) for name in there)


def test_training_stops_when_it_gets_no_better(tmp_path: Path) -> None:
    wild: dict[str, Any] = {"learning_rate": 0.05, "schedule": "constant", "epochs": 20}
    validation = {"share": 0.3, "every": {"steps": 1}, "questions": 0, "by": "loss", "patience": 2}
    _, summary = trained(tmp_path, **wild, validation=validation)
    losses = [row["loss"] for row in records(tmp_path, VALIDATION)]
    best = losses.index(min(losses))
    assert len(losses) == best + 3 == summary.num_steps < 60
    assert summary.validation
    assert summary.validation["stopped_because"] == "no better loss in 2 checks"
    assert summary.validation["kept_step"] == summary.num_steps, "the last is kept unless the best is asked for"


def test_of_equal_accuracies_the_earlier_step_is_the_best() -> None:
    history = History(Validation(share=0.1, keep="best", patience=2))
    for step, accuracy in enumerate([0.1, 0.4, 0.4, 0.3], 1):
        assert not history.exhausted
        history.rows.append({"step": step, "accuracy": accuracy})
    assert history.best_step == 2
    assert history.exhausted


def test_checks_are_due_every_so_many_steps_or_epochs_and_at_the_end() -> None:
    def due(every: dict[str, float], num_steps: int = 7) -> list[int]:
        return sorted(due_steps(Validation.model_validate({"share": 0.1, "every": every}), num_steps, 9, 4))

    assert due({"steps": 3}) == [3, 6, 7]
    assert due({"steps": 100}) == [7]
    assert due({"epochs": 1}) == [3, 6, 7]
    assert due({"epochs": 0.5}) == [2, 3, 5, 6, 7]


STOPPING = ON_POLICY | {
    "on_policy": {"max_new_tokens": 6, "buffer": 2},
    "learning_rate": 0.2,
    "schedule": "constant",
    "epochs": 4,
    "validation": {"share": 0.3, "every": {"steps": 1}, "keep": "best", "by": "loss", "patience": 2},
}


def train_and_save(folder: Path, weights: Path, dies_before: int | None) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    if dies_before is not None:
        die_before_change(dies_before)
    torch.save(trained(folder, **STOPPING)[0], weights)


def test_a_training_killed_at_any_moment_ends_as_an_unbroken_one(tmp_path: Path) -> None:
    """Each process dies a little later than the one before, until one gets to the end: while it checks, between a
    check and its checkpoint, while the best weights are written, and where it stops early."""

    def status_of(name: str, dies_before: int | None = None) -> int | None:
        process = new_process(train_and_save, tmp_path / name, tmp_path / f"{name}.pt", dies_before)
        process.join(240)
        return process.exitcode

    assert status_of("unbroken") == 0
    checked, status = set(), None
    for dies_before in range(2, 400, 7):
        if (status := status_of("killed", dies_before)) == 0:
            break
        assert status == -signal.SIGKILL
        checkpoint, found = (tmp_path / "killed" / name for name in (f"{CHECKPOINT}/checkpoint.json", VALIDATION))
        checked.add((checkpoint.exists() and checkpoint.read_text(), found.exists() and len(found.read_bytes())))
    assert status == 0
    assert len(checked) >= 4, "the processes died at different moments"
    unbroken, resumed = (torch.load(tmp_path / f"{name}.pt", weights_only=True) for name in ("unbroken", "killed"))
    assert all(torch.equal(unbroken[name], resumed[name]) for name in unbroken)
    assert records(tmp_path / "killed", METRICS) == records(tmp_path / "unbroken", METRICS)
    assert len(records(tmp_path / "killed", METRICS)) < 12, "it stopped early"
    for name in (VALIDATION, SAMPLES):
        assert (tmp_path / "killed" / name).read_bytes() == (tmp_path / "unbroken" / name).read_bytes()
