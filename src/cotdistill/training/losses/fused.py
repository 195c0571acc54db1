"""The weighted sum of all loss terms, straight from hidden states, in chunks of tokens.

For each chunk the heads make logits, the losses are taken, and gradients with respect to the chunk's hidden states and
the head's weights are computed at once; the logits are then gone. The full ``[num_tokens, vocab]`` tensor never exists,
and no logits are computed twice. Value and gradients are those of the plain path (tested for every loss).

Matrix products want many rows, and the long element-wise part of a loss wants tensors that stay in a processor's cache:
so on a CPU a chunk's losses are taken in blocks of a few rows, whose gradients replace their logits.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor, nn

from cotdistill.config import CrossEntropy, TokenLoss
from cotdistill.models.forward.halved import HALF, HalvedWeight, halved_weight
from cotdistill.models.forward.heads import Head
from cotdistill.training.losses import divergences as losses
from cotdistill.training.losses.teacher import TeacherChunk, TeacherRows

CHUNK_LOGITS = 1 << 24
"""Logits of a chunk: 64 MB in float32, so that memory does not grow with the vocabulary."""

BLOCK_LOGITS = 1 << 20
"""Logits of a block on a CPU: 4 MB in float32. Measured in ``benchmarks/RESULTS.md``."""


@dataclass(frozen=True, slots=True)
class LossInputs:
    """What the losses of a micro-batch need besides the student's hidden states.

    ``targets`` are ``[num_loss_tokens]``, ``weights`` those of ``token_weights``, ``[num_terms, num_loss_tokens]``.
    """

    targets: Tensor
    weights: Tensor
    teacher: TeacherRows


def chunk_size(vocab_size: int) -> int:
    """Tokens of a chunk; of logits in bfloat16 on a CPU twice as many: a head's gradient is added less often."""
    return max(16, CHUNK_LOGITS * (2 if torch.is_autocast_enabled("cpu") else 1) // vocab_size)


def block_size(logits: Tensor) -> int:
    """Rows of a block of a chunk's ``logits``."""
    if logits.device.type != "cpu":
        return max(1, len(logits))
    return max(1, BLOCK_LOGITS // logits.shape[-1])


def summed_losses(
    terms: Sequence[TokenLoss],
    logits: Tensor,
    teacher: TeacherChunk,
    targets: Tensor,
    weights: Tensor,
) -> Tensor:
    """The sum over tokens of each term's losses by the tokens' ``weights``, without the term's own: ``[num_terms]``.

    ``logits`` are the student's ``[num_tokens, vocab]``, ``teacher`` the teacher's distributions of the same tokens.
    """
    sums = []
    for term, counted in zip(terms, weights, strict=True):
        if isinstance(term, CrossEntropy):
            token_losses = losses.cross_entropy(logits, targets)
        else:
            token_losses = teacher.divergence(term, logits)
        sums.append(torch.where(counted > 0, counted * token_losses, 0.0).sum())
    return torch.stack(sums)


def fused_loss(
    hidden: Tensor,
    head: Head,
    head_parameters: Sequence[nn.Parameter],
    inputs: LossInputs,
    terms: Sequence[TokenLoss],
    *,
    num_loss_tokens: int,
    tokens_per_chunk: int,
) -> tuple[Tensor, Tensor]:
    """The weighted loss over ``num_loss_tokens`` (the whole step's), and each term's sum ``[num_terms]``, without its
    own weight.

    ``hidden`` is ``[tokens, hidden]`` of the student at loss positions; ``head`` maps rows of it to logits and uses
    ``head_parameters``, which get their gradients through the loss.
    """
    if not torch.is_grad_enabled():
        hidden, head_parameters = hidden.detach(), ()
    weights = torch.tensor([term.weight for term in terms], device=hidden.device) / num_loss_tokens
    loss, sums = _ChunkedLoss.apply(hidden, head, inputs, terms, weights, tokens_per_chunk, *head_parameters)
    return loss, sums


class _ChunkedLoss(torch.autograd.Function):
    """Computes gradients in forward, for a loss that is the root of backward: backward only scales them."""

    @staticmethod
    def forward(
        ctx: Any,
        hidden: Tensor,
        head: Head,
        inputs: LossInputs,
        terms: Sequence[TokenLoss],
        weights: Tensor,
        tokens_per_chunk: int,
        *head_parameters: Tensor,
    ) -> tuple[Tensor, Tensor]:
        needs_gradient = hidden.requires_grad or any(parameter.requires_grad for parameter in head_parameters)
        ctx.num_parameters, kept = len(head_parameters), _halved(head) if needs_gradient else None
        hidden_gradient = torch.empty_like(hidden)
        if kept is not None:  # its gradient goes where it belongs at once
            hidden, head_parameters = hidden.to(HALF), ()
        parameter_gradients = [torch.zeros_like(parameter) for parameter in head_parameters]
        sums = torch.zeros(len(terms), device=hidden.device)
        in_place = _adding_to(kept, head) if kept else _adding_in_place(head, hidden, parameter_gradients)
        head, rest = (in_place, ()) if in_place else (head, head_parameters)
        for rows in inputs.teacher.slices(tokens_per_chunk):
            teacher = inputs.teacher.chunk(rows)
            with torch.set_grad_enabled(needs_gradient):
                chunk = hidden[rows].detach().requires_grad_(needs_gradient)
                logits = head.logits(chunk)
            # The head's own backward does not read its logits (autograd would refuse it if it did).
            buffer = logits.detach()
            tokens = inputs.targets[rows], inputs.weights[:, rows]
            sums += _losses_in_blocks(terms, buffer, teacher, *tokens, weights if needs_gradient else None)
            if needs_gradient:
                gradients = torch.autograd.grad(logits, [chunk, *rest], buffer)
                hidden_gradient[rows] = gradients[0]
                for total, gradient in zip(parameter_gradients, gradients[1:], strict=False):
                    total += gradient
            del teacher, logits, buffer  # or the next chunk would stand beside this one
        ctx.gradients, ctx.is_root = [hidden_gradient, *parameter_gradients], kept is not None
        ctx.mark_non_differentiable(sums)
        return (sums * weights).sum(), sums

    @staticmethod
    def backward(ctx: Any, *output_gradients: Tensor) -> tuple[Tensor | None, ...]:
        gradients, ctx.gradients = ctx.gradients, None  # scaled in place: a head's gradient is large, and used once
        assert gradients is not None, "the loss is taken backward once"
        assert not ctx.is_root or output_gradients[0] == 1.0, "the head's gradient is where it belongs already"
        scaled = [gradient.mul_(output_gradients[0]) for gradient in gradients]
        return scaled[0], None, None, None, None, None, *(scaled[1:] or [None] * ctx.num_parameters)


def _losses_in_blocks(
    terms: Sequence[TokenLoss],
    logits: Tensor,
    teacher: TeacherChunk,
    targets: Tensor,
    counted: Tensor,
    weights: Tensor | None,
) -> Tensor:
    """Each term's sum ``[num_terms]`` of tokens by their weights ``counted``; given the terms' own ``weights``, the
    weighted loss's gradient takes the place of ``logits``."""
    sums = torch.zeros(len(terms), device=logits.device)
    for rows in teacher.slices(block_size(logits)):
        with torch.set_grad_enabled(weights is not None):
            block = logits[rows].detach().requires_grad_(weights is not None)
            block_sums = summed_losses(terms, block, teacher.chunk(rows), targets[rows], counted[:, rows])
            if weights is not None:
                logits[rows] = torch.autograd.grad((block_sums * weights).sum(), block)[0]
        sums += block_sums.detach()
    return sums


def _adding_in_place(head: Head, hidden: Tensor, gradients: Sequence[Tensor]) -> Head | None:
    """The head, with a linear map that adds its weight's gradient to the one of ``gradients``; None for other heads.

    A second tensor as large as the head for each chunk would be most of what the loss needs in memory.
    """
    linear = head.linear
    if not isinstance(linear, nn.Linear) or type(linear) is not nn.Linear or type(linear.weight) is not nn.Parameter:
        return None
    if linear.bias is not None or len(gradients) != 1 or torch.is_autocast_enabled(hidden.device.type):
        return None
    weight = linear.weight.detach()
    return replace(head, linear=lambda rows: _AddingLinear.apply(rows, weight, _adding(gradients[0])))


def _adding(total: Tensor) -> Callable[[Tensor, Tensor], Any]:
    return lambda gradient, hidden: total.addmm_(gradient.T, hidden)


def _halved(head: Head) -> HalvedWeight | None:
    """The head's weight where it is trained and computes in bfloat16 by a copy."""
    kept = halved_weight(head.linear) if torch.is_autocast_enabled("cpu") else None
    return kept if kept is not None and kept.weight.requires_grad else None


def _adding_to(kept: HalvedWeight, head: Head) -> Head:
    return replace(head, linear=lambda rows: _AddingLinear.apply(rows, kept.current(), kept.add_product))


class _AddingLinear(torch.autograd.Function):
    """``hidden @ weight.T``, whose backward gives ``add`` what the weight's gradient is a product of."""

    @staticmethod
    def forward(ctx: Any, hidden: Tensor, weight: Tensor, add: Callable[[Tensor, Tensor], Any]) -> Tensor:
        ctx.save_for_backward(hidden, weight)
        ctx.add = add
        return hidden @ weight.T

    @staticmethod
    def backward(ctx: Any, *output_gradients: Tensor) -> tuple[Tensor, None, None]:
        hidden, weight = ctx.saved_tensors
        ctx.add(output_gradients[0], hidden)
        return output_gradients[0] @ weight, None, None
