"""The training step: the loss of a micro-batch inside the module's forward, and one optimizer step over several.

The loss of a step is the sum of weighted token losses over the step's number of loss tokens, so that neither the cut
into micro-batches nor padding changes a gradient.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn
from transformers import PreTrainedModel

from cotdistill.config import LossConfig
from cotdistill.models.heads import head_of, head_parameters, last_hidden_states
from cotdistill.training.batches import Batch
from cotdistill.training.fused import LossInputs, chunk_size, fused_loss
from cotdistill.training.teacher_signal import TeacherSignal


class DistillationLoss(nn.Module):
    """The student with its losses: ``forward`` takes a micro-batch and returns its share of the step's loss."""

    def __init__(self, student: PreTrainedModel, terms: Sequence[LossConfig], signal: TeacherSignal | None):
        super().__init__()
        self.student = student
        self.terms = tuple(terms)
        self.signal = signal

    def forward(self, batch: Batch, num_loss_tokens: int) -> tuple[Tensor, Tensor]:
        """The weighted loss over ``num_loss_tokens`` of the whole step, and each term's sum ``[num_terms]``."""
        hidden = last_hidden_states(self.student, batch.input_ids, batch.attention_mask)
        inputs = LossInputs(batch.targets, batch.regions, self.signal.rows(batch) if self.signal else None)
        return fused_loss(
            hidden.flatten(0, 1)[batch.positions],
            head_of(self.student).logits,
            head_parameters(self.student),
            inputs,
            self.terms,
            num_loss_tokens=num_loss_tokens,
            tokens_per_chunk=chunk_size(self.student.config.get_text_config().vocab_size),
        )


def accumulate(
    module: DistillationLoss, batches: Sequence[Batch], *, device: torch.device, dtype: torch.dtype
) -> tuple[float, list[float], int]:
    """Add the gradients of one step's micro-batches; returns loss, term means and the number of loss tokens.

    ``dtype`` is what matrix products compute in; parameters, gradients and losses stay in float32.
    """
    num_loss_tokens = sum(len(batch.targets) for batch in batches)
    loss, sums = 0.0, torch.zeros(len(module.terms))
    for batch in batches:
        with torch.autocast(device.type, dtype=torch.bfloat16, enabled=dtype == torch.bfloat16):
            batch_loss, batch_sums = module(batch.to(device), num_loss_tokens)
        batch_loss.backward()
        loss += batch_loss.item()
        sums += batch_sums.cpu()
    return loss, (sums / num_loss_tokens).tolist(), num_loss_tokens
