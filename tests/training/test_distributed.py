"""Two processes train as one does, whole or sharded: the same gradients, losses, checkpoints and students."""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import torch
from tests.command import new_process, run_command
from tests.tiny import save_tiny, tiny_model, tiny_tokenizer
from transformers import AutoModelForCausalLM

from cotdistill.config import (
    CrossEntropy,
    EvaluationConfig,
    ForwardKL,
    HiddenMSE,
    LoRA,
    LossConfig,
    OnPolicy,
    TrainingConfig,
)
from cotdistill.errors import ConfigError
from cotdistill.models.load.adapters import add_adapter
from cotdistill.records import Question, Rationale
from cotdistill.storage.jsonl import read_rows
from cotdistill.training.data.batches import collate, micro_batches, packed_batches
from cotdistill.training.data.examples import Example, make_examples
from cotdistill.training.distributed import ALONE, Ranks, join, whole
from cotdistill.training.held_out import Checks
from cotdistill.training.loop import CHECKPOINT, METRICS, train_student
from cotdistill.training.rollouts import Rollouts
from cotdistill.training.signals.live import LiveSignal
from cotdistill.training.step import DistillationLoss, accumulate
from cotdistill.training.validation import VALIDATION, Asking, Watch

SIZE = len(tiny_tokenizer())
TERMS: dict[str, tuple[LossConfig, ...]] = {
    "mixed": (CrossEntropy(weight=0.5), ForwardKL(temperature=2.0)),
    "tied": (ForwardKL(),),
    "hidden": (HiddenMSE(), ForwardKL()),
    "hidden alone": (HiddenMSE(),),
    "adapter": (ForwardKL(),),
    "packed": (CrossEntropy(weight=0.5), ForwardKL()),
}


def examples(count: int = 9) -> list[Example]:
    rationales = [
        Rationale(
            Question(f"q{n}", "own", "train", f"What is {n} + {n}?", str(2 * n), "number"),
            f"{n} and {n} " + "make it " * n + f"{2 * n}.",
            "me",
            3,
            "cot",
        )
        for n in range(1, count + 1)
    ]
    return make_examples(rationales, tiny_tokenizer(), max_length=512, too_long="drop")[0]


def student_of(case: str) -> Any:
    student = tiny_model(SIZE)
    if case == "tied":
        student.config.tie_word_embeddings = True
        student.tie_weights()
    if case == "adapter":
        add_adapter(student, LoRA(rank=4), seed=0)
        with torch.no_grad():
            for name, parameter in student.named_parameters():
                if "lora_B" in name:
                    parameter.fill_(0.05)
    return student


def gradients(case: str, ranks: Ranks, count: int) -> tuple[float, dict[str, torch.Tensor]]:
    """Of one step in micro-batches of about two examples; the ranks have different numbers of them."""
    rows = examples()[:count]
    lengths = [len(example) for example in rows]
    signal = LiveSignal(tiny_model(SIZE, hidden=48, seed=2))
    ranks.shard_teacher(signal.teacher)
    module = DistillationLoss(student_of(case), TERMS[case], signal).train()
    wrapped = ranks.wrap(module, module.student, uses_head=bool(module.token_terms))
    layout = "packed" if case == "packed" else "padded"
    cut = packed_batches if case == "packed" else micro_batches
    batches = [
        collate([rows[i] for i in micro], layout)
        for micro in cut(ranks.share(range(count), lengths), lengths, 2 * max(lengths))
    ]
    spare = collate(rows[:1], layout)
    loss, means, tokens = accumulate(
        wrapped, batches, device=torch.device("cpu"), dtype=torch.float32, ranks=ranks, spare=spare
    )
    assert tokens == sum(example.num_loss_tokens for example in rows)
    assert len(means) == len(TERMS[case])
    named = module.trained_parameters()
    return loss, {name: whole(p.grad) for name, p in named.items() if p.grad is not None}


def config(**changes: Any) -> TrainingConfig:
    values = {"epochs": 2, "batch_size": 4, "learning_rate": 1e-3, "dtype": "float32", "checkpoint_every": 2}
    return TrainingConfig.model_validate(values | changes)


def train_on_samples(folder: Path, ranks: Ranks = ALONE) -> dict[str, torch.Tensor]:
    """A student that trains on its own samples in some steps; a step of one example leaves a rank none to draw."""
    on_policy = config(
        batch_size=5, loss=["forward_kl"], signal={"model": "the one below"}, on_policy={"max_new_tokens": 8}
    )
    student, signal = student_of("mixed"), LiveSignal(tiny_model(SIZE, hidden=48, seed=2))
    rollouts = Rollouts(on_policy.on_policy or OnPolicy(), tiny_tokenizer(), seed=3, dtype=torch.float32)
    train_student(student, examples(6), on_policy, signal=signal, seed=0, folder=folder, rollouts=rollouts, ranks=ranks)
    return {name: p.detach().clone() for name, p in student.named_parameters()}


