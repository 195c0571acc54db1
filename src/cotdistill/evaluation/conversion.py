"""The conversion stage: a student as a GGUF file, and what that changed, measured on the file as it is read back."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import torch

from cotdistill.config import ModelConfig
from cotdistill.errors import ModelError
from cotdistill.evaluation.fidelity import fidelity, tested
from cotdistill.models.load.llama_cpp import GgufType, check_convertible, convert_to_gguf, converter_version
from cotdistill.models.load.loading import load_model, load_tokenizer, model_identity
from cotdistill.models.load.saving import save_model, write_errors
from cotdistill.models.load.source import is_adapter, locate
from cotdistill.storage.stages import open_stage

VERSION = 1
"""Raised whenever a change of code changes what a conversion makes."""


@dataclass(frozen=True, slots=True)
class Conversion:
    """A converted student. ``measured`` compares it with the student; None if that was never tested in ``runs``."""

    file: Path
    measured: dict[str, Any] | None

    def to_row(self) -> dict[str, Any]:
        return {"file": str(self.file), "bytes": self.file.stat().st_size, "measured": self.measured}


def convert(student: ModelConfig, kind: GgufType, runs: Path, num_questions: int) -> Conversion:
    """Convert ``student`` in ``runs/conversion/<key>``, or take the finished file from there.

    Adapters are merged first. The folder holds the student's tokenizer beside the file, so that it is a model like any
    other; ``summary.json`` says how it compares with the student on ``num_questions`` that the student was tested on.
    Raises ModelError for what llama.cpp's converter cannot convert, before anything is written.
    """
    on = tested(student, runs, num_questions)
    identity = {
        "version": VERSION,
        "student": model_identity(student),
        "type": kind,
        "converter": converter_version(),
        "evaluation": on.path.name if on else None,
        "num_questions": len(on.questions) if on else 0,
    }
    with open_stage(runs, "conversion", identity) as stage:
        file = stage.path / "student" / f"student-{kind}.gguf"
        if not stage.finished:
            if not file.is_file():
                _write(student, kind, file)
            made = ModelConfig(model=str(file.parent))
            measured = None if on is None else fidelity(student, made, on, runs)
            stage.finish({"measured": measured}, seeds={}, dropped={})
        return Conversion(file, stage.read().summary["measured"])


def _write(student: ModelConfig, kind: GgufType, file: Path) -> None:
    with _plain_folder(student) as folder:
        check_convertible(folder)
        with write_errors(file.parent):
            file.parent.mkdir(exist_ok=True)
            load_tokenizer(student).save_pretrained(file.parent)
        convert_to_gguf(folder, file, kind, name=f"a student of {Path(student.model).name}")


@contextmanager
def _plain_folder(student: ModelConfig) -> Iterator[Path]:
    """The student's folder; of adapters, one that holds their model with the adapters merged in, for a while."""
    path = locate(student)
    if path.is_file() or not any(path.glob("*.safetensors")):
        raise ModelError("there are no safetensors to convert", where=student.model, remedy="give a student's folder")
    if not is_adapter(path):
        yield path
        return
    with TemporaryDirectory() as scratch:
        merged = load_model(student, dtype=torch.float32, device="cpu")
        save_model(merged, load_tokenizer(student), Path(scratch))
        del merged
        yield Path(scratch)
