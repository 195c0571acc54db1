"""A saved model computes what it computed, in the types that its family has, and is a result."""

from __future__ import annotations

import pytest
import torch
from safetensors.torch import load_file
from tests.models.families import make
from tests.tiny import tiny_model, tiny_tokenizer
from transformers import AutoModelForCausalLM

from cotdistill.errors import ModelError
from cotdistill.models.load.saving import cast_weights, save_model


@torch.no_grad()
@pytest.mark.parametrize("family", ["deepseek_v3", "glm4_moe", "ernie4_5_moe"])
def test_weights_that_a_family_keeps_in_float32_are_saved_so(family, tmp_path):
    model, ids = make(family), torch.arange(5, 69).view(1, -1)
    for name, tensor in [*model.named_buffers(), *model.named_parameters()]:
        if "e_score" in name:
            tensor.copy_(5 + torch.rand_like(tensor))  # of the size that trained ones have
    model.save_pretrained(tmp_path / "before")
    plain = AutoModelForCausalLM.from_pretrained(tmp_path / "before", dtype=torch.bfloat16).eval()
    expected = plain(input_ids=ids).logits
    cast_weights(model, torch.bfloat16)
    save_model(model, tiny_tokenizer(chat=True), tmp_path / "after")
    plain.save_pretrained(tmp_path / "plain")
    types, expected_types = (
        {name: tensor.dtype for name, tensor in load_file(tmp_path / folder / "model.safetensors").items()}
        for folder in ("after", "plain")
    )
    assert types == expected_types
    assert {dtype for name, dtype in types.items() if "e_score" in name} == {torch.float32}
    again = AutoModelForCausalLM.from_pretrained(tmp_path / "after", dtype=torch.bfloat16).eval()
    assert torch.equal(again(input_ids=ids).logits, expected)


def test_weights_that_are_no_numbers_are_no_result(tmp_path):
    model = tiny_model(400)
    with torch.no_grad():
        model.model.layers[1].mlp.up_proj.weight[3, 4] = torch.nan
    with pytest.raises(ModelError, match=r"weight model.layers.1.mlp.up_proj.weight is not finite after the last step"):
        save_model(model, tiny_tokenizer(), tmp_path / "student")
    assert not (tmp_path / "student").exists()
