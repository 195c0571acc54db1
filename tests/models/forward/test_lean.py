"""Layers that keep less for backward give the values and gradients that they have without."""

from __future__ import annotations

import pytest
import torch
import transformers
from tests.training.data.test_packing import SIZES, model_of
from transformers import PreTrainedModel

from cotdistill.models.forward.halved import HALF, halved
from cotdistill.models.forward.lean import lean

IDS = torch.tensor([[3, 4, 2, 3, 9, 11]])
LEAN = {"llama": 2 * 3 + 1, "gpt_neox": 0, "gemma2": 0}
"""How many modules of two layers are taken: two norms and a gated layer each, and the last norm."""
CONFIGS = {
    "llama": lambda: transformers.LlamaConfig(**SIZES),
    "gpt_neox": lambda: transformers.GPTNeoXConfig(**SIZES),
    "gemma2": lambda: transformers.Gemma2Config(**SIZES, head_dim=8),
}


def computed(model: PreTrainedModel) -> tuple[torch.Tensor, dict[str, torch.Tensor]]:
    model.zero_grad(set_to_none=True)
    with torch.autocast("cpu", dtype=HALF):
        logits = model(IDS).logits
    logits.float().log_softmax(-1)[0, :, 5].sum().backward()
    return logits.detach(), {name: p.grad.clone() for name, p in model.named_parameters() if p.grad is not None}


@pytest.mark.parametrize("family", CONFIGS)
def test_values_and_gradients_are_the_same(family: str) -> None:
    model = model_of(CONFIGS[family]())
    torch.manual_seed(0)
    for name, parameter in model.named_parameters():
        if "norm" in name:
            torch.nn.init.normal_(parameter, 1.0, 0.2)
    with halved(model):
        expected, of_expected = computed(model)
        before = {name for name, module in model.named_modules() if "forward" in vars(module)}
        with lean(model):
            taken = {name for name, module in model.named_modules() if "forward" in vars(module)} - before
            found, of_found = computed(model)
    assert len(taken) == LEAN[family], taken
    assert torch.equal(found, expected)
    for name, gradient in of_expected.items():
        assert (of_found[name] - gradient).norm() <= 0.01 * gradient.norm(), name
    assert not any("forward" in vars(module) for module in model.modules())


def test_gradients_are_near_those_of_float64() -> None:
    model, precise = model_of(CONFIGS["llama"]()), model_of(CONFIGS["llama"]()).double()
    precise(IDS).logits.log_softmax(-1)[0, :, 5].sum().backward()
    with halved(model), lean(model):
        found = computed(model)[1]
    for name, parameter in precise.named_parameters():
        assert parameter.grad is not None
        assert (found[name] - parameter.grad).norm() < 0.1 * parameter.grad.norm(), name