def train_watched(folder: Path, sharded: bool, ranks: Ranks = ALONE) -> dict[str, torch.Tensor]:
    """Nothing is answered rightly, so the first step is the best, and the training stops after the third; of a student
    that is sharded only the loss is taken."""
    questions, by = (0, "loss") if sharded else (2, "accuracy")
    values = {"share": 0.3, "every": {"steps": 1}, "questions": questions, "keep": "best", "by": by, "patience": 2}
    watched = config(validation=values)
    student, tokenizer, rows = student_of("mixed"), tiny_tokenizer(), examples(12)
    asked = tuple(Question(f"v{n}", "own", "train", f"What is {n} + {n}?", "4", "number") for n in range(questions))
    checks = Checks(asked, "rationale", EvaluationConfig(max_new_tokens=6), frozenset(), 3)
    assert watched.validation is not None
    watch = Watch(watched.validation, rows[9:], Asking(checks, tokenizer, torch.float32))
    train_student(student, rows[:9], watched, signal=None, seed=0, folder=folder, watch=watch, ranks=ranks)
    return {name: whole(p.detach()).clone() for name, p in student.named_parameters()}


def run_alone(folder: Path) -> None:
    results: dict[str, Any] = {f"{case} {count}": gradients(case, ALONE, count) for case in TERMS for count in (9, 1)}
    torch.save(results, folder / "alone.pt")


