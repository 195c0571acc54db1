"""The losses of single tokens, without gradients: for what is measured and not trained on."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from cotdistill.config import CrossEntropy, TokenLoss
from cotdistill.models.forward.heads import Head
from cotdistill.training.losses import divergences as losses
from cotdistill.training.losses.fused import block_size
from cotdistill.training.losses.teacher import TeacherRows


@torch.no_grad()
def token_losses(
    terms: Sequence[TokenLoss],
    hidden: Tensor,
    head: Head,
    targets: Tensor,
    teacher: TeacherRows,
    tokens_per_chunk: int,
) -> Tensor:
    """The losses that :func:`fused_loss` sums up, not weighted yet: ``[num_terms, tokens]`` in float32.

    ``hidden`` is ``[tokens, hidden]`` of the student at loss positions, ``targets`` are ``[tokens]``.
    """
    found = torch.zeros(len(terms), len(targets), device=hidden.device)
    for rows in teacher.slices(tokens_per_chunk):
        chunk, logits, part = teacher.chunk(rows), head.logits(hidden[rows]), found[:, rows]
        for block in chunk.slices(block_size(logits)):
            distributions, own = chunk.chunk(block), logits[block]
            for place, term in enumerate(terms):
                if isinstance(term, CrossEntropy):
                    part[place, block] = losses.cross_entropy(own, targets[rows][block]).float()
                else:
                    part[place, block] = distributions.divergence(term, own).float()
    return found
