"""One epoch of the package's own trainer over the rows, in a process of its own: ``our_side.py KIND FOLDER DTYPE``."""

from __future__ import annotations

import sys
import tempfile
from pathlib import Path

import torch
from inputs import BATCH_SIZE, LEARNING_RATE, capture_signal, read_examples
from measured import Clock, print_side

from cotdistill.config import CrossEntropy, ForwardKL, ModelConfig, TrainingConfig
from cotdistill.models.load.loading import load_model
from cotdistill.storage.jsonl import read_rows
from cotdistill.training.loop import train_student
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
    signal = None
    if kind != "sft":
        config = config.model_copy(update={"loss": (ForwardKL(),)})
    if kind == "kd_captured":
        signal = capture_signal(folder, folder / "runs", dtype)
    elif kind == "kd_live":
        teacher = ModelConfig(model=str(folder / "teacher"))
        signal = LiveSignal(load_model(teacher, dtype=getattr(torch, dtype), device="cpu"))
    student = load_model(ModelConfig(model=str(folder / "student")), dtype=torch.float32, device="cpu")
    examples = read_examples(folder)
    with tempfile.TemporaryDirectory() as work:
        clock = Clock()
        train_student(student, examples, config, signal=signal, seed=0, folder=Path(work))
        took = clock.read()
        losses = [row["loss"] for row in read_rows(Path(work) / "metrics.jsonl")]
    print_side(took, sum(map(len, examples)), losses)


if __name__ == "__main__":
    main(sys.argv[1], Path(sys.argv[2]), sys.argv[3])
