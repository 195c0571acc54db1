"""What one family or another needs, and what the sweep does not try: other types, other tokenizers, lost gradients."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from tests.models.families import FAMILIES, SIZES, SLIDING, make
from tests.tiny import tiny_tokenizer
from transformers import AutoModelForCausalLM, Gemma3TextConfig

from cotdistill import train
from cotdistill.config import CachedTeacher, CrossEntropy, ForwardKL, LiveTeacher, ModelConfig
from cotdistill.models.forward.heads import all_hidden_states, check_head, last_hidden_states
from cotdistill.records import Question, Rationale
from cotdistill.tasks.segments import Region
from cotdistill.training.data.batches import batches_of_step
from cotdistill.training.data.examples import Example
from cotdistill.training.data.layout import laid_out
from cotdistill.training.step import DistillationLoss, accumulate

RATIONALES = [
    Rationale(Question(f"q{n}", "own", "train", f"What is {n} + 5?", f"{n + 5}", "number"), "So.", "me", None, "human")
    for n in range(2)
]
RECURRENT = ("mamba", "mamba2", "falcon_mamba", "rwkv", "recurrent_gemma", "bamba", "jamba", "nemotron_h", "zamba2",
             "granite_hybrid", "qwen3_next", "lfm2")  # fmt: skip


def saved(model: Any, folder: Path, tokenizer: Any = None) -> ModelConfig:
    model.save_pretrained(folder)
    (tokenizer or tiny_tokenizer(chat=True)).save_pretrained(folder)
    return ModelConfig(model=str(folder))


@pytest.mark.slow
@pytest.mark.full
@torch.no_grad()
@pytest.mark.parametrize("family", FAMILIES)
def test_every_family_is_a_body_with_a_head(family):
    """Its logits are its head's, of the last of as many hidden states as it has layers."""
    model, ids = make(family), torch.arange(5, 13).view(1, -1)
    check_head(model)
    check_head(make(family).to(torch.bfloat16))
    if family == "opt_350m":  # its last ones have another width
        return
    states = all_hidden_states(model, ids, None)
    assert len(states) == model.config.get_text_config().num_hidden_layers + 1
    assert {state.shape[-1] for state in states} == {model.config.get_text_config().hidden_size}
    torch.testing.assert_close(states[-1], last_hidden_states(model, ids, None))


@pytest.mark.slow
@pytest.mark.full
@pytest.mark.parametrize("family", RECURRENT)
def test_a_recurrent_teacher_computes_in_bfloat16(family, tmp_path):
    teacher = saved(make(family), tmp_path / "teacher")
    student = train(
        teacher, RATIONALES, loss=(ForwardKL(),), signal=LiveTeacher(model=teacher), epochs=1, dtype="bfloat16",
        runs=tmp_path / "runs",
    )  # fmt: skip
    assert student.summary["first_loss"] == pytest.approx(0, abs=0.3), "it is its own teacher, in other rounding"


@pytest.mark.parametrize("family", ["doge", "diffllama", "gpt_oss", "llama"])
def test_no_layout_loses_a_gradient(family):
    """Doge trains numbers in its attention mask, which begin at nothing that would show in its states."""
    model = make(family)
    examples = {
        n: Example(str(n), list(range(5 + n, 15 + 2 * n)), list(range(6 + n, 16 + 2 * n)),
                   [Region.PROMPT] * 4 + [Region.RATIONALE] * (6 + n))
        for n in range(3)
    }  # fmt: skip

    def gradients(packing: bool | None) -> dict[str, torch.Tensor]:
        with laid_out([model], torch.float32, packing=packing) as layout:
            module = DistillationLoss(model, (CrossEntropy(),), None)
            module.zero_grad()
            batches = batches_of_step(examples, layout, 999)
            accumulate(module, batches, device=torch.device("cpu"), dtype=torch.float32)
        return {name: p.grad.clone() for name, p in model.named_parameters() if p.grad is not None}

    chosen, padded = gradients(None), gradients(False)
    assert chosen.keys() == padded.keys()
    for name, gradient in padded.items():
        torch.testing.assert_close(chosen[name], gradient, rtol=1e-3, atol=1e-5)


@pytest.mark.parametrize("kind", ["alone", "live", "topk", "other tokens"])
def test_a_tokenizer_with_a_token_more_than_the_head_works_where_no_text_has_it(kind, tmp_path):
    """Gemma 3's head lacks the token that stands for an image."""
    tokenizer = tiny_tokenizer(chat=True)
    size = len(tokenizer)
    tokenizer.add_special_tokens({"additional_special_tokens": ["<image_soft_token>"]})
    student, teacher = (
        saved(
            AutoModelForCausalLM.from_config(Gemma3TextConfig(**SIZES, **SLIDING, vocab_size=vocabulary)),
            tmp_path / name, tokenizer,
        )
        for name, vocabulary in (("student", size), ("teacher", size + 64))
    )  # fmt: skip
    signal = {
        "alone": None,
        "live": LiveTeacher(model=teacher),
        "topk": CachedTeacher(model=teacher, store="topk", k=8),
        "other tokens": LiveTeacher(model=teacher, alignment="byte_offset"),
    }[kind]
    loss = (CrossEntropy(),) if signal is None else (ForwardKL(),)
    done = train(student, RATIONALES, loss=loss, signal=signal, epochs=1, dtype="float32", runs=tmp_path / "runs")
    assert done.summary["num_steps"] == 1
