"""Training in bfloat16 on a CPU: weights are cast once a step, and their gradients are added up where they lie.

Autocast casts every weight in every micro-batch and every input for every layer that reads it; a weight's gradient
becomes a new tensor in bfloat16, another in float32, and is then added. Within :func:`halved` a plain linear layer
keeps a copy of its weight in bfloat16, and adds the gradient, rounded as autocast rounds it, to ``weight.grad`` in
float32; so does a plain embedding. Weights, gradients and what the optimizer sees stay in float32.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

HALF = torch.bfloat16
BLOCK_NUMBERS = 1 << 20
"""A gradient is added to the weight's in blocks of so many numbers, which stay in a processor's cache."""


@dataclass(slots=True)
class HalvedWeight:
    """A float32 ``weight`` that is used in bfloat16."""

    weight: Tensor
    _copy: Tensor | None = None
    _version: int = -1
    _spare: Tensor | None = None

    def current(self) -> Tensor:
        """The weight in bfloat16, cast again only where it has changed since."""
        if self._copy is None:
            with torch.inference_mode(False):  # samples are drawn in that mode, and training goes on with the copy
                self._copy = torch.empty_like(self.weight, dtype=HALF, requires_grad=False)
        if self._version != self.weight._version:
            self._copy.copy_(self.weight.detach())
            self._version = self.weight._version
        return self._copy

    def forget(self) -> None:
        """Cast again the next time: what changes ``weight.data`` leaves no trace."""
        self._version = -1

    def add_product(self, left: Tensor, right: Tensor) -> None:
        """Add ``left.T @ right``, of ``[tokens, outputs]`` and ``[tokens, inputs]``, to the gradient."""
        if self.weight.grad is None and self.weight.numel() <= BLOCK_NUMBERS:
            self.weight.grad = (left.T @ right).float()
            return
        gradient = self.gradient()
        rows = max(1, BLOCK_NUMBERS // right.shape[1])
        for start in range(0, left.shape[1], rows):
            gradient[start : start + rows].add_(left[:, start : start + rows].T @ right)

    def gradient(self) -> Tensor:
        """The weight's gradient, zeros if there is none yet, in memory that is used again in every step."""
        if self.weight.grad is None:
            if self._spare is None:
                self._spare = torch.empty_like(self.weight, requires_grad=False)
            self.weight.grad = self._spare.zero_()
        return self.weight.grad


@dataclass(slots=True)
class Halved:
    """The layers of a model that compute with copies of their weights; see :func:`halved`."""

    weights: dict[Tensor, HalvedWeight] = field(default_factory=dict)

    def of(self, weight: Tensor) -> HalvedWeight:
        return self.weights.setdefault(weight, HalvedWeight(weight))

    def forget(self, *_: Any) -> None:
        """To be called after each step of the optimizer."""
        for kept in self.weights.values():
            kept.forget()


@contextmanager
def halved(model: nn.Module) -> Iterator[Halved]:
    """Within this context the model's plain layers compute as described above wherever autocast is on. Gradients then
    go around autograd's hooks, so that nothing else may wait for them (as DDP does)."""
    found, patched = Halved(), []
    try:
        for module in model.modules():
            forward = _forward(module, found)
            if forward is not None:
                module.forward = forward
                patched.append(module)
        yield found
    finally:
        for module in patched:
            del module.forward


def _forward(module: nn.Module, found: Halved) -> Callable[[Tensor], Tensor] | None:
    """What stands for the forward of a plain layer; None for all others."""
    if type(module) is nn.Linear and _is_plain(module):
        return HalvedLinear(module, found.of(module.weight))
    if type(module) is nn.Embedding and _is_plain(module) and _looks_up(module):
        return _HalvedEmbedding(module, found.of(module.weight))
    return None


def halved_weight(linear: Any) -> HalvedWeight | None:
    """The weight of a layer that computes with its copy, without a bias; None for any other."""
    forward = vars(linear).get("forward") if isinstance(linear, nn.Linear) else None
    return forward.weight if isinstance(forward, HalvedLinear) and linear.bias is None else None