def run_rank(rank: int, port: int, sharded: bool, folder: Path) -> None:
    os.environ |= {"RANK": str(rank), "WORLD_SIZE": "2", "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(port)}
    if sharded:
        os.environ |= {"ACCELERATE_USE_FSDP": "true", "FSDP_VERSION": "2"}
    ranks = join()
    assert ranks.sharded == sharded
    assert ranks.broadcast("ä job" if ranks.is_first else None) == "ä job"
    results: dict[str, Any] = {f"{case} {count}": gradients(case, ranks, count) for case in TERMS for count in (9, 1)}
    student = student_of("mixed")
    train_student(student, examples(), config(), signal=None, seed=0, folder=folder / "two", ranks=ranks)
    results["trained"] = {name: whole(p.detach()) for name, p in student.named_parameters()}
    resumed = student_of("mixed")
    train_student(resumed, examples(), config(), signal=None, seed=0, folder=folder / "resumed", ranks=ranks)
    results["resumed"] = {name: whole(p.detach()) for name, p in resumed.named_parameters()}
    results["watched"] = train_watched(folder / "watched", sharded, ranks)
    if not sharded:
        results["sampled"] = train_on_samples(folder / "sampled", ranks)
    torch.save(results, folder / f"{rank}.pt")
    ranks.wait()
    torch.distributed.destroy_process_group()


def free_port() -> int:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return listener.getsockname()[1]


@pytest.mark.parametrize("sharded", [False, True], ids=["ddp", "fsdp2"])
def test_two_processes_train_as_one(tmp_path: Path, sharded: bool) -> None:
    for folder in ("one", "two", "resumed", "sampled", "sampled alone", "watched", "watched alone"):
        (tmp_path / folder).mkdir()
    # One process stops after its first checkpoint, and two go on from it.
    student = student_of("mixed")
    train_student(student, examples(), config(), signal=None, seed=0, folder=tmp_path / "one")
    (tmp_path / "one" / CHECKPOINT).rename(tmp_path / "resumed" / CHECKPOINT)
    (tmp_path / "resumed" / METRICS).write_bytes((tmp_path / "one" / METRICS).read_bytes())

    port = free_port()
    processes = [new_process(run_rank, rank, port, sharded, tmp_path) for rank in range(2)]
    run_alone(tmp_path)
    for process in processes:
        process.join(120)
    assert [process.exitcode for process in processes] == [0, 0]
    alone, first, second = (torch.load(tmp_path / f"{name}.pt", weights_only=True) for name in ("alone", "0", "1"))
    for case, (loss, expected) in alone.items():
        for ours in (first, second):
            assert ours[case][0] == pytest.approx(loss, rel=1e-5), case
            for name, gradient in expected.items():
                assert (ours[case][1][name] - gradient).norm() <= 1e-4 * max(gradient.norm(), 1e-3), (case, name)
    for how in ("trained", "resumed"):
        for name, parameter in student.named_parameters():
            torch.testing.assert_close(first[how][name], parameter.detach(), rtol=1e-3, atol=1e-4)
            assert torch.equal(first[how][name], second[how][name])
    for folder in ("two", "resumed"):
        one, two = ((tmp_path / name / METRICS).read_text().splitlines() for name in ("one", folder))
        assert len(one) == len(two) == 6, "only the first rank writes"
    for name, parameter in train_watched(tmp_path / "watched alone", sharded).items():
        torch.testing.assert_close(first["watched"][name], parameter, rtol=1e-3, atol=1e-4)
        assert torch.equal(first["watched"][name], second["watched"][name])
    ours, theirs = (list(read_rows(tmp_path / name / VALIDATION)) for name in ("watched", "watched alone"))
    assert [row["loss"] for row in ours] == pytest.approx([row["loss"] for row in theirs], rel=1e-3)
    if not sharded:
        assert [row["accuracy"] for row in ours] == [row["accuracy"] for row in theirs] == [0, 0, 0]
        for name, parameter in train_on_samples(tmp_path / "sampled alone").items():
            torch.testing.assert_close(first["sampled"][name], parameter, rtol=1e-3, atol=1e-4)
            assert torch.equal(first["sampled"][name], second["sampled"][name])
        ours, theirs = (list(read_rows(tmp_path / name / METRICS)) for name in ("sampled", "sampled alone"))
        assert {"rollouts" in row for row in theirs} == {True, False}
        assert [(row["num_tokens"], row.get("rollouts")) for row in ours] == [
            (row["num_tokens"], row.get("rollouts")) for row in theirs
        ]


def test_what_a_launcher_asks_for_and_we_cannot_do_is_one_clear_line(monkeypatch: pytest.MonkeyPatch) -> None:
    for name, expected in (
        ("ACCELERATE_USE_DEEPSPEED", "DeepSpeed is not supported; use FSDP2"),
        ("ACCELERATE_USE_FSDP", "FSDP version 1 is not supported; set fsdp_version: 2"),
    ):
        with monkeypatch.context() as patch:
            patch.setenv(name, "true")
            with pytest.raises(ConfigError, match=expected):
                join()


RUN_FILE = """
task: {name: procedural, kinds: [object_counting], num_train: 12, num_test: 2}
teacher: procedural
student: ./student
training:
  epochs: 1
  batch_size: 4
  dtype: float32
  loss: [forward_kl]
  signal: {kind: SIGNAL, model: ./teacher}
  adapter: {kind: lora, rank: 4}
"""


def launch(folder: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    """``accelerate launch ... -m cotdistill train`` with two processes in ``folder``."""
    command = [sys.executable, "-m", "accelerate.commands.launch", "--num_processes", "2", *arguments]
    environment = os.environ | {"OMP_NUM_THREADS": "1", "CUDA_VISIBLE_DEVICES": ""}
    return subprocess.run(
        [*command, "-m", "cotdistill", "train", "run.yaml", "--json"],
        cwd=folder,
        env=environment,
        capture_output=True,
        text=True,
        timeout=240,
    )


@pytest.mark.slow
@pytest.mark.timeout(900)
@pytest.mark.parametrize(
    ("config_file", "signal"),
    [
        ("ddp.yaml", "live"),
        ("fsdp2.yaml", "cache"),
        pytest.param("ddp.yaml", "cache", marks=pytest.mark.full),
        pytest.param("fsdp2.yaml", "live", marks=pytest.mark.full),
    ],
)
def test_accelerate_launches_the_train_command(tmp_path: Path, config_file: str, signal: str) -> None:
    """The same student, but for rounding, as from one process, written once; errors end all processes with a line."""
    save_tiny(tmp_path / "student")
    save_tiny(tmp_path / "teacher", seed=1)
    (tmp_path / "run.yaml").write_text(RUN_FILE.replace("SIGNAL", signal))
    recipe = Path(__file__).parents[2] / "recipes" / "distributed" / config_file
    launched = launch(tmp_path, "--config_file", str(recipe))
    assert launched.returncode == 0, launched.stderr
    result = json.loads(launched.stdout)["student"]
    ours = AutoModelForCausalLM.from_pretrained(tmp_path / result["student"])
    (tmp_path / "runs" / "training").rename(tmp_path / "by two")

    alone = run_command(tmp_path, "train", "run.yaml", "--json")
    expected = json.loads(alone.out)["student"]
    assert expected["student"] == result["student"], "the key is the same"
    assert result["last_loss"] == pytest.approx(expected["last_loss"], rel=1e-3)
    theirs = AutoModelForCausalLM.from_pretrained(tmp_path / expected["student"])
    for name, parameter in theirs.named_parameters():
        torch.testing.assert_close(ours.get_parameter(name), parameter, rtol=1e-2, atol=1e-3)

    (tmp_path / "run.yaml").write_text("task: nothing\n")
    failed = launch(tmp_path, "--config_file", str(recipe))
    assert failed.returncode != 0
    assert "arm base, task.benchmark: unknown benchmark 'nothing'" in failed.stderr
