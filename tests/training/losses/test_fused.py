"""Memory of the fused loss: what it grows with, and what not. Values and gradients are in test_step.py."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch.utils._python_dispatch import TorchDispatchMode

from cotdistill.config import CrossEntropy, ForwardKL, TokenLoss
from cotdistill.models.forward.heads import Head
from cotdistill.training.losses import fused
from cotdistill.training.losses.fused import LossInputs, chunk_size, fused_loss
from cotdistill.training.losses.teacher import NoTeacher
from cotdistill.training.signals.live import HiddenRows

HIDDEN = 8


class LargestTensor(TorchDispatchMode):
    """The most numbers in one tensor that any operation made, but for those of the head's own shape."""

    def __init__(self, head_shape: tuple[int, int]):
        super().__init__()
        self.head_shapes, self.size = (head_shape, head_shape[::-1]), 0

    def __torch_dispatch__(self, function: Any, types: Any, args: tuple[Any, ...] = (), kwargs: Any = None) -> Any:
        result = function(*args, **(kwargs or {}))
        for made in result if isinstance(result, tuple | list) else [result]:
            if isinstance(made, torch.Tensor) and tuple(made.shape) not in self.head_shapes:
                self.size = max(self.size, made.numel())
        return result


def largest_tensor(vocab: int, num_tokens: int, terms: tuple[TokenLoss, ...]) -> int:
    generator = torch.Generator().manual_seed(0)
    head, teacher_head = (torch.randn(vocab, HIDDEN, generator=generator) for _ in range(2))
    linear = torch.nn.Linear(HIDDEN, vocab, bias=False)
    linear.weight.data = head
    hidden = torch.randn(num_tokens, HIDDEN, generator=generator).requires_grad_()
    teacher = HiddenRows(torch.randn(num_tokens, HIDDEN, generator=generator), lambda rows: rows @ teacher_head.T)
    inputs = LossInputs(torch.zeros(num_tokens, dtype=torch.long), torch.ones(len(terms), num_tokens), teacher)
    with LargestTensor((vocab, HIDDEN)) as largest:
        loss, _ = fused_loss(
            hidden,
            Head(linear),
            [linear.weight],
            inputs,
            terms,
            num_loss_tokens=num_tokens,
            tokens_per_chunk=chunk_size(vocab),
        )
        loss.backward()
    return largest.size


@pytest.mark.parametrize("terms", [(CrossEntropy(),), (CrossEntropy(), ForwardKL(temperature=2.0))], ids=str)
def test_no_tensor_grows_with_the_vocabulary_but_the_heads_own(
    terms: tuple[TokenLoss, ...], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(fused, "CHUNK_LOGITS", 1 << 16)
    monkeypatch.setattr(fused, "BLOCK_LOGITS", 1 << 14)
    small, large = (largest_tensor(vocab, 400, terms) for vocab in (1000, 3100))
    assert small <= 1 << 16
    assert large <= 1 << 16


def test_no_tensor_of_all_tokens_and_outcomes_is_formed(monkeypatch: pytest.MonkeyPatch) -> None:
    """Logits are those of a chunk, however many tokens there are."""
    monkeypatch.setattr(fused, "CHUNK_LOGITS", 1 << 16)
    assert largest_tensor(1000, 3000, (ForwardKL(),)) == largest_tensor(1000, 300, (ForwardKL(),))


@pytest.mark.parametrize("cap", [None, 2.0])
def test_a_plain_head_gets_the_gradients_of_any_other(cap: float | None) -> None:
    """A plain linear map adds up its gradient in place; behind a function, autograd does."""
    generator = torch.Generator().manual_seed(1)
    linear = torch.nn.Linear(HIDDEN, 30, bias=False)
    rows = torch.randn(11, HIDDEN, generator=generator)
    inputs = LossInputs(torch.arange(11), torch.ones(1, 11), NoTeacher(11))

    def gradients(head: Head) -> tuple[torch.Tensor, torch.Tensor]:
        linear.zero_grad()
        hidden = rows.clone().requires_grad_()
        loss, _ = fused_loss(
            hidden, head, [linear.weight], inputs, (CrossEntropy(),), num_loss_tokens=11, tokens_per_chunk=4
        )
        loss.backward()
        assert hidden.grad is not None
        assert linear.weight.grad is not None
        return hidden.grad, linear.weight.grad.clone()

    plain = gradients(Head(linear, factor=0.5, cap=cap))
    other = gradients(Head(lambda hidden: linear(hidden), factor=0.5, cap=cap))
    torch.testing.assert_close(plain, other)