def _is_plain(module: nn.Linear | nn.Embedding) -> bool:
    """No hooks, nothing in place of its forward or weight, and on a CPU in float32."""
    weight, is_changed = module.weight, "forward" in vars(module)
    hooks = (module._forward_hooks, module._forward_pre_hooks, module._backward_hooks, module._backward_pre_hooks)
    return (
        type(weight) is nn.Parameter
        and weight.dtype == torch.float32
        and weight.device.type == "cpu"
        and not any((is_changed, *hooks))
    )


def _looks_up(module: nn.Embedding) -> bool:
    return module.weight.requires_grad and not (module.max_norm or module.scale_grad_by_freq or module.sparse)


class HalvedLinear:
    """Stands for the forward of a linear layer."""

    def __init__(self, linear: nn.Linear, weight: HalvedWeight):
        self.linear, self.weight = linear, weight

    def __call__(self, hidden: Tensor) -> Tensor:
        if not torch.is_autocast_enabled("cpu"):
            return nn.Linear.forward(self.linear, hidden)
        bias = self.linear.bias
        return _Linear.apply(_cast_once(hidden), self.linear.weight, bias, self.weight)


class _HalvedEmbedding:
    def __init__(self, embedding: nn.Embedding, weight: HalvedWeight):
        self.embedding, self.weight = embedding, weight

    def __call__(self, ids: Tensor) -> Tensor:
        if not (torch.is_autocast_enabled("cpu") and torch.is_grad_enabled()):
            return nn.Embedding.forward(self.embedding, ids)
        return _Embedding.apply(ids, self.embedding.weight, self.embedding.padding_idx, self.weight)


def _cast_once(hidden: Tensor) -> Tensor:
    """``hidden`` in bfloat16, the same tensor for all layers that read it: queries, keys and values, or gate and up."""
    if hidden.dtype == HALF:
        return hidden
    if hidden.is_inference():
        return hidden.to(HALF)
    made, state = getattr(hidden, "_cotdistill_half", (None, None)), (hidden._version, torch.is_grad_enabled())
    if made[0] is None or made[1] != state:
        made = hidden.to(HALF), state
        hidden._cotdistill_half = made  # pyright: ignore[reportAttributeAccessIssue]
    return made[0]


class _Linear(torch.autograd.Function):
    """``hidden @ copy.T + bias`` of ``[..., inputs]``; the gradients of weight and bias are added where they lie."""

    @staticmethod
    def forward(ctx: Any, hidden: Tensor, weight: Tensor, bias: Tensor | None, kept: HalvedWeight) -> Tensor:
        copy = kept.current()
        ctx.save_for_backward(hidden, copy)
        ctx.kept, ctx.trains, ctx.bias = kept, weight.requires_grad, bias is not None and bias.requires_grad
        return F.linear(hidden, copy, None if bias is None else bias.to(HALF))

    @staticmethod
    def backward(ctx: Any, *output_gradients: Tensor) -> tuple[Tensor | None, ...]:
        hidden, copy = ctx.saved_tensors
        rows = output_gradients[0].reshape(-1, copy.shape[0])
        if ctx.trains:
            ctx.kept.add_product(rows, hidden.reshape(-1, copy.shape[1]))
        of_hidden = output_gradients[0] @ copy if ctx.needs_input_grad[0] else None
        return of_hidden, None, rows.sum(0, dtype=torch.float32) if ctx.bias else None, None


class _Embedding(torch.autograd.Function):
    """Rows of an embedding; their gradients are added where they lie."""

    @staticmethod
    def forward(ctx: Any, ids: Tensor, weight: Tensor, padding: int | None, kept: HalvedWeight) -> Tensor:
        ctx.save_for_backward(ids)
        ctx.kept, ctx.padding = kept, padding
        return F.embedding(ids, weight)

    @staticmethod
    def backward(ctx: Any, *output_gradients: Tensor) -> tuple[None, ...]:
        (ids,) = ctx.saved_tensors
        gradient = output_gradients[0].float()
        if ctx.padding is not None:
            gradient = gradient.masked_fill((ids == ctx.padding)[..., None], 0.0)
        ctx.kept.gradient().index_add_(0, ids.flatten(), gradient.flatten(0, -2))
        return None, None, None, None
