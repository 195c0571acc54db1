"""Norms and gated layers that keep less for backward and compute it again, which takes about as long as keeping it.

To be used within ``halved``. A module is asked on random input whether it computes what is to stand for it: many
classes of transformers are alike but for their names.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from cotdistill.models.forward.halved import HALF, HalvedWeight, halved_weight

Forward = Callable[[Tensor], Tensor]


@contextmanager
def lean(model: nn.Module) -> Iterator[None]:
    """Within this context RMSNorms and SwiGLU layers of ``model`` keep their inputs alone, wherever autocast is on."""
    patched = []
    try:
        for module in model.modules():
            forward = None if _is_changed(module) else _norm(module) or _gated(module)
            if forward is not None:
                module.forward = _where_autocast(module, forward)
                patched.append(module)
        yield
    finally:
        for module in patched:
            del module.forward


def _is_changed(module: nn.Module) -> bool:
    hooks = (module._forward_hooks, module._forward_pre_hooks, module._backward_hooks, module._backward_pre_hooks)
    return any(("forward" in vars(module), *hooks))


def _where_autocast(module: nn.Module, forward: Forward) -> Forward:
    plain = module.forward
    return lambda hidden: (forward if torch.is_autocast_enabled("cpu") else plain)(hidden)


def _norm(module: nn.Module) -> Forward | None:
    """An RMSNorm's forward; None for all other modules."""
    weight, own = getattr(module, "weight", None), dict(module.named_parameters())
    eps = getattr(module, "variance_epsilon", getattr(module, "eps", None))
    if not isinstance(weight, nn.Parameter) or weight.dim() != 1 or len(own) != 1 or not isinstance(eps, float):
        return None

    def forward(hidden: Tensor) -> Tensor:
        return _Norm.apply(hidden, weight, eps)

    return forward if _agrees(module, forward, len(weight)) else None


def _gated(module: nn.Module) -> Forward | None:
    """The forward of ``down(silu(gate) * up)``; None for all other modules."""
    gate, up, down = (getattr(module, f"{name}_proj", None) for name in ("gate", "up", "down"))
    kept = halved_weight(down)
    if kept is None or not kept.weight.requires_grad or not (isinstance(gate, nn.Linear) and isinstance(up, nn.Linear)):
        return None

    def forward(hidden: Tensor) -> Tensor:
        return _GatedDown.apply(gate(hidden), up(hidden), kept.weight, kept)

    def in_full(hidden: Tensor) -> Tensor:
        return F.linear(F.silu(gate(hidden)) * up(hidden), kept.weight)

    return forward if _agrees(module, in_full, gate.in_features) else None


@torch.no_grad()
def _agrees(module: nn.Module, forward: Forward, width: int) -> bool:
    hidden = torch.randn(3, width, generator=torch.Generator().manual_seed(0))
    try:
        found, expected = forward(hidden), module(hidden)
    except Exception:  # in whatever way a module takes other input
        return False
    return isinstance(expected, Tensor) and expected.shape == found.shape and torch.allclose(found, expected, atol=1e-5)


class _Norm(torch.autograd.Function):
    """``weight * x / sqrt(mean(x^2) + eps)`` over the last dimension (Zhang and Sennrich 2019, arXiv 1910.07467)."""

    @staticmethod
    def forward(ctx: Any, hidden: Tensor, weight: Tensor, eps: float) -> Tensor:
        precise = hidden.float()
        factor = torch.rsqrt(precise.pow(2).mean(-1, keepdim=True) + eps)
        ctx.save_for_backward(hidden, weight, factor)
        return weight * (precise * factor).to(hidden.dtype)

    @staticmethod
    def backward(ctx: Any, *output_gradients: Tensor) -> tuple[Tensor, Tensor, None]:
        hidden, weight, factor = ctx.saved_tensors
        gradient, normal = output_gradients[0].float(), hidden.float() * factor
        of_weight = (gradient * normal).flatten(0, -2).sum(0)
        gradient = gradient * weight
        along = torch.linalg.vecdot(gradient, normal)[..., None] / hidden.shape[-1]
        return gradient.addcmul_(normal, along, value=-1.0).mul_(factor).to(hidden.dtype), of_weight, None


class _GatedDown(torch.autograd.Function):
    """``(silu(gate) * up) @ copy.T`` in bfloat16 (SwiGLU: Shazeer 2020, arXiv 2002.05202)."""

    @staticmethod
    def forward(ctx: Any, gate: Tensor, up: Tensor, weight: Tensor, kept: HalvedWeight) -> Tensor:
        copy, gate, up = kept.current(), gate.to(HALF), up.to(HALF)
        ctx.save_for_backward(gate, up, copy)
        ctx.kept = kept
        return F.linear(F.silu(gate).mul_(up), copy)

    @staticmethod
    def backward(ctx: Any, *output_gradients: Tensor) -> tuple[Tensor | None, ...]:
        gate, up, copy = ctx.saved_tensors
        opened, gradient = F.silu(gate), output_gradients[0] @ copy
        rows = output_gradients[0].reshape(-1, copy.shape[0])
        ctx.kept.add_product(rows, (opened * up).reshape(-1, copy.shape[1]))
        of_gate = torch.ops.aten.silu_backward(gradient * up, gate)
        return of_gate, opened.mul_(gradient), None, None
