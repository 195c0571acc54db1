"""One epoch of the package's own trainer over the rows, in a process of its own: ``our_side.py KIND FOLDER DTYPE``."""

from __future__ import annotations

import os
import sys
import tempfile
from pathlib import Path

import torch
from inputs import BATCH_SIZE, LEARNING_RATE, capture_signal, read_examples
from measured import Clock, Parts, print_side

from cotdistill.config import CrossEntropy, ForwardKL, ModelConfig, OnPolicy, ReverseKL, TrainingConfig
from cotdistill.models.load.loading import load_model, load_tokenizer
from cotdistill.storage.jsonl import read_rows
from cotdistill.training.loop import train_student
from cotdistill.training.rollouts import Rollouts
from cotdistill.training.signals.live import LiveSignal


def main(kind: str, folder: Path, dtype: str) -> None:
    config = TrainingConfig(
        epochs=1,
        learning_rate=LEARNING_RATE,
        batch_size=BATCH_SIZE,
        schedule="constant",
        loss=(CrossEntropy(),),
        dtype=dtype,  # pyright: ignore[reportArgumentType]
    )
    signal, rollouts, parts = None, None, Parts()
    student = ModelConfig(model=str(folder / "student"))
    if kind == "on_policy":
        samples = OnPolicy(share=1.0, max_new_tokens=int(os.environ["NEW_TOKENS"]))
        config = config.model_copy(update={"loss": (ReverseKL(),), "on_policy": samples})
        rollouts = Rollouts(samples, load_tokenizer(student), 0, getattr(torch, dtype))
        parts.watch(Rollouts, "sample", "generation")
        parts.watch(LiveSignal, "rows", "scoring")
    elif kind != "sft":
        config = config.model_copy(update={"loss": (ForwardKL(),)})
    if kind == "kd_captured":
        signal = capture_signal(folder, folder / "runs", dtype)
    elif kind in ("kd_live", "on_policy"):
        teacher = ModelConfig(model=str(folder / "teacher"))
        signal = LiveSignal(load_model(teacher, dtype=getattr(torch, dtype), device="cpu"))
    model = load_model(student, dtype=torch.float32, device="cpu")
    examples = read_examples(folder)
    with tempfile.TemporaryDirectory() as work:
        clock = Clock()
        train_student(model, examples, config, signal=signal, seed=0, folder=Path(work), rollouts=rollouts)
        took = clock.read()
        rows = list(read_rows(Path(work) / "metrics.jsonl"))
    num_tokens = sum(map(len, examples))
    if rollouts:
        num_tokens = sum(len(example.prompt) for example in examples)
        num_tokens += round(sum(row["rollouts"]["mean_length"] * BATCH_SIZE for row in rows))
    print_side(took, num_tokens, [row["loss"] for row in rows], **(parts.read(took[0]) if rollouts else {}))


if __name__ == "__main__":
    main(sys.argv[1], Path(sys.argv[2]), sys.argv[3])
