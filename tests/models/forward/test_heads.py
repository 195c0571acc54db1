"""Body and head apart give the logits of the whole model, or the model is refused."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
import transformers
from tests.models import families
from tests.training.data.test_packing import SIZES, model_of

from cotdistill.config import ModelConfig, TrainingConfig
from cotdistill.errors import ModelError
from cotdistill.models.forward.heads import (
    all_hidden_states,
    check_head,
    head_of,
    head_width,
    last_hidden_states,
    say_what_is_not_balanced,
)
from cotdistill.models.load.loading import load_tokenizer
from cotdistill.records import Question, Rationale
from cotdistill.training.stage import train

MAMBA: dict[str, Any] = {"mamba_d_ssm": 32, "mamba_n_heads": 4, "mamba_d_head": 8, "mamba_d_state": 8}
FAMILIES: dict[str, Callable[[], transformers.PreTrainedConfig]] = {
    "cohere, multiplied": lambda: transformers.CohereConfig(**SIZES, logit_scale=0.2),
    "falcon_h1, multiplied by another name": lambda: transformers.FalconH1Config(
        **SIZES, **MAMBA, lm_head_multiplier=0.1
    ),
    "gemma2, capped": lambda: transformers.Gemma2Config(**SIZES, head_dim=8, final_logit_softcapping=2.0),
    "granite, divided": lambda: transformers.GraniteConfig(**SIZES, logits_scaling=4.0),
    "qwen3, as they are": lambda: transformers.Qwen3Config(**SIZES, head_dim=8),
}


@pytest.mark.parametrize("family", FAMILIES)
@torch.no_grad()
def test_body_and_head_are_the_model(family: str) -> None:
    model, ids = model_of(FAMILIES[family]()), torch.tensor([[7, 3, 50, 11, 9]])
    logits = head_of(model).logits(last_hidden_states(model, ids, None)[0])
    torch.testing.assert_close(logits, model(input_ids=ids).logits[0])
    check_head(model)
    check_head(model.to(torch.bfloat16))


def test_a_family_with_logits_of_its_own_is_refused_before_its_first_step(tmp_path: Path) -> None:
    """HyperCLOVA X multiplies by what divides in Granite: a student would be trained on other logits than it has."""
    nano = load_tokenizer(ModelConfig(model="builtin:nano-student"))
    sizes = SIZES | {"vocab_size": len(nano)}
    model_of(transformers.HyperCLOVAXConfig(**sizes, logits_scaling=0.5)).save_pretrained(tmp_path / "clova")
    nano.save_pretrained(tmp_path / "clova")
    question = Question("q", "own", "train", "What is 1 + 5?", "6", "number")
    rationales = [Rationale(question, "1 + 5 = 6.", "me", None, "human")]
    with pytest.raises(ModelError, match=r"clova: HyperCLOVAXForCausalLM computes its logits in an unknown way"):
        train(ModelConfig(model=str(tmp_path / "clova")), rationales, TrainingConfig(), seed=0, runs=tmp_path)


@torch.no_grad()
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize("family", ["mamba", "mamba2", "opt_350m", "llama4"])
def test_bodies_and_heads_of_families_that_are_put_together_otherwise(family, dtype):
    """Mamba keeps its hidden states in float32, OPT-350m projects the last ones, Llama 4's body has another name."""
    model = families.make(family).to(dtype)
    check_head(model)
    ids = torch.arange(5, 13).view(1, -1)
    hidden = last_hidden_states(model, ids, None)
    assert hidden.shape[-1] == head_width(model.config)
    torch.testing.assert_close(
        head_of(model).logits(hidden).float(), model(input_ids=ids).logits.float(), rtol=1e-2, atol=1e-2
    )


def test_hidden_states_of_several_widths_are_not_matched():
    with pytest.raises(ModelError, match="its last hidden states have width 16, the others 32"):
        all_hidden_states(families.make("opt_350m"), torch.arange(5, 13).view(1, -1), None)


def test_a_loss_that_balances_experts_is_said_not_to_be_added(caplog):
    model = families.make("qwen3_moe")
    say_what_is_not_balanced(model)
    assert not caplog.records
    model.config.output_router_logits = True
    say_what_is_not_balanced(model)
    assert "(router_aux_loss_coef) is not added" in caplog.text
