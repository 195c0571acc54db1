"""Every loss on the device, in value and gradient, against the same formula in float64 on the CPU.

That the float64 values are those of the formulas is tested in ``tests/training/losses/test_divergences.py``.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

import pytest
import torch
from tests.training.losses.test_divergences import TERMS, at
from torch import Tensor

from cotdistill.config import ForwardKL
from cotdistill.training.losses import divergences as losses
from cotdistill.training.signals.live import SampledRows, TopKRows

TOKENS, VOCABULARY, K = 48, 6000, 20
Loss = Callable[[Tensor, Tensor], Tensor]


def _top_k(student: Tensor, teacher: Tensor) -> Tensor:
    best = losses.log_softmax(teacher).topk(K)
    return TopKRows(best.indices, best.values).divergence(ForwardKL(), student)


def _sampled(student: Tensor, teacher: Tensor) -> Tensor:
    """The same draws on every device; some tokens are drawn twice."""
    log_p = losses.log_softmax(teacher)
    drawn = torch.randint(VOCABULARY, (TOKENS, K), generator=torch.Generator().manual_seed(3)).to(student.device)
    drawn[:, 1] = drawn[:, 0]
    return SampledRows(drawn, -(log_p.exp() * log_p).sum(-1)).divergence(ForwardKL(), student)


def _cross_entropy(student: Tensor, teacher: Tensor) -> Tensor:
    targets = torch.arange(TOKENS, device=student.device) * 7
    return losses.cross_entropy(student, targets)


LOSSES: dict[str, Loss] = {
    **{name: partial(losses.divergence, at(1.7, name)) for name in TERMS},
    "cross_entropy": _cross_entropy,
    "top_k": _top_k,
    "sampled": _sampled,
}


def logits(seed: int) -> Tensor:
    return 3 * torch.randn(TOKENS, VOCABULARY, generator=torch.Generator().manual_seed(seed))


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16], ids=str)
@pytest.mark.parametrize("name", LOSSES)
def test_value_and_gradient_are_those_of_float64(name: str, dtype: torch.dtype, device: torch.device) -> None:
    """Of logits in bfloat16 too: they are computed with in float32, and only the gradient is rounded at its end."""
    student, teacher = (logits(seed).to(dtype) for seed in (1, 2))
    exact = student.double().requires_grad_()
    expected = LOSSES[name](exact, teacher.double())
    (gradient,) = torch.autograd.grad(expected.sum(), exact)

    leaf = student.to(device).requires_grad_()
    found = LOSSES[name](leaf, teacher.to(device))
    (own,) = torch.autograd.grad(found.sum(), leaf)
    assert found.dtype == torch.float32
    torch.testing.assert_close(found.cpu().double(), expected.detach(), rtol=2e-5, atol=2e-5)
    rounding = 1e-4 if dtype == torch.float32 else 4e-3
    assert (own.cpu().double() - gradient).norm() <= rounding * gradient.norm()


@pytest.mark.parametrize("name", TERMS)
def test_huge_logits_stay_finite(name: str, device: torch.device) -> None:
    student = torch.tensor([[1e30, -1e30, 0.0], [3e38, 1.0, -3e38]], device=device, requires_grad=True)
    teacher = torch.tensor([[-1e30, 1e30, 0.0], [0.0, 1.0, 3e38]], device=device)
    found = losses.divergence(at(0.5, name), student, teacher)
    (gradient,) = torch.autograd.grad(found.sum(), student)
    assert found.isfinite().all()
    assert gradient.isfinite().all()
