"""Weights that are cast once a step give the values and gradients of autocast, which casts them each time."""

from __future__ import annotations

import pytest
import torch
from tests.tiny import tiny_model
from torch import nn

from cotdistill.models.forward.halved import HALF, halved, halved_weight


class Small(nn.Module):
    """Layers of each kind, one read by two others, a bias, and weights that are shared."""

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.embedding = nn.Embedding(30, 16, padding_idx=2)
        self.left, self.right = nn.Linear(16, 24), nn.Linear(16, 24, bias=False)
        self.back = nn.Linear(24, 16)
        self.head = nn.Linear(16, 30, bias=False)
        self.head.weight = self.embedding.weight

    def forward(self, ids: torch.Tensor) -> torch.Tensor:
        hidden = nn.functional.layer_norm(self.embedding(ids), (16,))
        return self.head(hidden + self.back(self.left(hidden) * self.right(hidden)))


IDS = torch.tensor([[3, 4, 2, 3], [7, 2, 9, 9]])


def gradients(model: nn.Module, batches: int = 2) -> tuple[torch.Tensor, dict[str, torch.Tensor]]:
    model.zero_grad(set_to_none=True)
    outputs = []
    for number in range(batches):
        with torch.autocast("cpu", dtype=HALF):
            output = model((IDS + number) % 30)
        output.float().square().mean().backward()
        outputs.append(output.detach())
    return torch.stack(outputs), {name: p.grad.clone() for name, p in model.named_parameters() if p.grad is not None}


def test_values_and_gradients_are_those_of_autocast() -> None:
    model = Small()
    expected, of_expected = gradients(model)
    with halved(model):
        found, of_found = gradients(model)
        again = gradients(model)[1]
    assert torch.equal(found, expected)
    assert of_found.keys() == of_expected.keys()
    for name, gradient in of_expected.items():
        assert of_found[name].dtype == torch.float32
        assert (of_found[name] - gradient).norm() <= 0.01 * gradient.norm(), name
        assert torch.equal(again[name], of_found[name]), "memory that is used again holds nothing of the step before"


def test_gradients_are_near_those_of_float64() -> None:
    model, precise = Small(), Small().double()
    precise.zero_grad()
    for number in range(2):
        precise((IDS + number) % 30).square().mean().backward()
    with halved(model):
        found = gradients(model)[1]
    for name, parameter in precise.named_parameters():
        assert parameter.grad is not None
        assert (found[name] - parameter.grad).norm() < 0.03 * parameter.grad.norm(), name


def test_a_changed_weight_is_cast_again() -> None:
    model = Small()
    with halved(model) as layers:
        optimizer = torch.optim.AdamW(model.parameters(), lr=0.1, fused=True)
        optimizer.register_step_post_hook(layers.forget)
        gradients(model)
        optimizer.step()
        found = gradients(model)[0]
        model.left.weight.data.add_(1.0)
        layers.forget()
        moved = gradients(model)[0]
    assert not torch.equal(found, moved)
    assert torch.equal(moved, gradients(model)[0])


def test_what_is_frozen_gets_no_gradient_and_what_is_not_plain_stays_as_it_is() -> None:
    model = Small()
    model.left.requires_grad_(False)
    model.right.register_forward_hook(lambda *_: None)
    forwards = model.right.forward, model.back.forward
    with halved(model):
        found = gradients(model)[1]
        assert halved_weight(model.head) is not None
        assert halved_weight(model.right) is None, "a hook may wait for something"
        assert halved_weight(model.back) is None, "it has a bias"
    assert not any(name.startswith("left") for name in found)
    assert (model.right.forward, model.back.forward) == forwards


@pytest.mark.parametrize("enabled", [True, False])
def test_without_gradients_or_autocast_a_model_computes_as_before(enabled: bool) -> None:
    model = tiny_model(60, seed=1)
    with torch.no_grad(), torch.autocast("cpu", dtype=HALF, enabled=enabled):
        expected = model(IDS).logits
        with halved(model):
            found = model(IDS).logits
    assert torch.equal(found, expected)
